"""What is measured beside others: something that keeps tasks in a database, and runs them."""

import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import psycopg

__all__ = ["THREADS", "WORKERS", "Contender", "Tally", "at_once"]

THREADS = 16
"""How many threads queue tasks at once."""

WORKERS = 4
"""How many tasks run at once, in processes where there is the choice."""


class Tally:
    """The one number that a query gives, of a SQLite file or of the PostgreSQL database behind a URL, asked often."""

    def __init__(self, database: Path | str, query: str) -> None:
        self._query = query
        self._connection: sqlite3.Connection | psycopg.Connection[tuple[int]]
        if isinstance(database, Path):
            self._connection = sqlite3.connect(database, timeout=30, isolation_level=None)
        else:
            self._connection = psycopg.connect(database, autocommit=True)

    def now(self) -> int:
        """What it is now."""
        row = self._connection.execute(self._query).fetchone()  # type: ignore[arg-type]
        assert row is not None
        return int(row[0])

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()


def at_once(act: Callable[[int], object], times: int, threads: int) -> None:
    """Call it with each number below `times`, from several threads, each of which has a part of them.

    A pool would pass each call on, which costs several per cent of what the call does.
    """

    def part(first: int) -> None:
        for number in range(first, times, threads):
            act(number)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, range(threads)))


class Contender(ABC):
    """Between `open` and its end it runs what is queued, and keeps it durably: no commit is told of before its sync.

    Args:
        folder: room for files; a SQLite database is in it.
        url: the PostgreSQL database to use; None for SQLite.
    """

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder = folder
        self.url = url
        self._tally: Tally | None = None

    @contextmanager
    def open(self) -> Iterator[Self]:
        """Run, warm, until the end of the block."""
        try:
            self.start()
            self._tally = self.tally()
            self.queue("nothing")
            self.wait(1)
            yield self
        finally:
            if self._tally is not None:
                self._tally.close()
            self.stop()

    @abstractmethod
    def start(self) -> None:
        """Have everything ready to run tasks."""

    @abstractmethod
    def queue(self, task: str) -> None:
        """Queue one run of the task of that name (of `tests.bench.flows`); it is durable when this returns."""

    @abstractmethod
    def tally(self) -> Tally:
        """What tells, once it is started, how many have run to their end and been recorded."""

    def finished(self) -> int:
        """How many have."""
        assert self._tally is not None
        return self._tally.now()

    @abstractmethod
    def stop(self) -> None:
        """End everything that was started."""

    def queue_many(self, tasks: int) -> None:
        """Queue so many tasks from several threads at once."""
        at_once(lambda _: self.queue("nothing"), tasks, THREADS)

    def wait(self, tasks: int, seconds: float = 240) -> None:
        """Until so many have finished; asked seldom while many are left, since counting costs the database, too."""
        began = time.monotonic()
        first = finished = self.finished()
        while finished < tasks:
            passed = time.monotonic() - began
            if passed > seconds:
                raise TimeoutError(f"{finished} of {tasks} after {seconds:g} s")
            at_this_pace = (tasks - finished) / (finished - first) * passed if finished > first else 0.0
            time.sleep(max(0.01, min(1.0, at_this_pace / 2)))
            finished = self.finished()
