"""The ledger of a schedule: its ticks' records by nominal instant, and those that stand for a range of ticks."""

import heapq
from collections.abc import Iterator
from datetime import datetime
from itertools import islice

from overnight.aws.dynamodb import rows
from overnight.aws.dynamodb.executions import Executions
from overnight.aws.dynamodb.schema import BY_TICK
from overnight.aws.dynamodb.table import Table
from overnight.aws.dynamodb.values import stamp
from overnight.executions import Execution, Tick

__all__ = ["Ledger"]

CHUNK = 100
"""Records that are read at a time."""


class Ledger:
    """Reads ledgers by their index."""

    def __init__(self, table: Table, executions: Executions) -> None:
        self._table = table
        self._executions = executions

    def ticks(self, agent_id: str, trigger: str, since: datetime, until: datetime) -> Iterator[Tick]:
        """Records that touch [since, until], ordered by nominal instant."""
        if until < since:
            return iter(())
        ranges = (e for e in self._records(f"RANGES#{agent_id}#{trigger}", since, None) if _begins(e) <= until)
        single = self._records(f"TICKS#{agent_id}#{trigger}", since, until)
        merged = heapq.merge(ranges, single, key=_begins)
        return (_tick(execution) for execution in merged)

    def _records(self, pk: str, since: datetime, until: datetime | None) -> Iterator[Execution]:
        """Executions by the end of what they record."""
        low, high = stamp(since), stamp(until) if until else None
        entries = self._table.query(pk, index=BY_TICK, low=low, high=high)
        while batch := list(islice(entries, CHUNK)):
            yield from self._executions.each([rows.execution_id_of(entry) for entry in batch])


def _begins(execution: Execution) -> datetime:
    assert execution.nominal is not None  # noqa: S101 - the index has none without
    return execution.nominal


def _tick(execution: Execution) -> Tick:
    return Tick(
        execution_id=execution.id,
        nominal=_begins(execution),
        until=execution.until,
        count=execution.count,
        previous=execution.previous,
        status=execution.status,
        reason=execution.reason,
    )
