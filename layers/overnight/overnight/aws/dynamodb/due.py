"""What the watchdog reads: agents and executions that are due, by their places in one sparse index.

    DUE#AGENT#<shard>   a state says: look now
    DUE#EXEC#<shard>    an execution's own due time has come
    LIVE#<shard>        a row is a minute old and not terminal: does its agent's state hold it?

What the state holds is looked at with its agent, and from then on whenever the state says. What nobody holds was
orphaned by a crash between insert and state: a tick is found again by the cursor of its schedule, anything else is
given a due time of its own.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from overnight.agents import AgentState
from overnight.aws.dynamodb import rows
from overnight.aws.dynamodb.executions import Executions
from overnight.aws.dynamodb.gates import Gates
from overnight.aws.dynamodb.schema import BY_DUE, PK, shards
from overnight.aws.dynamodb.table import Table
from overnight.aws.dynamodb.values import Item, stamp
from overnight.executions import Execution, Status
from overnight.ports import DueAgent, DueExecution

__all__ = ["Due", "due_entries", "due_until"]


def due_until(now: datetime) -> str:
    """The last place in the index of what is due by then, whatever follows the instant there."""
    return f"{stamp(now)}~"


def due_entries(table: Table, kind: str, now: datetime, limit: int) -> list[Item]:
    """The entries of the index of that kind whose time has come, the longest due first."""
    high = due_until(now)
    found = [entry for pk in shards(kind) for entry in table.query(pk, index=BY_DUE, high=high, limit=limit)]
    return sorted(found, key=lambda entry: str(entry[BY_DUE.sk]))[:limit]


class Due:
    """Reads what is due, and mends in passing what a crash has orphaned."""

    def __init__(self, table: Table, gates: Gates, executions: Executions) -> None:
        self._table = table
        self._gates = gates
        self._executions = executions

    def agents(self, now: datetime, limit: int) -> Sequence[DueAgent]:
        """Agents that are to be looked at, the longest due first."""
        states = (str(entry[PK]).removeprefix("AGENT#") for entry in due_entries(self._table, "DUE#AGENT", now, limit))
        held = self._guarded(due_entries(self._table, "LIVE", now, limit))
        return [DueAgent(agent_id) for agent_id in list(dict.fromkeys((*states, *held)))[:limit]]

    def executions(self, now: datetime, limit: int) -> Sequence[DueExecution]:
        """Executions whose own due time has passed, the longest due first."""
        entries = due_entries(self._table, "DUE#EXEC", now, limit)
        return [DueExecution(rows.execution_id_of(entry), _agent_of(entry)) for entry in entries]

    def _guarded(self, entries: Sequence[Item]) -> Iterable[str]:
        """The agents of rows whose guard has run out, to be looked at."""
        gates = self._gates.each(list(dict.fromkeys(_agent_of(entry) for entry in entries)))
        for execution in self._executions.each([rows.execution_id_of(entry) for entry in entries]):
            if execution.status.terminal or execution.due is not None:
                continue  # It has moved on, and the index will.
            gate = gates.get(execution.agent_id)
            held = gate and (gate.state.holds(execution.id) or execution.id in gate.state.settle)
            if gate and not held and _found_by_its_cursor(execution, gate.state):
                yield execution.agent_id
            elif gate and not held and execution.status is Status.PENDING and execution.attempt == 0:
                self._executions.adopt(execution)
            else:
                self._executions.calm(execution.id)
                yield execution.agent_id


def _agent_of(entry: Item) -> str:
    return str(entry[BY_DUE.sk]).partition("#")[2]


def _found_by_its_cursor(execution: Execution, state: AgentState) -> bool:
    """Whether it is the record of a tick that its schedule has still to pass."""
    armed = state.schedules.get(execution.trigger or "")
    return armed is not None and execution.nominal is not None and armed.next == execution.nominal
