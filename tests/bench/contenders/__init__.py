"""Who is measured: Overnight and its peers, one a module, each as its documentation says it is to be run."""

from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from tests.bench.contenders.contender import Contender

__all__ = ["CONTENDERS", "Entry"]


class Entry(NamedTuple):
    """One who is measured, without what it imports."""

    title: str
    module: str
    database: str
    runs_in: str
    keeps: str
    arguments: tuple[int | str, ...] = ()

    def build(self, folder: Path, url: str | None) -> Contender:
        """Make it, in this process."""
        module = import_module(f"tests.bench.contenders.{self.module}")
        contender: Contender = module.Peer(folder, url, *self.arguments)
        return contender


_HISTORY = "executions and attempts, with times and results"

CONTENDERS = {
    "overnight-sqlite": Entry("Overnight, SQLite", "overnight", "sqlite", "4 processes", _HISTORY),
    "overnight-postgresql": Entry("Overnight, PostgreSQL", "overnight", "postgresql", "4 processes", _HISTORY),
    "overnight-postgresql-2": Entry(
        "Overnight, PostgreSQL, two engines", "overnight", "postgresql", "twice 4 processes", _HISTORY, (2,)
    ),
    "huey-processes": Entry(
        "Huey, SQLite, processes", "huey", "sqlite", "4 processes", "results, until they are read", ("process",)
    ),
    "huey-threads": Entry(
        "Huey, SQLite, threads", "huey", "sqlite", "4 threads", "results, until they are read", ("thread",)
    ),
    "apscheduler": Entry("APScheduler, SQLite", "apscheduler", "sqlite", "4 threads", "nothing of what has begun"),
    "dbos-sqlite": Entry("DBOS, SQLite", "dbos", "sqlite", "threads", "workflows, with times and results"),
    "dbos-postgresql": Entry("DBOS, PostgreSQL", "dbos", "postgresql", "threads", "workflows, with times and results"),
    "procrastinate": Entry(
        "Procrastinate, PostgreSQL", "procrastinate", "postgresql", "4 threads", "jobs, with times, without results"
    ),
}
"""By the names that `--one` and results have."""
