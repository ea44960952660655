"""APScheduler 3: jobs in a table of SQLite, taken out when they begin, run by a pool of threads."""

import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from apscheduler.events import EVENT_JOB_EXECUTED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine
from tests.bench import flows
from tests.bench.contenders.contender import WORKERS, Contender, Tally

__all__ = ["Peer", "on_file", "scheduler_of"]


class Peer(Contender):
    """All in this process."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        super().__init__(folder, url)
        self._scheduler = scheduler_of(on_file(folder / "apscheduler.db"))
        self._finished = _Told()

    def start(self) -> None:
        self._scheduler.add_listener(self._finished.note, EVENT_JOB_EXECUTED)
        self._scheduler.start()

    def queue(self, task: str) -> None:
        self._scheduler.add_job(getattr(flows, task), "date", run_date=datetime.now(UTC))

    def tally(self) -> "_Told":
        return self._finished

    def stop(self) -> None:
        self._scheduler.shutdown()


class _Told(Tally):
    """Nothing is recorded, but whoever listens is told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def note(self, _: object) -> None:
        """Count one more."""
        with self._lock:
            self._count += 1

    def now(self) -> int:
        return self._count

    def close(self) -> None:
        """There is nothing to let go of."""


def scheduler_of(engine: Engine) -> BackgroundScheduler:
    """A scheduler over that database, which runs what is late too; it isn't started."""
    return BackgroundScheduler(
        jobstores={"default": SQLAlchemyJobStore(engine=engine)},
        executors={"default": ThreadPoolExecutor(WORKERS)},
        job_defaults={"misfire_grace_time": None},
        timezone=UTC,
    )


def on_file(path: Path, *, durable: bool = True) -> Engine:
    """SQLite as Overnight uses it: a write-ahead log, synchronised at every commit, unless it is only to be filled."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 60})

    def prepare(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")

    event.listen(engine, "connect", prepare)
    return engine


def main(file: str, jobs: str) -> None:
    """Put so many jobs into a file, each due in some days."""
    scheduler = scheduler_of(on_file(Path(file), durable=False))
    scheduler.start(paused=True)
    first = datetime.now(UTC) + timedelta(days=3)
    for _ in range(int(jobs)):
        scheduler.add_job(flows.tick_at, "interval", weeks=1, start_date=first, args=(0.0,))
    scheduler.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
