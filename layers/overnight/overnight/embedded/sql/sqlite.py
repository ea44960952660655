"""SQLite: one writer, many readers, and group commit.

SQLite has one writer at a time, and a durable commit costs an fsync. So all that wants to write goes to one thread,
which does all the work that waits at that moment in one transaction, commits it with one fsync, and then lets its
callers go. A caller on its own is never kept waiting for company.

Work that raises before it wrote has harmed nobody. Work that raises afterwards is rare (a broken database, a bug): the
whole batch is rolled back and each is done again in a transaction of its own, so only the one at fault fails.
"""

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, Dialect

from overnight.embedded.sql.database import Reading, Transaction, Work
from overnight.embedded.sql.migrations import migrate
from overnight.errors import Unavailable

__all__ = ["SqliteDatabase"]

T = TypeVar("T")
_log = logging.getLogger(__name__)

BUSY_SECONDS = 10.0
"""How long another process's transaction is waited for."""

BATCH = 256
"""How many callers share a transaction at most."""

MEMORY = 2_000
"""How much is remembered from one transaction to the next."""

_WRITER = (
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",  # macOS: an fsync that reaches the disk
    "PRAGMA cache_size = -65536",  # KiB
    "PRAGMA wal_autocheckpoint = 4000",  # pages of 4 KiB
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA temp_store = MEMORY",
)


class _Job:
    """Work that a caller waits for."""

    __slots__ = ("done", "error", "result", "work")

    def __init__(self, work: Work[Any]) -> None:
        self.work = work
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()


class SqliteDatabase:
    """A file, or a database in memory that lives as long as this object."""

    shared = False

    def __init__(self, url: URL, wake: Callable[[], None] = lambda: None) -> None:
        self.dialect: Dialect = sqlite.dialect(paramstyle="named")
        self.wake = wake
        self.path = url.database if url.database not in (None, "", ":memory:") else None
        self._closed = False
        self._readers: deque[sqlite3.Connection] = deque()
        self._memory: dict[str, Any] = {}
        self._seen: int | None = None
        # Held from the beginning of a transaction to its end; reads of a database in memory share its connection.
        self._exclusive = threading.RLock()
        self._joined = threading.local()
        self._connection = self._connect()
        self._prepare()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._write_forever, name="overnight-writer", daemon=True)
        self._writer.start()

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
            self._do_alone(_Job(lambda transaction: migrate(transaction, self.dialect)), reraise=True)
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
        self._jobs.put(None)
        self._writer.join()
        self._refuse_the_rest()
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

    def _refuse_the_rest(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return
            if job is not None:
                job.error = Unavailable("the database is closed")
                job.done.release()

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

    def write(self, work: Work[T]) -> T:
        """Do the work in the next transaction."""
        if (transaction := self._transaction) is not None:
            return work(transaction)
        if self._closed:
            raise Unavailable("the database is closed")
        if threading.current_thread() is self._writer:
            raise RuntimeError("a verb of the store was called from within another one")
        job = _Job(work)
        self._jobs.put(job)
        if not self._writer.is_alive():  # it was closed in between
            self._refuse_the_rest()
        job.done.acquire()
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    def together(self, work: Callable[[], T]) -> T:
        """Do all that is read and written within as one transaction."""
        if self._transaction is not None:
            return work()

        def joined(transaction: Transaction) -> T:
            self._joined.transaction = transaction
            try:
                return work()
            finally:
                self._joined.transaction = None

        return self.write(joined)

    def afterwards(self, act: Callable[[], object]) -> None:
        """Do it now: nobody else is kept waiting by it, and one commit is cheaper than two."""
        act()

    @property
    def _transaction(self) -> Transaction | None:
        """The transaction of `together` that this thread is in."""
        return getattr(self._joined, "transaction", None)

    def _write_forever(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs = [job]
            last = False
            while len(jobs) < BATCH:
                try:
                    job = self._jobs.get_nowait()
                except Empty:
                    break
                if job is None:
                    last = True
                    break
                jobs.append(job)
            self._do(jobs)
            if last:
                return

    def _do(self, jobs: list[_Job]) -> None:
        after: list[Callable[[], object]] = []
        try:
            after = self._do_together(jobs)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the callers', who wait for it
            if len(jobs) == 1:
                jobs[0].error = self._translated(error)
            else:
                for job in jobs:
                    job.result = job.error = None
                    after += self._do_alone(job)
        for job in jobs:
            job.done.release()
        for act in dict.fromkeys(after):
            try:
                act()
            except Exception:  # noqa: BLE001 - the commit holds, whatever listens to it
                _log.exception("what follows a commit failed")

    def _do_alone(self, job: _Job, *, reraise: bool = False) -> list[Callable[[], object]]:
        try:
            return self._do_together([job])
        except BaseException as error:
            if reraise:
                raise
            job.error = self._translated(error)
            return []

    def _do_together(self, jobs: list[_Job]) -> list[Callable[[], object]]:
        """One transaction; raises, with nothing written, where it can't be told apart who failed."""
        with self._exclusive:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._forget_what_others_changed()
                transaction = Transaction(self._connection.cursor(), self.dialect, self._memory)
                for job in jobs:
                    written = transaction.writes
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
            return transaction.after_commit

    def _forget_what_others_changed(self) -> None:
        """Another process may have written since; SQLite tells by a number that changes then."""
        (seen,) = self._connection.execute("PRAGMA data_version").fetchone()
        if seen != self._seen or len(self._memory) > MEMORY:
            self._memory.clear()
            self._seen = seen

    def _translated(self, error: BaseException) -> BaseException:
        if isinstance(error, sqlite3.Error):
            unavailable = Unavailable(f"the database does not answer: {error}")
            unavailable.__cause__ = error
            return unavailable
        return error
