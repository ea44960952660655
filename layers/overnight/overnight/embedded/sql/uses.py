"""Who needs which blob: written with what refers to it, so that a blob can go when nobody needs it any more."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from sqlalchemy import ColumnElement, bindparam, delete, select

from overnight.agents import Agent, LangflowFlow
from overnight.embedded.sql.database import Database, Transaction
from overnight.embedded.sql.schema import uses
from overnight.embedded.sql.statement import Statement, binds
from overnight.executions import Attempt, Execution

__all__ = ["Uses", "of_agent", "of_attempt", "of_execution"]

_KEEP = Statement(lambda insert: insert(uses).values(binds(uses)).on_conflict_do_nothing())
_DROP = Statement(delete(uses).where(uses.c.owner == bindparam("owner")))


@lru_cache(maxsize=4)
def _used(digests: int) -> Statement:
    """The statement for so many; they come in pages of one size, and a last one."""
    wanted: list[ColumnElement[str]] = [bindparam(f"digest_{n}") for n in range(digests)]
    return Statement(select(uses.c.digest).where(uses.c.digest.in_(wanted)).distinct())


class Uses:
    """The digests of the blobs that executions and agents refer to, by the id of who does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, transaction: Transaction, uses: Iterable[tuple[str, str]]) -> None:
        """Note which execution, or agent, needs which digest."""
        rows = [{"owner": owner, "digest": digest} for owner, digest in sorted(uses)]
        if rows:
            transaction.run_each(_KEEP, rows)

    def drop(self, transaction: Transaction, owners: Iterable[str]) -> None:
        """Forget what these needed."""
        transaction.run_each(_DROP, [{"owner": owner} for owner in owners])

    def used(self, digests: Sequence[str]) -> set[str]:
        """Those of these blobs that anybody needs."""
        statement = _used(len(digests))
        parameters = {f"digest_{n}": digest for n, digest in enumerate(digests)}
        return {row[0] for row in self._database.read(lambda reading: reading.all(statement, **parameters))}


def of_execution(execution: Execution) -> Iterator[str]:
    """The blobs that an execution's row refers to."""
    for held in (execution.payload, execution.input, execution.output):
        if held is not None and held.blob is not None:
            yield held.blob
    if execution.first is not None:
        yield from of_attempt(execution.first)


def of_attempt(attempt: Attempt) -> Iterator[str]:
    """The blob that an attempt refers to: what it printed."""
    if attempt.log is not None:
        yield attempt.log


def of_agent(agent: Agent) -> Iterator[str]:
    """The blob that an agent refers to: its flow's JSON."""
    if isinstance(agent.document.flow, LangflowFlow):
        yield agent.document.flow.langflow
