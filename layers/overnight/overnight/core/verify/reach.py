"""Reach: every execution that is not terminal is carried on by exactly one thing."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime

from overnight.agents import Agent, AgentState
from overnight.core.verify.findings import Finding, Span
from overnight.errors import AgentNotFound
from overnight.executions import Execution, Status
from overnight.ports import Store

__all__ = ["reachable", "slots"]


def slots(agent: Agent, state: AgentState, executions: Mapping[str, Execution], before: datetime) -> Iterator[Finding]:
    """Slots and places in the line whose execution has none, is over, or is in both.

    Args:
        agent: whose they are.
        state: where they are.
        executions: those that have a slot, as far as they are there, read after the state was.
        before: what was over by then must have let go of its slot.
    """
    waiting = Counter(entry.id for entry in state.line)
    for id_, places in waiting.items():
        if places > 1 or id_ in state.running:
            yield Finding("twofold", agent.name, "it waits in the line and has a place already", execution_id=id_)
    for id_, slot in state.running.items():
        execution = executions.get(id_)
        if execution is None:
            yield Finding("stuck", agent.name, "a slot is held by an execution that does not exist", execution_id=id_)
            continue
        # A cancelled attempt holds its slot as long as its lease.
        ends = (execution.finished_at, execution.lease.until if execution.lease else None)
        if execution.status.terminal and all(end < before for end in ends if end):
            message = f"it is {execution.status} and still holds a slot"
            yield Finding("stuck", agent.name, message, at=slot.since, execution_id=id_)


def reachable(store: Store, row: Execution, state: AgentState | None, span: Span) -> Iterator[Finding]:
    """What is wrong with an execution that is not terminal; its agent's state may be older or newer."""
    if _ways(state, row) == 1 and not _late(row, span.settled):
        return
    row, state = _steady(store, row)
    if row.status.terminal:
        return
    ways = _ways(state, row)
    since = row.attempt_started_at or row.created_at
    if ways == 0:
        yield Finding("unreachable", row.agent, f"it is {row.status}, and nothing carries it on", execution_id=row.id)
    elif ways > 1 and not _being_claimed(row, span):
        yield Finding("twofold", row.agent, f"it is {row.status}, and reachable in {ways} ways", execution_id=row.id)
    elif _late(row, span.settled):
        yield Finding("stuck", row.agent, f"it is {row.status} for too long", at=since, execution_id=row.id)


def _steady(store: Store, row: Execution) -> tuple[Execution, AgentState | None]:
    """The execution and its agent's state as they were at one moment: the row did not change around the state."""
    state: AgentState | None = None
    for _ in range(10):
        try:
            before = store.execution(row.id)
            _, state = store.read(row.agent_id)
            row = store.execution(row.id)
        except AgentNotFound:
            return row, None
        if before.rev == row.rev:
            break
    return row, state


def _ways(state: AgentState | None, row: Execution) -> int:
    """In how many ways it is reachable. A slot of an attempt that has ended is about to be released, and carries
    nothing on.
    """
    slot = state.running.get(row.id) if state else None
    running = slot is not None and (row.status is Status.RUNNING or slot.attempt > row.attempt)
    waiting = bool(state and any(entry.id == row.id for entry in state.line))
    settling = bool(state and row.id in state.settle and not running)
    return running + waiting + settling + (row.due is not None)


def _being_claimed(row: Execution, span: Span) -> bool:
    """Whether it is due by itself, and since a moment ago: then it may have its place in the state already.

    A store that writes them one after the other (`readmit`) may be between the two.
    """
    return row.due is not None and span.settled <= row.due <= span.now


def _late(row: Execution, before: datetime) -> bool:
    """Whether its lease, or its own due time, is over for so long that somebody should have seen it."""
    if row.status is Status.RUNNING and row.lease:
        return row.lease.until < before
    return row.due is not None and row.due < before
