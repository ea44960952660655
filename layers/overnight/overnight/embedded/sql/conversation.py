"""What is said to a PostgreSQL server: as many statements as there are in one round trip, each prepared once.

psycopg's own pipelines hand each statement to the network by itself, and ask before and after it whether there is room;
here they go as one, and then the answers are waited for, once.
"""

import re
import select
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult

__all__ = ["Connection", "Conversation"]

PREPARED = 200
"""How many statements a connection has prepared at most; what comes then is planned each time."""

_Row = tuple[Any, ...]


class Connection(psycopg.Connection[_Row]):
    """A connection that knows what the server has prepared for it."""

    prepared: dict[bytes, bytes] | None = None
    """The names of the statements, by their SQL; None where nothing is to be prepared."""


class _Said(NamedTuple):
    """A statement that waits to be sent, and what goes with it, as the server wants it."""

    sql: bytes
    values: Sequence[Any] | None = None
    formats: Sequence[int] | None = None


class Conversation:
    """A connection's cursor (PEP 249, as far as `Cursor` says): what needs no answer is sent with what does."""

    __slots__ = ("_connection", "_rows", "_said", "_transformer", "rowcount")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._transformer = Transformer(connection)
        self._said: list[_Said] = []
        self._rows: list[_Row] = []
        self.rowcount = -1
        """How many rows the last statement that was executed wrote, or gave."""

    def say(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Have it executed before what is executed next."""
        if parameters is None:
            self._said.append(_Said(sql.encode()))
            return
        text, names = _numbered(sql)
        values = [parameters[name] for name in names]
        wanted = [PyFormat.BINARY if isinstance(value, bytes) else PyFormat.TEXT for value in values]
        self._said.append(_Said(text, self._transformer.dump_sequence(values, wanted), self._transformer.formats))

    def executemany(self, sql: str, parameters: Iterable[Mapping[str, Any]]) -> None:
        """Have it executed with each of the parameters, before what is executed next."""
        for each in parameters:
            self.say(sql, each)

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Execute it, after what was said. Raises psycopg.Error, whichever of them failed."""
        self.say(sql, parameters)
        answer = self._answers()[-1]
        self._rows = self._loaded(answer)
        self.rowcount = answer.command_tuples or 0

    def all_of(self, asked: Sequence[tuple[str, Mapping[str, Any]]]) -> list[list[_Row]]:
        """Every row of each of several statements, after what was said. Raises psycopg.Error."""
        for sql, parameters in asked:
            self.say(sql, parameters)
        answers = self._answers()
        return [self._loaded(answer) for answer in answers[len(answers) - len(asked) :]]

    def fetchone(self) -> _Row | None:
        """The next row of what was executed last, None at the end."""
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[_Row]:
        """All rows that are left of it."""
        rows, self._rows = self._rows, []
        return rows

    def _loaded(self, answer: PGresult) -> list[_Row]:
        self._transformer.set_pgresult(answer)
        return self._transformer.load_rows(0, answer.ntuples, tuple)

    def _answers(self) -> list[PGresult]:
        """The answer to each statement that was said."""
        said, self._said = self._said, []
        connection = self._connection.pgconn
        try:
            connection.enter_pipeline_mode()
            new = self._send(said)
            results = self._received()
            connection.exit_pipeline_mode()
        except BaseException:
            self._connection.close()  # nobody knows what it would say next
            raise
        answers = []
        for result, sql in zip(results, new, strict=False):
            if result.status == ExecStatus.FATAL_ERROR:
                raise error_from_result(result)
            if sql is None:
                answers.append(result)
            elif self._connection.prepared is not None:
                self._connection.prepared[sql] = _name(len(self._connection.prepared))
        return answers

    def _send(self, said: Iterable[_Said]) -> list[bytes | None]:
        """Send it all; for each result that is to come the statement that is prepared then, None for an answer."""
        connection = self._connection.pgconn
        known = self._connection.prepared
        new: dict[bytes, bytes] = {}
        expected: list[bytes | None] = []
        for sql, values, formats in said:
            name = None if known is None else known.get(sql) or new.get(sql)
            if name is None and known is not None and len(known) + len(new) < PREPARED:
                name = new[sql] = _name(len(known) + len(new))
                connection.send_prepare(name, sql)
                expected.append(sql)
            if name is None:
                connection.send_query_params(sql, values, None, formats)
            else:
                connection.send_query_prepared(name, values, formats)
            expected.append(None)
        connection.pipeline_sync()
        return expected

    def _received(self) -> list[PGresult]:
        """All results, up to the first that is an error and with it."""
        connection = self._connection.pgconn
        socket = select.poll()
        socket.register(connection.socket, select.POLLIN | select.POLLOUT)
        while connection.flush():
            socket.poll()
            connection.consume_input()
        socket.modify(connection.socket, select.POLLIN)
        results: list[PGresult] = []
        while connection.status != ConnStatus.BAD:
            while connection.is_busy():
                socket.poll()
                connection.consume_input()
            result = connection.get_result()
            if result is None:
                continue  # each statement's results end so
            if result.status == ExecStatus.PIPELINE_SYNC:
                return results
            results.append(result)
        raise psycopg.OperationalError(connection.get_error_message())


_PARAMETER = re.compile(r"%(?:\((\w+)\)s|%)")


@lru_cache(maxsize=1_000)
def _numbered(sql: str) -> tuple[bytes, tuple[str, ...]]:
    """The SQL with numbers in place of its parameters' names, and the names in order."""
    places: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        name = match[1]
        return "%" if name is None else f"${places.setdefault(name, len(places) + 1)}"

    return _PARAMETER.sub(number, sql).encode(), tuple(places)


@lru_cache(maxsize=PREPARED)
def _name(number: int) -> bytes:
    """What a connection calls the statement that it prepared after so many."""
    return f"overnight_{number}".encode()
