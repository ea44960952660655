"""What an engine costs while many schedules are armed, and none of them is due."""

import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.measures.filling import fill, run
from tests.bench.setting import cpu_seconds, engine, memory_mib
from tests.bench.sizes import Sizes

__all__ = ["measure", "measure_apscheduler"]

SETTLE_SECONDS = 2.0


def measure(sizes: Sizes, folder: Path, url: str | None) -> dict[str, float]:
    """Overnight."""
    data = folder / "data"
    with engine(data, url):
        address = url or f"sqlite:///{data / 'overnight.db'}"
        return _grown(sizes, lambda: fill(folder / "filling", address, "agents", 0, sizes.armed))


def measure_apscheduler(sizes: Sizes, folder: Path, url: None) -> dict[str, float]:
    """APScheduler."""
    from tests.bench.contenders import apscheduler  # noqa: PLC0415 - only where it is measured

    file = folder / "apscheduler.db"
    scheduler = apscheduler.scheduler_of(apscheduler.on_file(file))
    scheduler.start()
    try:

        def arm() -> None:
            run(apscheduler.__name__, str(file), str(sizes.armed))
            scheduler.wakeup()

        return _grown(sizes, arm)
    finally:
        scheduler.shutdown()


def _grown(sizes: Sizes, arm: Callable[[], None]) -> dict[str, float]:
    """How much more it takes than before they were armed; by another process, so that only their being there counts."""
    time.sleep(SETTLE_SECONDS)
    before = memory_mib()
    arm()
    time.sleep(SETTLE_SECONDS)
    began, used = time.monotonic(), cpu_seconds()
    time.sleep(sizes.idle_seconds)
    idle = (cpu_seconds() - used) / (time.monotonic() - began) * 100
    grown = memory_mib() - before
    return {
        "MiB for 10,000 schedules": grown / sizes.armed * 10_000,
        "MiB without any": before,
        "CPU, % of a core": idle,
    }
