"""Listings of executions, newest first, each from the index that has fewest to read besides."""

import heapq
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice

from overnight.aws.dynamodb import cursors, rows
from overnight.aws.dynamodb.agents import FIRST_DAY
from overnight.aws.dynamodb.due import due_until
from overnight.aws.dynamodb.executions import Executions
from overnight.aws.dynamodb.schema import BY_DAY, BY_DUE, BY_FAILURE, BY_OWNER, PK, SK, Index, shards
from overnight.aws.dynamodb.table import Table
from overnight.aws.dynamodb.values import Item, stamp
from overnight.cursors import NONE
from overnight.errors import Invalid
from overnight.executions import Execution, Status
from overnight.ports import ExecutionFilter, Page

__all__ = ["Listing"]

MOST_READ = 5_000
"""So many rows one page looks at, at most; then it is short, or empty, and its cursor goes on from there."""

_BATCH = 100
Place = str
"""An execution's place in order of time; see `values.place`."""


class Listing:
    """What is asked of many executions."""

    def __init__(self, table: Table, executions: Executions, now: Callable[[], datetime]) -> None:
        self._table = table
        self._executions = executions
        self._now = now

    def page(self, where: ExecutionFilter, cursor: str | None, limit: int) -> Page[Execution]:
        """Executions, newest first. Raises Invalid (cursor)."""
        before = cursors.decode(cursor, "executions", 1)[0] if cursor is not None else None
        found: list[tuple[Place, Execution]] = []
        read, last = 0, before
        entries = self._entries(where, before)
        while batch := list(islice(entries, min(_BATCH, 2 * limit + 1))):
            places = {rows.execution_id_of(entry): str(entry[BY_OWNER.sk]) for entry in batch}
            there = self._executions.each(list(places))
            found += [(places[execution.id], execution) for execution in there if _fits(where, execution)]
            read, last = read + len(batch), str(batch[-1][BY_OWNER.sk])
            if len(found) > limit:
                return Page(tuple(e for _, e in found[:limit]), cursors.encode("executions", found[limit - 1][0]))
            if read >= MOST_READ:
                return Page(tuple(e for _, e in found), cursors.encode("executions", last))
        return Page(tuple(e for _, e in found))

    def _entries(self, where: ExecutionFilter, before: Place | None) -> Iterator[Item]:
        """The entries of an index in which all that is looked for is, newest first."""
        low = stamp(where.since) if where.since else None
        high = min(filter(None, (stamp(where.until) if where.until else None, before)), default=None)
        if where.statuses and not any(status.terminal for status in where.statuses):
            entries: Iterator[Item] = self._unfinished(low, high)
        elif where.statuses == (Status.FAILED,):
            entries = self._spread(BY_FAILURE, (f"FAILED#{m}" for m in self._months(low, high)), low, high)
        elif where.agent_id is not None:
            entries = self._table.query(
                f"EXECS#{where.agent_id}", index=BY_OWNER, low=low, high=high, newest_first=True
            )
        else:
            entries = self._spread(BY_DAY, (f"DAY#{day}" for day in self._days(low, high)), low, high)
        return (entry for entry in entries if str(entry[BY_OWNER.sk]) != high)

    def _spread(self, index: Index, spans: Iterator[str], low: str | None, high: str | None) -> Iterator[Item]:
        """The entries of a sharded index, span after span."""
        for span in spans:
            parts = (self._table.query(pk, index=index, low=low, high=high, newest_first=True) for pk in shards(span))
            yield from heapq.merge(*parts, key=lambda entry: str(entry[index.sk]), reverse=True)

    def _days(self, low: str | None, high: str | None) -> Iterator[date]:
        """The days between, the newest first, as far as there were agents."""
        day = _day(high) if high else (self._now() + timedelta(days=1)).date()
        first = self._table.get(FIRST_DAY)
        oldest = date.fromisoformat(str(first["day"])) if first else day
        oldest = max(oldest, _day(low)) if low else oldest
        while day >= oldest:
            yield day
            day -= timedelta(days=1)

    def _months(self, low: str | None, high: str | None) -> Iterator[str]:
        return iter(dict.fromkeys(f"{day:%Y-%m}" for day in self._days(low, high)))

    # What is not terminal

    def _unfinished(self, low: str | None, high: str | None) -> Iterator[Item]:
        """All that is not terminal, newest first: few, at any one time."""
        ids = [rows.execution_id_of(entry) for pk in _live() for entry in self._table.query(pk, index=BY_DUE)]
        places = self._table.get_each(rows.key_of(id_) for id_ in ids).values()
        for item in sorted(places, key=lambda item: str(item[BY_OWNER.sk]), reverse=True):
            place = str(item[BY_OWNER.sk])
            if (low is None or place >= low) and (high is None or place < high):
                yield item

    def unfinished(self, cursor: str | None, limit: int) -> Page[Execution]:
        """Executions that are not terminal, partition by partition. Raises Invalid (cursor)."""
        number = 0
        after: Item | None = None
        if cursor is not None:
            pk, look, key = cursors.decode(cursor, "unfinished", 3)
            if pk not in _live():
                raise Invalid.field("cursor", NONE)
            number, after = _live().index(pk), {BY_DUE.pk: pk, BY_DUE.sk: look, PK: key, SK: "EXEC"}
        entries: list[Item] = []
        for pk in _live()[number:]:
            entries += self._table.query(pk, index=BY_DUE, limit=limit - len(entries), after=after)
            after = None
            if len(entries) >= limit:
                break
        # What is being admitted just now has its guard, and is in no state yet.
        guarded = {rows.execution_id_of(entry) for entry in entries if self._guarded(entry)}
        found = self._executions.each([rows.execution_id_of(entry) for entry in entries])
        items = tuple(
            execution
            for execution in found
            if not execution.status.terminal and (execution.attempt or execution.id not in guarded)
        )
        if len(entries) < limit:
            return Page(items)
        last = entries[-1]
        return Page(items, cursors.encode("unfinished", str(last[BY_DUE.pk]), str(last[BY_DUE.sk]), str(last[PK])))

    def _guarded(self, entry: Item) -> bool:
        return str(entry[BY_DUE.pk]).startswith("LIVE#") and due_until(self._now()) < str(entry[BY_DUE.sk]) < rows.CALM


def _live() -> list[str]:
    """The partitions of all executions that are not terminal."""
    return [*shards("LIVE"), *shards("DUE#EXEC")]


def _day(place: str) -> date:
    return datetime.combine(date.fromisoformat(place[:10]), time(), UTC).date()


def _fits(where: ExecutionFilter, execution: Execution) -> bool:
    return (
        (where.agent_id is None or execution.agent_id == where.agent_id)
        and (not where.statuses or execution.status in where.statuses)
        and (not where.kinds or execution.kind in where.kinds)
        and (where.trigger is None or execution.trigger == where.trigger)
        and (where.reason is None or execution.reason is where.reason)
        and (where.since is None or execution.created_at >= where.since)
        and (where.until is None or execution.created_at < where.until)
    )
