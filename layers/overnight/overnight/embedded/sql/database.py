"""A database as the verbs see it: work in a transaction that is durable when the call returns, and reads beside it."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar

from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.exc import ArgumentError

from overnight.embedded.sql.statement import Statement
from overnight.errors import Invalid

__all__ = [
    "NOTHING",
    "Cursor",
    "Database",
    "Due",
    "Needs",
    "Prefetch",
    "Reading",
    "Row",
    "Together",
    "Transaction",
    "Work",
    "at_hand",
    "open_database",
]

T = TypeVar("T")
Row = tuple[Any, ...]


class Cursor(Protocol):
    """What is needed of a driver's cursor (PEP 249)."""

    @property
    def rowcount(self) -> int:
        """How many rows the last statement wrote."""

    def execute(self, sql: str, parameters: Any = ..., /) -> object:
        """Execute a statement."""

    def executemany(self, sql: str, parameters: Any, /) -> object:
        """Execute a statement with each of the parameters."""

    def fetchone(self) -> Any:
        """The next row, None at the end."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""


class Reading:
    """A connection to read from; each statement sees what was committed when it began."""

    __slots__ = ("_cursor", "_dialect")

    def __init__(self, cursor: Cursor, dialect: Dialect) -> None:
        self._cursor = cursor
        self._dialect = dialect

    def one(self, statement: Statement, **parameters: Any) -> Row | None:
        """The first row."""
        self._execute(statement, parameters)
        row: Row | None = self._cursor.fetchone()
        return row

    def all(self, statement: Statement, **parameters: Any) -> list[Row]:
        """Every row."""
        self._execute(statement, parameters)
        return self._cursor.fetchall()

    def _execute(self, statement: Statement, parameters: dict[str, Any]) -> None:
        sql, own = statement.on(self._dialect)
        self._cursor.execute(sql, own | parameters if own else parameters)


class Due(NamedTuple):
    """Messages that are due: so many at most, at that time (microseconds)."""

    most: int
    now: int


class Needs(NamedTuple):
    """The rows that work begins with, so that a database can read, and lock, those of many callers at once."""

    agents: frozenset[str] = frozenset()
    """Those whose states it may move."""
    sought: frozenset[str] = frozenset()
    """The executions that it looks for."""
    moved: frozenset[str] = frozenset()
    """The executions that it may move."""
    taken: Due | None = None
    """The messages that it begins with, and the executions that they are about."""


NOTHING = Needs()


class Transaction(Reading):
    """A transaction under way, in which the work of one or of several callers is done.

    What hot paths write is put off to the end, where like rows are written by one statement; whatever is read or
    written by a statement that has to do with such rows has it written before.

    `memory` holds what was read or put off before and still is so, to spare reading it again.
    """

    __slots__ = ("_put_off", "after_commit", "memory", "writes")

    def __init__(self, cursor: Cursor, dialect: Dialect, memory: dict[Hashable, Any]) -> None:
        super().__init__(cursor, dialect)
        self.memory = memory
        self.writes = 0
        self._put_off: dict[Callable[[Transaction, Any], None], Any] = {}
        self.after_commit: list[Callable[[], object]] = []

    def all_of(self, *asked: tuple[Statement, Mapping[str, Any]]) -> list[list[Row]]:
        """Every row of each of several statements."""
        return [self.all(statement, **parameters) for statement, parameters in asked]

    def at_end(self, write: Callable[["Transaction", T], None], rows: Callable[[], T]) -> T:
        """The rows that `write` will write, at the end or before somebody looks; `rows` makes those of the first."""
        self.writes += 1
        if write not in self._put_off:
            self._put_off[write] = rows()
        waiting: T = self._put_off[write]
        return waiting

    def flush(self) -> None:
        """Write what was put off."""
        put_off, self._put_off = self._put_off, {}
        for write, rows in put_off.items():
            write(self, rows)

    def run(self, statement: Statement, **parameters: Any) -> int:
        """Write; how many rows were."""
        self.writes += 1
        self._execute(statement, parameters)
        return self._cursor.rowcount

    def run_each(self, statement: Statement, parameters: Iterable[Mapping[str, Any]]) -> None:
        """Write, once for each of the parameters."""
        self.writes += 1
        self._settle(statement)
        sql, own = statement.on(self._dialect)
        self._cursor.executemany(sql, [own | dict(each) if own else each for each in parameters])

    def run_sql(self, sql: str) -> None:
        """Write what no `Statement` can say: a migration's step."""
        self.writes += 1
        self._cursor.execute(sql)

    def _execute(self, statement: Statement, parameters: dict[str, Any]) -> None:
        self._settle(statement)
        super()._execute(statement, parameters)

    def _settle(self, statement: Statement) -> None:
        if self._put_off and not statement.apart:
            self.flush()


Work = Callable[[Transaction], T]
"""What is to be done in a transaction. It may be called again, so it has no effect but through the transaction."""


class Prefetch(Protocol):
    """Reads and locks what is needed, into the transaction's memory."""

    def __call__(self, transaction: Transaction, needs: Needs, *, wait: bool) -> Needs:
        """What of it is locked; without `wait`, whatever somebody else holds is left out."""


def at_hand(transaction: Transaction, needs: Needs, *, wait: bool) -> Needs:  # noqa: ARG001
    """What is needed is there without further ado."""
    return needs


class Database(Protocol):
    """A database that is open and has the tables of this version."""

    dialect: Dialect

    shared: bool
    """Whether several engines may use it at once."""

    wake: Callable[[], None]
    """Called after a commit that made something due: a message, an alarm, an event, a delivery."""

    prefetch: Prefetch
    """How what work needs is got and locked, where others use the database, too; SQLite has it at hand."""

    def write(self, work: Work[T], needs: Needs = NOTHING) -> T:
        """Do the work in a transaction, durable when this returns. Raises Unavailable, and what the work raises.

        Work that says what it needs may share its transaction with others.
        """

    def together(self, work: Callable[[], T], needs: Needs = NOTHING) -> T:
        """Do all that is read and written within as one transaction; it may be called again."""

    def afterwards(self, act: Callable[[], object]) -> None:
        """Do it now; or, within `together` on a database that is shared, after the commit, when no row is locked."""

    def read(self, work: Callable[[Reading], T]) -> T:
        """Read what is committed. Raises Unavailable."""

    def now(self) -> datetime:
        """The time, UTC, by the clock that rules leases and ticks: that of the database's server, if it has one."""

    def listen(self, hear: Callable[[str], None]) -> None:
        """Have `hear` told what other engines `tell`, where there are any; it must not take long."""

    def tell(self, what: str) -> None:
        """Tell the other engines, soon; what is told may be lost."""

    def close(self) -> None:
        """Finish what is under way, then close; afterwards everything raises Unavailable."""


class Together(ABC):
    """The part of a database that makes one transaction of all that a thread does within `together`."""

    def __init__(self) -> None:
        self._joined = threading.local()

    @abstractmethod
    def write(self, work: Work[T], needs: Needs = NOTHING) -> T:
        """As `Database` says; within `together`, work in `_transaction`."""

    def together(self, work: Callable[[], T], needs: Needs = NOTHING) -> T:
        """Do all that is read and written within as one transaction."""
        if self._transaction is not None:
            return work()

        def joined(transaction: Transaction) -> T:
            self._joined.transaction = transaction
            try:
                return work()
            finally:
                self._joined.transaction = None

        return self.write(joined, needs)

    @property
    def _transaction(self) -> Transaction | None:
        """The one that this thread is in."""
        return getattr(self._joined, "transaction", None)


def open_database(url: str, wake: Callable[[], None] = lambda: None) -> Database:
    """Open the database behind an SQLAlchemy URL, and bring its tables up to date.

    `sqlite://` is in memory, `sqlite:///overnight.db` a file, `postgresql://host/name` a server's. Raises Invalid,
    Unavailable.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise Invalid.field("database", "is no URL: postgresql+psycopg://user:password@host/name") from error
    match parsed.get_backend_name():
        case "sqlite":
            from overnight.embedded.sql.sqlite import SqliteDatabase  # noqa: PLC0415 - a driver is imported when needed

            return SqliteDatabase(parsed, wake)
        case "postgresql":
            try:
                from overnight.embedded.sql.postgresql import PostgresqlDatabase  # noqa: PLC0415
            except ImportError as error:
                message = "PostgreSQL needs a driver: pip install 'overnight[postgres]'"
                raise Invalid.field("database", message) from error
            return PostgresqlDatabase(parsed, wake)
        case other:
            raise Invalid.field("database", f"{other!r} is none of the databases Overnight runs on: sqlite, postgresql")
