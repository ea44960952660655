"""PostgreSQL: many writers, rows that are locked, and transactions that are tried again.

Each statement is a round trip to the server. So callers who say which rows they need share a transaction: the rows of
all of them are read and locked at once, and what they write is written at once; that is two round trips for however
many there are. Such a transaction waits for nobody: whose rows somebody else holds has a transaction of his own, on a
connection of his own, and so has everybody else. Isolation is READ COMMITTED: every verb locks what it moves before it
reads it.

A transaction that was in somebody's way, or whose connection was lost before its commit, is tried again: it has done
nothing. One whose connection was lost at the commit may have done everything; its caller is told that the database is
unavailable, and everything that callers do can be done twice.
"""

import random
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import datetime
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy.engine import URL, Dialect

from overnight.embedded.sql.connections import Connections, gone, in_a_line
from overnight.embedded.sql.conversation import Connection, Conversation
from overnight.embedded.sql.database import NOTHING, Needs, Prefetch, Reading, Row, Together, Transaction, Work, at_hand
from overnight.embedded.sql.migrations import migrate
from overnight.embedded.sql.servertime import ServerTime
from overnight.embedded.sql.signals import Signals, measure
from overnight.embedded.sql.statement import Statement
from overnight.embedded.sql.writer import Job, Writer, follow
from overnight.errors import Unavailable

__all__ = ["PostgresqlDatabase"]

T = TypeVar("T")

TRIES = 10
"""How often a transaction is tried before its conflict is the caller's."""

LOST = 2
"""How often it is tried again because its connection was lost."""

MEASUREMENTS = 5
"""Of the server's time, before the first use of it; the best one counts."""

_AGAIN = {
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "55P03",  # lock_not_available: it was waited for long enough
    "23505",  # unique_violation: somebody took the name, or the id, after we looked; he is seen the next time
}
# Any number that nothing else in the database locks by. Other engines may wait for long while one migrates.
_MIGRATION = (
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL lock_timeout = 0",
    "SELECT pg_advisory_xact_lock(4862115)",
)


# What a batch looks for it has the keys of: one plan does, and it isn't made again for each.
_ONE_PLAN = "SET LOCAL plan_cache_mode = force_generic_plan"


class _Conflict(Exception):
    """The transaction has done nothing, and may be tried again."""

    def __init__(self, error: psycopg.Error, *, lost: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.lost = lost


class _LostAtCommit(Unavailable):
    """The transaction has done all or nothing."""


class PostgresqlDatabase(Together):
    """A database of a PostgreSQL server, which several engines may share."""

    shared = True

    def __init__(self, url: URL, wake: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.wake = wake
        self._connections = Connections(url)
        self.dialect: Dialect = self._connections.dialect
        self._server = ServerTime()
        self._signals: Signals | None = None
        self._closed = False
        self.prefetch: Prefetch = at_hand
        self._writer = Writer(self._do)
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        try:
            with closing(self._connections.open()) as connection:
                for _ in range(MEASUREMENTS):
                    measure(connection, self._server)
        except psycopg.Error as error:
            raise Unavailable(f"the database does not answer: {in_a_line(error)}") from error
        self.write(self._migrate)

    def _migrate(self, transaction: Transaction) -> None:
        for sql in _MIGRATION:
            transaction.run_sql(sql)
        migrate(transaction, self.dialect)

    def close(self) -> None:
        """Close what nobody uses; what is under way closes when it is done."""
        self._closed = True
        if self._signals is not None:
            self._signals.close()
            self._signals = None
        self._writer.close()
        self._connections.close()

    # The other engines

    def now(self) -> datetime:
        """The server's time, UTC, which is the same for all engines."""
        return self._server.now()

    def listen(self, hear: Callable[[str], None]) -> None:
        """Have `hear` told, from now on, what other engines `tell`; it must not take long."""
        with self._connections.borrowed() as connection:
            row = connection.execute("SELECT current_schema()").fetchone()
        channel = f"overnight.{row[0] if row else ''}"[:63].replace('"', "_")
        self._signals = Signals(self._connections.open, channel, uuid.uuid4().hex[:12], self._server, hear)

    def tell(self, what: str) -> None:
        """Tell the other engines, soon; what is told may be lost."""
        if self._signals is not None:
            self._signals.tell(what)

    # Reading and writing

    def read(self, work: Callable[[Reading], T]) -> T:
        """Read what is committed, or, within `together`, what is about to be."""
        if (transaction := self._transaction) is not None:
            return work(transaction)
        return self._tried(lambda connection: self._read(work, connection))

    def write(self, work: Work[T], needs: Needs = NOTHING) -> T:
        """Do the work in a transaction, with others where that is possible, again where somebody was in its way."""
        if (transaction := self._transaction) is not None:
            return work(transaction)
        if needs != NOTHING:
            job = Job(work, needs)
            self._writer.carry_out(job)
            if not job.alone:
                follow(job.after_commit)
                if job.error is not None:
                    raise job.error
                done: T = job.result
                return done
        result, after = self._tried(lambda connection: self._alone(work, needs, connection))
        follow(after)
        return result

    def afterwards(self, act: Callable[[], object]) -> None:
        """Do it now; or, within `together`, after the commit, when no row is locked any more."""
        if (transaction := self._transaction) is not None:
            transaction.after_commit.append(act)
        else:
            act()

    def _tried(self, work: Callable[[Connection], T]) -> T:
        """Do the work on a connection, again where that may help. Raises Unavailable."""
        lost = tries = 0
        while True:
            if self._closed:
                raise Unavailable("the database is closed")
            try:
                return self._once(work)
            except _Conflict as conflict:
                tries += 1
                lost += conflict.lost
                if tries == TRIES or lost > LOST:
                    raise _unavailable(conflict.error) from conflict.error
            if tries > 1 or not lost:
                time.sleep(random.uniform(0, min(0.5, 0.005 * 2**tries)))

    def _once(self, work: Callable[[Connection], T]) -> T:
        connection: Connection | None = None
        try:
            with self._connections.borrowed() as connection:
                return work(connection)
        except psycopg.Error as error:
            lost = connection is None or gone(connection, error)
            if lost or error.sqlstate in _AGAIN:
                raise _Conflict(error, lost=lost) from error
            raise _unavailable(error) from error

    def _read(self, work: Callable[[Reading], T], connection: Connection) -> T:
        return work(Reading(Conversation(connection), self.dialect))

    def _alone(self, work: Work[T], needs: Needs, connection: Connection) -> tuple[T, list[Callable[[], object]]]:
        transaction = _Transaction(connection, self.dialect)
        if needs.agents:
            self.prefetch(transaction, needs, wait=True)
        else:
            transaction.all_of()  # a connection that is lost by now shows before the commit
        result = work(transaction)
        transaction.commit()
        return result, transaction.after_commit

    def _do(self, jobs: list[Job]) -> None:
        """Those whose rows nobody else holds, as one; the others, and all should it fail, are left to their callers."""
        try:
            with self._connections.borrowed() as connection:
                self._do_together(jobs, connection)
        except _LostAtCommit as error:
            for job in jobs:
                if not job.alone:
                    job.error = job.error or Unavailable(str(error))
        except BaseException:  # noqa: BLE001 - it comes again where it can be told whose it is
            for job in jobs:
                job.alone = True

    def _do_together(self, jobs: list[Job], connection: Connection) -> None:
        transaction = _Transaction(connection, self.dialect, _ONE_PLAN)
        had = self.prefetch(transaction, _sum(job.needs for job in jobs), wait=False)
        for job in jobs:
            if not (job.needs.agents <= had.agents and job.needs.moved <= had.moved):
                job.alone = True
                continue
            written = transaction.writes
            transaction.after_commit = job.after_commit
            try:
                job.result = job.work(transaction)
            except Exception as error:
                if transaction.writes != written or isinstance(error, psycopg.Error):
                    raise
                job.error = error
        transaction.commit()


class _Transaction(Transaction):
    """A transaction that begins with the first that is asked, and ends with the last that is written."""

    __slots__ = ("_connection", "_conversation")

    def __init__(self, connection: Connection, dialect: Dialect, *settings: str) -> None:
        self._connection = connection
        self._conversation = Conversation(connection)
        super().__init__(self._conversation, dialect, {})
        for sql in ("BEGIN", *settings):
            self._conversation.say(sql)

    def all_of(self, *asked: tuple[Statement, Mapping[str, Any]]) -> list[list[Row]]:
        """Every row of each of several statements, in one round trip."""
        said = ((*statement.on(self._dialect), parameters) for statement, parameters in asked)
        return self._conversation.all_of([(sql, {**own, **parameters}) for sql, own, parameters in said])

    def commit(self) -> None:
        """Write what was put off, and commit. Raises Unavailable where it is not known whether that was done."""
        if self._connection.info.transaction_status is TransactionStatus.INERROR:
            raise RuntimeError("an error of the database was caught within a transaction")  # it would be no commit
        try:
            self.flush()
            self._conversation.execute("COMMIT")
        except psycopg.Error as error:
            if gone(self._connection, error):
                self._connection.close()
                raise _LostAtCommit(f"the connection was lost at a commit: {in_a_line(error)}") from error
            raise


def _sum(needs: Iterable[Needs]) -> Needs:
    """What all of them need."""
    every = list(needs)
    return Needs(
        frozenset().union(*(each.agents for each in every)),
        frozenset().union(*(each.sought for each in every)),
        frozenset().union(*(each.moved for each in every)),
        next((each.taken for each in every if each.taken), None),
    )


def _unavailable(error: psycopg.Error) -> Unavailable:
    if error.sqlstate is None or error.sqlstate[:2] in {"08", "53", "57", "58"}:
        return Unavailable(f"the database does not answer: {in_a_line(error)}")
    return Unavailable(f"the database refused: {in_a_line(error)}")
