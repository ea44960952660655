"""PostgreSQL: many writers, rows that are locked, and transactions that are tried again.

It commits groups by itself, so each caller has a transaction of his own, on a connection of his own. Isolation is READ
COMMITTED: every verb locks the state's row before it reads it, or writes on condition of the `rev` that it read.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, TypeVar

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL, Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from overnight.embedded.sql.database import Reading, Transaction, Work
from overnight.embedded.sql.migrations import migrate
from overnight.errors import Invalid, Unavailable

__all__ = ["PostgresqlDatabase"]

T = TypeVar("T")
_log = logging.getLogger(__name__)

CONNECTIONS = 20
TRIES = 10
"""How often a transaction is tried before its conflict is the caller's."""

_AGAIN = {
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "23505",  # unique_violation: somebody took the name, or the id, after we looked; he is seen the next time
}
_MIGRATION_LOCK = "SELECT pg_advisory_xact_lock(4862115)"
"""Any number that nothing else in the database locks by."""


class PostgresqlDatabase:
    """A database of a PostgreSQL server, which several engines may share."""

    shared = True

    def __init__(self, url: URL, wake: Callable[[], None] = lambda: None) -> None:
        self.wake = wake
        try:
            self._writers = self._pool(url)
        except ModuleNotFoundError as error:
            raise Invalid.field("database", "PostgreSQL needs a driver: pip install 'psycopg[binary]'") from error
        self._readers = self._pool(url, isolation_level="AUTOCOMMIT")
        self.dialect: Dialect = self._writers.dialect
        self._error: type[Exception] = self.dialect.loaded_dbapi.Error
        self._joined = threading.local()
        self._closed = False
        try:
            self.write(self._migrate)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _pool(url: URL, **options: Any) -> Engine:
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_size=CONNECTIONS,
            max_overflow=CONNECTIONS,
            pool_pre_ping=True,
            **options,
        )

    def _migrate(self, transaction: Transaction) -> None:
        transaction.run_sql(_MIGRATION_LOCK)
        migrate(transaction, self.dialect)

    def close(self) -> None:
        """Close what nobody uses; what is under way closes when it is done."""
        self._closed = True
        self._writers.dispose()
        self._readers.dispose()

    def read(self, work: Callable[[Reading], T]) -> T:
        """Read what is committed, or, within `together`, what is about to be."""
        if (transaction := self._transaction) is not None:
            return work(transaction)
        return self._on(self._readers, lambda cursor, _: work(Reading(cursor, self.dialect)))

    def write(self, work: Work[T]) -> T:
        """Do the work in a transaction, again where somebody was in its way."""
        if (transaction := self._transaction) is not None:
            return work(transaction)
        for tries in range(1, TRIES + 1):
            try:
                result, after = self._on(self._writers, lambda cursor, commit: self._commit(work, cursor, commit))
            except Unavailable as error:
                if tries == TRIES or getattr(error.__cause__, "sqlstate", None) not in _AGAIN:
                    raise
                time.sleep(random.uniform(0, 0.01 * 2**tries))
            else:
                self._follow(after)
                return result
        raise AssertionError("unreachable")

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

    @property
    def _transaction(self) -> Transaction | None:
        """The transaction of `together` that this thread is in."""
        return getattr(self._joined, "transaction", None)

    def _commit(self, work: Work[T], cursor: Any, commit: Callable[[], None]) -> tuple[T, list[Callable[[], None]]]:
        transaction = Transaction(cursor, self.dialect, {})
        result = work(transaction)
        transaction.flush()
        commit()
        return result, transaction.after_commit

    def _on(self, pool: Engine, work: Callable[[Any, Callable[[], None]], T]) -> T:
        """Do the work on a connection; what it didn't commit is rolled back when the connection is given back."""
        if self._closed:
            raise Unavailable("the database is closed")
        try:
            with closing(pool.raw_connection()) as connection, closing(connection.cursor()) as cursor:
                return work(cursor, connection.commit)
        except self._error as error:
            raise Unavailable(f"the database does not answer: {error}") from error
        except (DBAPIError, PoolTimeoutError) as error:
            raise Unavailable(f"the database does not answer: {getattr(error, 'orig', None) or error}") from error

    def _follow(self, after: list[Callable[[], None]]) -> None:
        for act in dict.fromkeys(after):
            try:
                act()
            except Exception:  # noqa: BLE001 - the commit holds, whatever listens to it
                _log.exception("what follows a commit failed")
