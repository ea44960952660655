"""SQLite: one writer, many readers, and group commit.

SQLite has one writer at a time, and a durable commit costs an fsync. So callers who come at the same time share both.

Work that raises before it wrote has harmed nobody. Work that raises afterwards is rare (a broken database, a bug): the
whole batch is rolled back and each is done again in a transaction of its own, so only the one at fault fails.
"""

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, Dialect

from overnight.embedded.sql.database import NOTHING, Needs, Prefetch, Reading, Together, Transaction, Work, at_hand
from overnight.embedded.sql.migrations import migrate
from overnight.embedded.sql.writer import Job, Writer, follow
from overnight.errors import Unavailable

__all__ = ["SqliteDatabase"]

T = TypeVar("T")

BUSY_SECONDS = 10.0
"""How long another process's transaction is waited for."""

MEMORY = 5_000
"""How much is remembered from one transaction to the next; an execution takes 4 KB."""

_WRITER = (
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",  # macOS: an fsync that reaches the disk
    "PRAGMA cache_size = -65536",  # KiB
    "PRAGMA wal_autocheckpoint = 4000",  # pages of 4 KiB
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA temp_store = MEMORY",
)


class SqliteDatabase(Together):
    """A file, or a database in memory that lives as long as this object."""

    shared = False

    def __init__(self, url: URL, wake: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.dialect: Dialect = sqlite.dialect(paramstyle="named")
        self.wake = wake
        self.path = url.database if url.database not in (None, "", ":memory:") else None
        self._closed = False
        self.prefetch: Prefetch = at_hand
        self._readers: deque[sqlite3.Connection] = deque()
        self._memory: dict[Hashable, Any] = {}
        self._seen: int | None = None
        # Held from the beginning of a transaction to its end; reads of a database in memory share its connection.
        self._exclusive = threading.RLock()
        self._connection = self._connect()
        self._prepare()
        self._writer = Writer(self._do)

    # Opening and closing

    def _connect(self) -> sqlite3.Connection:
        try:
            return sqlite3.connect(
                self.path or ":memory:",
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
        except sqlite3.Error as error:
            raise Unavailable(f"the database {self.path} can't be opened: {error}") from error

    def _prepare(self) -> None:
        try:
            if self.path is not None:
                self._use_wal()
            for pragma in _WRITER:
                self._connection.execute(pragma)
            self._do_together([Job(lambda transaction: migrate(transaction, self.dialect), NOTHING)])
        except sqlite3.Error as error:
            self._connection.close()
            raise Unavailable(f"the database {self.path} can't be opened: {error}") from error
        except BaseException:
            self._connection.close()
            raise

    def _use_wal(self) -> None:
        """Switch to WAL; SQLite doesn't wait here for another process that is doing the same."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def close(self) -> None:
        """Finish what is under way, then close."""
        if self._closed:
            return
        self._closed = True
        self._writer.close()
        while self._readers:
            self._readers.pop().close()
        with self._exclusive:
            self._connection.close()

    # There are no other engines

    def now(self) -> datetime:
        """The time of this machine, UTC."""
        return datetime.now(UTC)

    def listen(self, hear: Callable[[str], None]) -> None:
        """Nobody else tells anything."""

    def tell(self, what: str) -> None:
        """Nobody else hears."""

    # Reading

    def read(self, work: Callable[[Reading], T]) -> T:
        """Read what is committed, or, within `together`, what is about to be."""
        if (transaction := self._transaction) is not None:
            return work(transaction)
        if self._closed:
            raise Unavailable("the database is closed")
        try:
            if self.path is None:
                with self._exclusive, closing(self._connection.cursor()) as cursor:
                    return work(Reading(cursor, self.dialect))
            try:
                connection = self._readers.pop()
            except IndexError:
                connection = self._connect()
                connection.execute("PRAGMA query_only = ON")
            try:
                # A cursor that is not closed would hold on to what it has seen.
                with closing(connection.cursor()) as cursor:
                    return work(Reading(cursor, self.dialect))
            finally:
                self._readers.append(connection)
        except sqlite3.Error as error:
            raise Unavailable(f"the database does not answer: {error}") from error

    # Writing

    def write(self, work: Work[T], needs: Needs = NOTHING) -> T:
        """Do the work in the next transaction."""
        if (transaction := self._transaction) is not None:
            return work(transaction)
        job = Job(work, needs)
        self._writer.carry_out(job)
        follow(job.after_commit)
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    def afterwards(self, act: Callable[[], object]) -> None:
        """Do it now: nobody else is kept waiting by it, and one commit is cheaper than two."""
        act()

    def _do(self, jobs: list[Job]) -> None:
        try:
            self._do_together(jobs)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the callers', who wait for it
            if len(jobs) == 1:
                jobs[0].error = _translated(error)
                jobs[0].after_commit.clear()
                return
            for job in jobs:
                job.result = job.error = None
                job.after_commit.clear()
                self._do([job])

    def _do_together(self, jobs: list[Job]) -> None:
        """One transaction; raises, with nothing written, where it can't be told apart who failed."""
        with self._exclusive:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._forget_what_others_changed()
                transaction = Transaction(self._connection.cursor(), self.dialect, self._memory)
                for job in jobs:
                    written = transaction.writes
                    transaction.after_commit = job.after_commit
                    try:
                        job.result = job.work(transaction)
                    except BaseException as error:
                        if transaction.writes != written or isinstance(error, sqlite3.Error):
                            raise
                        job.error = error
                transaction.flush()
                self._connection.execute("COMMIT")
            except BaseException:
                self._memory.clear()
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _forget_what_others_changed(self) -> None:
        """Another process may have written since; SQLite tells by a number that changes then."""
        (seen,) = self._connection.execute("PRAGMA data_version").fetchone()
        if seen != self._seen or len(self._memory) > MEMORY:
            self._memory.clear()
            self._seen = seen


def _translated(error: BaseException) -> BaseException:
    if isinstance(error, sqlite3.Error):
        unavailable = Unavailable(f"the database does not answer: {error}")
        unavailable.__cause__ = error
        return unavailable
    return error
