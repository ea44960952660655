"""Huey's side: one task that does nothing, its result kept."""

import os

from huey import SqliteHuey

huey = SqliteHuey(
    "bench", filename=os.environ.get("BENCH_HUEY", ":memory:"), fsync=True, journal_mode="wal", timeout=60
)


@huey.task()
def nothing() -> bool:
    """No work at all."""
    return True
