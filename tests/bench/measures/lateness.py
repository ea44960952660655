"""How late ticks are with 10,000 armed schedules, measured inside the flow; and what being armed costs."""

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.bench.setting import agent, engine, memory_mib, percentiles, wait_for

SCHEDULES = 10_000
SECONDS = 30
EVERY = 120
"""Seconds between two ticks of a schedule, so that some 80 a second are due."""


def measure() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        told = os.environ["BENCH_LATENESS"] = str(Path(folder) / "ticks")
        with engine(started=False) as opened:
            before = memory_mib()
            began = time.monotonic()
            first = datetime.now(UTC) + timedelta(seconds=20)

            def armed_from(number: int) -> None:
                start_at = first + timedelta(seconds=EVERY) * number / SCHEDULES  # one after the other
                every = {"interval": {"seconds": EVERY}, "start_at": start_at.isoformat()}
                agent(opened, f"agent-{number}", "tick", triggers=[{"name": "schedule", **every}])

            with ThreadPoolExecutor(8) as threads:
                list(threads.map(armed_from, range(SCHEDULES)))
            armed = time.monotonic() - began
            started = time.monotonic()
            opened.start()
            start = time.monotonic() - started
            opened.warm(120)
            ticks = max(200, int(SCHEDULES / EVERY * SECONDS))
            wait_for(opened, "execution.succeeded", ticks, EVERY * 2)
            memory = memory_mib() - before
        moments = [line.split() for line in Path(told).read_text().splitlines()]
    late = [(float(began) - float(nominal)) * 1000 for nominal, began in moments]
    p50, p95, p99 = percentiles(late, 50, 95, 99)
    return {
        "p50, ms": p50,
        "p95, ms": p95,
        "p99, ms": p99,
        "earliest, ms": min(late),
        "agents armed/s": SCHEDULES / armed,
        "start of the engine, s": start,
        "memory for 10,000 schedules, MiB": memory,
    }
