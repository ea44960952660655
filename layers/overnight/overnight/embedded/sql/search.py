"""Executions that a filter lets through, newest first: by the index that fits best, so many of its rows at a time.

What no index knows is looked for among the rows that one gives. However rare it is, a page ends after some thousands of
them, and its cursor goes on from there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Select, TextClause, literal, select, tuple_

from overnight.embedded.sql.instants import to_us
from overnight.embedded.sql.schema import FIRED, IN_VAIN, NOT_SUCCEEDED, REASONED, executions
from overnight.executions import FiringKind, Status
from overnight.ports import ExecutionFilter

__all__ = ["PLACE", "Place", "Search", "searches"]

MOST_READ = 10_000
"""Among how many rows of an index one page looks for what the index doesn't know."""

PLACE = (executions.c.created_at, executions.c.seq)
"""What orders executions in time, each in its own place."""

Place: TypeAlias = tuple[int | str, ...]
Condition: TypeAlias = ColumnElement[bool] | TextClause


@dataclass(frozen=True, slots=True)
class Search:
    """What an index finds, in order of time, and what is to hold besides."""

    indexed: Sequence[Condition]
    besides: Sequence[Condition]

    def end(self, before: Place | None) -> Select[Any] | None:
        """The place where a page ends at the latest, if there are so many rows; None where it needn't look at many."""
        if not self.besides:
            return None
        return self._newest(PLACE, self.indexed, before).limit(1).offset(MOST_READ - 1)

    def found(self, before: Place | None, end: Place | None, limit: int) -> Select[Any]:
        """Places and bodies of the newest that are older than one place, and not older than the other."""
        conditions = [*self.indexed, *self.besides]
        if end is not None:
            conditions.append(tuple_(*PLACE) >= tuple_(*map(literal, end)))
        return self._newest((*PLACE, executions.c.body), conditions, before).limit(limit)

    @staticmethod
    def _newest(columns: Sequence[Any], conditions: Sequence[Condition], before: Place | None) -> Select[Any]:
        query = select(*columns).where(*conditions).order_by(*(column.desc() for column in PLACE))
        return query if before is None else query.where(tuple_(*PLACE) < tuple_(*map(literal, before)))


def searches(where: ExecutionFilter) -> list[Search]:
    """One for each status and kind: each has its own order in an index, several of them have none."""
    return [_search(where, status, kind) for status in where.statuses or (None,) for kind in where.kinds or (None,)]


def _search(where: ExecutionFilter, status: Status | None, kind: FiringKind | None) -> Search:
    wanted = {
        "agent_id": where.agent_id,
        "status": status,
        "reason": where.reason,
        "kind": kind,
        "trigger": where.trigger,
    }
    given = {executions.c[name]: str(value) for name, value in wanted.items() if value is not None}
    indexed, only = _index(where, status, kind)
    return Search(
        [*(column == value for column, value in given.items() if column.name == indexed), *only, *_times(where)],
        # Joined with nothing, a column doesn't tempt the database to take another index.
        [column.concat("") == value for column, value in given.items() if column.name != indexed],
    )


def _index(
    where: ExecutionFilter, status: Status | None, kind: FiringKind | None
) -> tuple[str | None, Sequence[TextClause]]:
    """The first column of the index that fits best, None for that of all; and what holds of all that is in it."""
    agent, reason = where.agent_id is not None, where.reason is not None
    if status is not None and not status.terminal:  # They are few, those of all agents, too.
        return "status", [NOT_SUCCEEDED]
    in_vain = status is not Status.SUCCEEDED if status is not None else reason  # which only such have
    if agent:
        return "agent_id", [IN_VAIN] if in_vain else []
    if reason:
        return "reason", [REASONED]
    if in_vain:
        return "status", [NOT_SUCCEEDED]
    if kind is not None and kind is not FiringKind.SCHEDULE:
        return "kind", [FIRED]
    return None, []


def _times(where: ExecutionFilter) -> Iterator[Condition]:
    if where.since is not None:
        yield executions.c.created_at >= to_us(where.since)
    if where.until is not None:
        yield executions.c.created_at < to_us(where.until)
