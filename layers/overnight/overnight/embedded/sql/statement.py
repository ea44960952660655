"""A statement of SQLAlchemy Core that is compiled once for each dialect and then handed to the driver as it is.

Compiling and preparing are what SQLAlchemy's `Connection.execute` spends its time on; a verb of the store is four
statements, and a thousand executions are four thousand verbs.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from sqlalchemy import Table, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

__all__ = ["Insert", "Statement", "Upsert", "binds"]

Insert = sqlite.Insert
"""An INSERT with `on_conflict_do_…`; PostgreSQL's takes the same arguments."""


class Upsert(Protocol):
    """The dialect's own `insert`."""

    def __call__(self, table: Table) -> Insert:
        """Begin an INSERT."""


_UPSERT: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Statement:
    """One statement; parameters go by name. Give a function of `insert` where the dialect's own is needed.

    One that is `apart` has nothing to do with what a transaction puts off to its end.
    """

    __slots__ = ("_build", "_compiled", "apart")

    def __init__(self, build: ClauseElement | Callable[[Upsert], ClauseElement], *, apart: bool = False) -> None:
        self._build = build
        self.apart = apart
        self._compiled: dict[str, tuple[str, dict[str, Any]]] = {}

    def on(self, dialect: Dialect) -> tuple[str, dict[str, Any]]:
        """The SQL for that dialect, and the values of the parameters that the statement brings itself."""
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = self._compile(dialect)
        return compiled

    def _compile(self, dialect: Dialect) -> tuple[str, dict[str, Any]]:
        element = self._build if isinstance(self._build, ClauseElement) else self._build(_UPSERT[dialect.name])
        compiled = element.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        assert isinstance(compiled, SQLCompiler)  # noqa: S101 - a statement, not a type
        required = {name for name, parameter in compiled.binds.items() if parameter.required}
        return str(compiled), {name: value for name, value in compiled.params.items() if name not in required}


def binds(table: Table, *leave_out: str) -> dict[str, Any]:
    """A parameter for each column, called like it."""
    return {column.name: bindparam(column.name) for column in table.columns if column.name not in leave_out}
