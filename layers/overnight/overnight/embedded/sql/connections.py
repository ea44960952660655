"""Connections to a PostgreSQL server: how many, how long anything may take on them, and how a dead one is found out.

Whoever holds locks must not vanish unnoticed. So both ends look after each other: the client finds a server that is
gone within half a minute, and the server is told, session by session, to do the same for us, since its own defaults
would keep the locks of a machine that lost its network for two hours.
"""

import logging
import select
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import event
from sqlalchemy.engine import URL, Dialect
from sqlalchemy.exc import InvalidatePoolError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from overnight.embedded.sql.conversation import Connection
from overnight.errors import Invalid, Unavailable

__all__ = ["CONNECTIONS", "Connections", "gone", "in_a_line"]

_log = logging.getLogger(__name__)

CONNECTIONS = 12
"""How many an engine uses at most, beside the one that listens; `?pool_size=` in the URL says otherwise."""

WAIT_SECONDS = 10.0
"""How long a free connection is waited for."""

RENEW_SECONDS = 1_800
"""How old a connection becomes, so that a change of addresses or of credentials gets around."""

_ARGUMENTS: Mapping[str, object] = {
    "application_name": "overnight",
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # ms
}
"""What the client does, unless the URL says otherwise."""

_SESSION: Mapping[str, str] = {
    "default_transaction_isolation": "read committed",
    "statement_timeout": "60s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "30s",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20s",
}
"""What the server does for each of our sessions."""

_PREPARE = "SELECT {} , CASE current_setting('synchronous_commit') WHEN 'off' THEN {} END".format(
    ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _SESSION.items()),
    "set_config('synchronous_commit', 'on', false)",  # what is acknowledged is durable
)

_GONE = {
    "25006",  # read_only_sql_transaction: the server was demoted, and another one is the primary now
    "57P01",  # admin_shutdown
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now
    "57P05",  # idle_session_timeout
    "25P03",  # idle_in_transaction_session_timeout
}


def gone(connection: Connection, error: psycopg.Error) -> bool:
    """Whether the connection is of no use any more after that error."""
    return connection.closed or error.sqlstate in _GONE or (error.sqlstate or "").startswith("08")


class Connections:
    """The connections of one engine to one database.

    Args:
        url: where it is; libpq's parameters may follow it. Of our own are `pool_size` and `prepare_threshold` (0 to
            prepare no statements, for a pooler that can't have them).

    Raises Invalid.
    """

    def __init__(self, url: URL) -> None:
        query = dict(url.query)
        size = _number(query.pop("pool_size", CONNECTIONS), "pool_size", least=2)
        self._prepares = _number(query.pop("prepare_threshold", 5), "prepare_threshold", least=0) > 0
        url = url.set(drivername="postgresql+psycopg", query=query)
        self.dialect: Dialect = url.get_dialect()()
        self._arguments = {**_ARGUMENTS, **self.dialect.create_connect_args(url)[1]}
        self._pool = QueuePool(
            self.open,  # type: ignore[arg-type]  # it wants no more than a connection of PEP 249
            pool_size=size,
            max_overflow=0,
            timeout=WAIT_SECONDS,
            recycle=RENEW_SECONDS,
            use_lifo=True,  # what is not needed grows old
            reset_on_return=None,  # `borrowed` does that where there is anything to reset
        )
        event.listen(self._pool, "checkout", _refuse_what_ended)
        self._away = False

    def open(self) -> Connection:
        """A connection of one's own, beside the others; each statement is a transaction. Raises psycopg.Error."""
        connection = Connection.connect(**self._arguments, autocommit=True, prepare_threshold=None)
        connection.execute(_PREPARE)
        connection.prepared = {} if self._prepares else None
        return connection

    @contextmanager
    def borrowed(self) -> Iterator[Connection]:
        """One of the connections, for a while; what is not committed then is rolled back.

        Raises Unavailable, whose text tells strangers nothing of where the database is; the log does.
        """
        try:
            fairy = self._pool.connect()
        except (psycopg.Error, SQLAlchemyError) as error:
            if not self._away:
                self._away = True
                _log.warning("the database does not answer: %s", in_a_line(error))
            raise Unavailable("the database does not answer; the engine's log says why") from error
        if self._away:
            self._away = False
            _log.warning("the database answers again")
        connection: Connection = fairy.driver_connection  # type: ignore[assignment]
        try:
            yield connection
        except psycopg.Error as error:
            if gone(connection, error):
                fairy.invalidate(error)
            raise
        finally:
            if connection.pgconn.transaction_status != TransactionStatus.IDLE:
                with suppress(psycopg.Error):
                    connection.rollback()
            if connection.closed and fairy.is_valid:
                fairy.invalidate()
            fairy.close()

    def close(self) -> None:
        """Close those that nobody uses; the others close when they are given back."""
        self._pool.dispose()


def _refuse_what_ended(connection: Connection, *_: object) -> None:
    """Find out without a round trip: what is to be read on a connection that nobody uses is the server's farewell.

    Those that are as old as this one have ended, too.
    """
    if connection.closed:
        raise InvalidatePoolError
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        raise InvalidatePoolError


def _number(said: object, name: str, *, least: int) -> int:
    if not str(said).isascii() or not str(said).isdigit() or int(str(said)) < least:
        raise Invalid.field("database", f"{name} must be a number from {least} on")
    return int(str(said))


def in_a_line(error: Exception) -> str:
    """What libpq says in many lines, in one."""
    return " ".join(str(error).split())
