"""Fire: light and quick. Decide, record, enqueue.

Everything that starts an execution comes through here: ticks of schedules, manual triggers, events, webhooks.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial

from pydantic import JsonValue

from overnight.agents import Agent, AgentState, Armed
from overnight.core import ledger
from overnight.core.decide import decide
from overnight.core.payloads import encoded, hold
from overnight.core.settle import published, settle
from overnight.errors import AgentNotFound, Conflict, IdempotencyMismatch, LineFull, RateLimited
from overnight.executions import Execution, Firing, FiringKind, execution_id
from overnight.ports import Admission, Admitted, Decide, Ports, Transition

__all__ = ["admit", "carried_out", "tick", "trigger", "walk"]


def trigger(
    ports: Ports,
    ref: str,
    *,
    input: Mapping[str, JsonValue] | None = None,  # noqa: A002 - the word of the agent document
    payload: JsonValue = None,
    idempotency_key: str | None = None,
    test: bool = False,
) -> Admitted:
    """Run an agent now.

    Args:
        ports: the engine.
        ref: the agent's id or name.
        input: what the run is given in place of fields of the agent's own `input`.
        payload: the firing's payload.
        idempotency_key: the same key gives the same execution, as long as its record lasts.
        test: marks the firing as a test for the flow.

    Raises:
        AgentNotFound: there is no such agent.
        NoFreeSlot: it is not active, and every slot is taken.
        LineFull: too many wait already.
        IdempotencyMismatch: the key was used with another body.
    """
    body = hashlib.sha256(encoded([dict(input or {}), payload, test])).hexdigest() if idempotency_key else None
    key = f"key:{idempotency_key}" if idempotency_key else f"manual:{ports.new_id()}"
    now = ports.now()

    def asked(agent_id: str) -> tuple[Firing, Decide]:
        owner = execution_id(agent_id, key)
        firing = Firing(
            agent_id=agent_id,
            kind=FiringKind.MANUAL,
            dedupe_key=key,
            payload=hold(ports.blobs, payload, owner),
            input=hold(ports.blobs, dict(input), owner) if input else None,
            body_sha256=body,
            test=test,
        )
        return firing, lambda agent, state: decide(agent, state, firing, now)

    admitted = _let_in(ports, partial(ports.store.admit_named, ref, asked), agent=ref, kind=FiringKind.MANUAL)
    if admitted is None:
        raise AgentNotFound(ref)
    if admitted.duplicate and admitted.execution.body_sha256 != body:
        raise IdempotencyMismatch(admitted.execution.id)
    return admitted


def admit(
    ports: Ports, firing: Firing, *, check: Callable[[Agent, AgentState], AgentState] | None = None
) -> Admitted | None:
    """Take a firing through the gate; None when it is dropped without a record.

    `check` is asked first, within the gate: it raises to refuse, and gives back the state with what it counts.
    Raises what `check` and `decide` raise; a refusal is counted and logged, and leaves no record.
    """
    now = ports.now()

    def gate(agent: Agent, state: AgentState) -> Admission | None:
        return decide(agent, check(agent, state) if check else state, firing, now)

    admitting = partial(ports.store.admit, firing, gate)
    return _let_in(ports, admitting, agent_id=firing.agent_id, kind=firing.kind, trigger=firing.trigger)


def _let_in(ports: Ports, admitting: Callable[[], Admitted | None], **facts: str | None) -> Admitted | None:
    """Admit, and tell how that went."""
    try:
        admitted = admitting()
    except (Conflict, LineFull, RateLimited) as refusal:
        ports.observe("execution.refused", **facts, code=refusal.code)
        raise
    carried_out(ports, admitted)
    return admitted


Upcoming = tuple[datetime, datetime]
"""A tick to come: its nominal instant, and when it is to be fired, jitter included (UTC)."""


def tick(ports: Ports, agent_id: str, name: str, nominal: datetime) -> Upcoming | None:
    """A tick's time has come: record it, and return the next one. The hot path of the alarm clock.

    A tick that was recorded before changes nothing; one that is early, late or has others missing before it is left to
    `walk`.
    """
    now = ports.now()
    taken: list[tuple[Agent, AgentState]] = []

    def gate(agent: Agent, state: AgentState) -> Admission | None:
        taken[:] = [(agent, state)]
        armed = state.schedules.get(name)
        if armed is None or armed.next != nominal or name in state.catch_up:
            return None
        at = ledger.alarm_at(agent, name, armed)
        if at is None or not ledger.on_time(at, now):
            return None
        return ledger.record(agent, state, ledger.step(agent, name, armed, None), now)

    firing = Firing(
        agent_id=agent_id,
        kind=FiringKind.SCHEDULE,
        dedupe_key=ledger.tick_key(name, nominal),
        trigger=name,
        nominal=nominal,
    )
    try:
        admitted = ports.store.admit(firing, gate)
    except AgentNotFound:
        ports.clock.disarm(agent_id, name)
        return None
    ((agent, before),) = taken
    if name not in before.schedules:
        ports.clock.disarm(agent_id, name)
        return None
    if admitted is None or admitted.duplicate or admitted.state is None:
        return walk(ports, agent_id, name)
    carried_out(ports, admitted)
    return _upcoming(agent, name, admitted.state.schedules[name])


def _upcoming(agent: Agent, name: str, armed: Armed) -> Upcoming | None:
    at = ledger.alarm_at(agent, name, armed)
    return (armed.next, at) if armed.next and at else None


def walk(ports: Ports, agent_id: str, name: str, *, closing: bool = False) -> Upcoming | None:
    """Bring the ledger of a schedule up to now, from the cursor on, record by record; the next tick to come.

    A tick waits for its jitter, unless the period is `closing`, which records every nominal tick up to now.
    """
    while True:
        now = ports.now()
        agent, state = ports.store.read(agent_id)
        armed = state.schedules.get(name)
        if armed is None or armed.next is None:
            return None
        upcoming = _upcoming(agent, name, armed)
        if upcoming is None or upcoming[0 if closing else 1] > now:
            return upcoming
        made = state.catch_up.get(name)
        if made is None and (made := ledger.plan(agent, name, armed, now)):
            _fix(ports, agent_id, name, now)
            continue
        step = ledger.step(agent, name, armed, made)

        def gate(agent: Agent, state: AgentState, step: ledger.Step = step, now: datetime = now) -> Admission | None:
            return ledger.record(agent, state, step, now)

        admitted = ports.store.admit(step.firing, gate)
        if admitted is not None and admitted.duplicate:
            ports.store.transition(agent_id, partial(ledger.passed, made=step))
        carried_out(ports, admitted)


def _fix(ports: Ports, agent_id: str, name: str, now: datetime) -> None:
    """Fix the catch-up plan, unless there is one by now."""

    def move(agent: Agent, state: AgentState) -> Transition | None:
        armed = state.schedules.get(name)
        if armed is None or name in state.catch_up:
            return None
        made = ledger.plan(agent, name, armed, now)
        return ledger.planned(state, name, made) if made else None

    ports.store.transition(agent_id, move)


def carried_out(ports: Ports, admitted: Admitted | None) -> None:
    """Send what the store left unsent, tell of it, and settle what the admission displaced."""
    if admitted is None or admitted.duplicate:
        return
    if admitted.unsent:
        ports.queue.send(admitted.unsent)
    _tell(ports, admitted.execution)
    if admitted.execution.status.terminal:
        published(ports, admitted.execution)
    if admitted.state and admitted.state.settle:
        settle(ports, admitted.execution.agent_id)


def _tell(ports: Ports, execution: Execution) -> None:
    happened = f"execution.{execution.status}" if execution.status.terminal else "execution.created"
    ports.observe(
        happened,
        agent=execution.agent,
        execution_id=execution.id,
        kind=execution.kind,
        trigger=execution.trigger,
        nominal=execution.nominal,
        reason=execution.reason,
        count=execution.count,
    )
