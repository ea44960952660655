"""Admission: a firing becomes an execution and a place in its agent's state, in two writes.

    read agent and state ─> decide ─> (1) insert the row ─> (2) write the state, if nobody did meanwhile ─> sends
                              ▲                                  │ somebody did
                              └──────────────────────────────────┘

Whoever crashes between the two leaves a row that is pending, and that nobody holds. Whoever brings the same firing
again finds it so, and carries on with it; the watchdog finds it by its place in the index. A row that is held, or due
by itself, or further on, was accepted: then the firing is a duplicate.

An event that is gathered is counted by the state and has a row, so those two are written as one.
"""

from typing import NamedTuple

from overnight.agents import AgentState
from overnight.aws.dynamodb.executions import Executions
from overnight.aws.dynamodb.gates import Gate, Gates, Stale
from overnight.aws.dynamodb.table import Refused
from overnight.aws.dynamodb.tries import tries
from overnight.executions import Execution, Firing, Status
from overnight.ports import Admission, Admitted, Decide, Revision, Transition

__all__ = ["Admissions"]


class _Row(NamedTuple):
    """The execution of a firing as it is stored, whether this call inserted it, and if so whether just now."""

    execution: Execution
    ours: bool = False
    new: bool = False


class Admissions:
    """The gate's way into the table."""

    def __init__(self, gates: Gates, executions: Executions) -> None:
        self._gates = gates
        self._executions = executions

    def admit(self, firing: Firing, decide: Decide) -> Admitted | None:
        """Insert the execution that `decide` makes of the firing, and move the state. Raises what `decide` raises."""
        gate = self._gates.read(firing.agent_id)
        row: _Row | None = None
        for _ in tries(f"agent {firing.agent_id}"):
            try:
                admission = decide(gate.agent, gate.state)
            except Exception:
                if accepted := self._accepted_before(firing, row, gate):
                    return accepted
                raise
            if admission is None:
                return self._accepted_before(firing, row, gate)
            try:
                if _gathers(admission, gate.state):
                    return self._gather(admission, gate)
                row = self._row(firing, admission, row)
                admitted = self._bring_in(firing, admission, row, gate)
            except Stale as stale:
                gate = stale.gate
                continue
            if admitted is not None:
                return admitted
        raise AssertionError  # tries end by raising

    def _gather(self, admission: Admission, gate: Gate) -> Admitted:
        """Insert the row and write the state that gathers it, as one. Raises Stale."""
        execution, transition = admission.execution, admission.transition
        stored = self._executions.find(execution.id)
        if stored is not None and not _forlorn(stored, gate.state):
            return Admitted(stored, duplicate=True, state=gate.state)
        moved = self._gates.move_with(gate, transition.state, self._executions.insertion(execution, stored))
        return Admitted(execution, state=moved.state, unsent=transition.sends)

    def _accepted_before(self, firing: Firing, row: _Row | None, gate: Gate) -> Admitted | None:
        """The execution of a firing that is refused now, if it was accepted once.

        What this call has inserted to run is taken back, unless somebody has carried on with it since.
        """
        if row is not None and row.ours:
            if row.execution.status is Status.SKIPPED:
                return Admitted(row.execution, state=gate.state)
            if _forlorn(row.execution, gate.state) and self._executions.withdraw(row.execution, gate):
                return None
        stored = self._executions.find(firing.execution_id)
        if stored is None or _forlorn(stored, self._gates.read(firing.agent_id).state):
            return None
        return Admitted(stored, duplicate=True, state=gate.state)

    def _row(self, firing: Firing, admission: Admission, row: _Row | None) -> _Row:
        """The execution as it is stored: inserted now, or found; once more after the state, if that has moved."""
        if row is not None:
            stored = self._executions.find(firing.execution_id)
            if stored is not None:
                return _Row(stored, row.ours)
        there = self._executions.insert(admission.execution)
        return _Row(admission.execution, ours=True, new=True) if there is None else _Row(there)

    def _bring_in(self, firing: Firing, admission: Admission, row: _Row, gate: Gate) -> Admitted | None:
        """Write the state that holds the execution, or what else the decision says; None to decide again.

        Raises Stale.
        """
        execution, decided = row.execution, admission.execution
        if row.new or (row.ours and execution == decided and not _held(execution, gate.state)):
            return self._moved(gate, admission.transition, execution)
        if not _forlorn(execution, gate.state) or execution.body_sha256 != firing.body_sha256:
            caught_up = Transition(_caught_up(gate.state, firing, admission.transition.state))
            moved = self._moved(gate, caught_up, execution)
            # Whoever inserted what needed no place is the first one; else it is whoever got it its place.
            first = row.ours and execution.status is Status.SKIPPED
            return Admitted(execution, duplicate=not first, state=moved.state)
        if decided.status is Status.SKIPPED:
            settled = self._skip(execution, decided)
            return None if settled is None else self._moved(gate, admission.transition, settled)
        return self._moved(gate, admission.transition, execution)

    def _moved(self, gate: Gate, transition: Transition, execution: Execution) -> Admitted:
        state = gate.state
        if transition.state is not state:
            state = self._gates.move(gate, transition.state).state
        return Admitted(execution, state=state, unsent=transition.sends)

    def _skip(self, execution: Execution, decided: Execution) -> Execution | None:
        """Settle a row that was inserted to run, and is skipped now; None when somebody was quicker."""
        ended = {name: getattr(decided, name) for name in ("status", "reason", "into", "finished_at", "retain_until")}
        try:
            return self._executions.write(execution, Revision(execution.model_copy(update=ended))).execution
        except Refused:
            return None


def _gathers(admission: Admission, state: AgentState) -> bool:
    """Whether the state takes the execution into what its trigger gathers: as one more than it had."""
    name = admission.execution.trigger or ""
    kept, had = admission.transition.state.gathered.get(name), state.gathered.get(name)
    if kept is None:
        return False
    return had is None or kept.number != had.number or kept.count > had.count


def _held(execution: Execution, state: AgentState) -> bool:
    return state.holds(execution.id) or execution.id in state.settle


def _forlorn(execution: Execution, state: AgentState) -> bool:
    """Whether it was inserted, and got no further: nothing carries it on."""
    untouched = execution.status is Status.PENDING and execution.attempt == 0 and execution.due is None
    return untouched and not _held(execution, state)


def _caught_up(state: AgentState, firing: Firing, decided: AgentState) -> AgentState:
    """The state with the cursor of the firing's trigger where `decided` has it, if it lagged behind, and no more.

    A catch-up plan that ends with the tick goes with it.
    """
    name = firing.trigger
    if name is None or name not in state.schedules or name not in decided.schedules:
        return state
    stored, wanted = state.schedules[name], decided.schedules[name]
    if wanted.cursor is None or (stored.cursor is not None and stored.cursor >= wanted.cursor):
        return state
    catch_up = {other: plan for other, plan in state.catch_up.items() if other != name or other in decided.catch_up}
    return state.model_copy(update={"schedules": state.schedules | {name: wanted}, "catch_up": catch_up})
