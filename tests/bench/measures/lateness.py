"""How late ticks are while many schedules are armed, told by the flows themselves.

Of the schedules as many tick, one after the other, as make 83 a second: what 10,000 make that tick every two minutes,
or 100,000 every twenty.
"""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.bench import flows
from tests.bench.measures.filling import fill, run
from tests.bench.setting import engine, memory_mib, percentiles
from tests.bench.sizes import Sizes

__all__ = ["measure", "measure_apscheduler"]

READY_SECONDS = 8.0
"""What an engine is given to start in."""


def measure(schedules: int, sizes: Sizes, folder: Path, url: str | None) -> dict[str, float]:
    """Overnight."""
    told = _told(folder)
    ticks = _ticks(sizes)
    fill(folder / "data", url, "agents", 0, max(schedules - ticks, 1))
    fill(folder / "data", url, "due", ticks, READY_SECONDS, sizes.ticks_seconds)
    with engine(folder / "data", url):
        figures = _lateness(told, ticks, sizes)
        return figures | {"memory, MiB": memory_mib()}


def measure_apscheduler(schedules: int, sizes: Sizes, folder: Path, url: None) -> dict[str, float]:
    """APScheduler."""
    from tests.bench.contenders import apscheduler  # noqa: PLC0415 - only where it is measured

    told = _told(folder)
    ticks = _ticks(sizes)
    file = folder / "apscheduler.db"
    run(apscheduler.__name__, str(file), str(max(schedules - ticks, 1)))
    begin = datetime.now(UTC) + timedelta(seconds=READY_SECONDS)
    scheduler = apscheduler.scheduler_of(apscheduler.on_file(file, durable=False))
    scheduler.start(paused=True)
    for number in range(ticks):
        at = begin + timedelta(seconds=sizes.ticks_seconds) * number / ticks
        scheduler.add_job(flows.tick_at, "interval", hours=1, start_date=at, args=(at.timestamp(),))
    scheduler.shutdown()
    scheduler = apscheduler.scheduler_of(apscheduler.on_file(file))
    scheduler.start()
    try:
        figures = _lateness(told, ticks, sizes)
        return figures | {"memory, MiB": memory_mib()}
    finally:
        scheduler.shutdown()


def _ticks(sizes: Sizes) -> int:
    return int(sizes.ticks_a_second * sizes.ticks_seconds)


def _told(folder: Path) -> Path:
    told = folder / "ticks"
    told.touch()
    os.environ[flows.TOLD] = str(told)
    return told


def _lateness(told: Path, ticks: int, sizes: Sizes) -> dict[str, float]:
    """Of all ticks, once they have been told."""
    if told.stat().st_size:
        raise RuntimeError("the first ticks were due before the engine was ready")
    _wait_for(lambda: told.read_bytes().count(b"\n") >= ticks, READY_SECONDS + 2 * sizes.ticks_seconds + 30)
    moments = [line.split() for line in told.read_text().splitlines()]
    late = [(float(began) - float(nominal)) * 1000 for nominal, began in moments]
    p50, p95, p99 = percentiles(late, 50, 95, 99)
    return {"p50, ms": p50, "p95, ms": p95, "p99, ms": p99, "earliest, ms": min(late)}


def _wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all ticks came in {seconds:g} s")
        time.sleep(0.1)
