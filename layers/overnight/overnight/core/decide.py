"""Admission: one gate for every kind of firing, and the line behind it.

Pure functions of what is stored and the time. `decide` says what a firing becomes; `vacate` and `promote` say what
happens when a slot is free; `rejoin` lets in what was admitted before. None of them reads a clock or changes anything:
they return what the agent's state becomes, and what is to be sent.

    firing ─> decide ─┬─> slot ─────────> send
                      ├─> line ─ promote ─> slot ─> send
                      ├─> skipped (a record, at once)
                      └─> refused (an error, no record)
"""

from datetime import datetime, timedelta

from overnight.agents import Agent, AgentState, AgentStatus, Settlement, Slot, Waiting
from overnight.core.due import resend_after
from overnight.core.living import living
from overnight.errors import AgentStopped, LineFull, NoFreeSlot, NotActive
from overnight.executions import Execution, Firing, FiringKind, Message, Reason, Status
from overnight.policies import MAX_RUNNING, OnOverlap
from overnight.ports import Admission, Transition

__all__ = [
    "MAX_DEPTH",
    "cancel_all_running",
    "claim",
    "concluded",
    "decide",
    "empty_line",
    "gate",
    "promote",
    "rejoin",
    "sweep",
    "vacate",
]

MAX_DEPTH = 8
"""How long a chain of agents that follow agents may become."""

RETRY_AFTER_SECONDS = 30


def decide(agent: Agent, state: AgentState, firing: Firing, now: datetime) -> Admission | None:
    """What a firing becomes: an execution in a slot, in the line, or skipped; None drops it without a record.

    Raises AgentNotFound for a deleted agent. After AgentStopped, NotActive, NoFreeSlot, LineFull one may try again.
    """
    living(agent)
    if firing.disposition:
        return concluded(agent, state, firing, firing.disposition, now, into=firing.into)
    match gate(agent, state, firing):
        case None:
            return None
        case Reason() as reason:
            return concluded(agent, state, firing, reason, now)
    return _admitted(agent, sweep(state, now), firing, now)


def gate(agent: Agent, state: AgentState, firing: Firing) -> Reason | bool | None:
    """True lets the firing in, a reason skips it, None drops it; raises to refuse."""
    if firing.depth > MAX_DEPTH:
        return Reason.DEPTH
    if state.status is AgentStatus.ACTIVE or firing.kind is FiringKind.MANUAL:
        return True
    if firing.accepted and state.status is not AgentStatus.STOPPED:
        return True
    match firing.kind:
        case FiringKind.WEBHOOK if state.status is AgentStatus.STOPPED:
            raise AgentStopped(agent.name)
        case FiringKind.EVENT if state.status is AgentStatus.STOPPED:
            return None
        case FiringKind.WEBHOOK | FiringKind.EVENT:
            return Reason.PAUSED
        case FiringKind.BACKFILL:
            raise NotActive(agent.name, state.status)
        case _:
            return None


def _admitted(agent: Agent, state: AgentState, firing: Firing, now: datetime) -> Admission:
    """Let the firing into a slot or the line, by the agent's overlap policy."""
    policy = agent.document.concurrency
    active = state.status is AgentStatus.ACTIVE
    # Nobody overtakes a line that moves; the line of an agent that isn't active stands still, and holds no one up.
    free = len(state.running) < policy.slots and not (active and state.line)
    execution = _execution(agent, firing, Status.PENDING, now)
    if firing.accepted and not active:
        return _lined_up(state, execution)
    if free:
        return Admission(execution, claim(state, execution.id, agent.id, 1, now))
    if not active:
        raise NoFreeSlot(agent.name, len(state.running))
    overlap = OnOverlap.QUEUE if firing.kind is FiringKind.BACKFILL else policy.on_overlap
    limit = MAX_RUNNING if firing.kind is FiringKind.BACKFILL else policy.queue_limit
    match overlap:
        case OnOverlap.SKIP:
            return concluded(agent, state, firing, Reason.OVERLAP, now)
        case OnOverlap.QUEUE_ONE:
            state = _displace(state, execution.id, now)
        case OnOverlap.CANCEL_RUNNING:
            state = _cancel_oldest(_displace(state, execution.id, now), now)
    if sum(not other.again for other in state.line) >= limit and not firing.accepted:
        if firing.kind is FiringKind.SCHEDULE:
            return concluded(agent, state, firing, Reason.QUEUE_FULL, now)
        raise LineFull(agent.name, limit, RETRY_AFTER_SECONDS)
    return _lined_up(state, execution)


def _lined_up(state: AgentState, execution: Execution) -> Admission:
    waiting = Waiting(id=execution.id, expires_at=execution.expires_at)
    return Admission(execution, Transition(state.model_copy(update={"line": (*state.line, waiting)})))


def _displace(state: AgentState, winner: str, now: datetime) -> AgentState:
    """Only the newest waits: those before it are skipped, coalesced into it; what waits again stays."""
    losers = {
        waiting.id: Settlement(status="skipped", reason=Reason.COALESCED, since=now, into=winner)
        for waiting in state.line
        if not waiting.again
    }
    return _leave_line(state, losers)


def _cancel_oldest(state: AgentState, now: datetime) -> AgentState:
    """Order the oldest running execution cancelled that isn't yet."""
    ordered = sorted((slot.since, id_) for id_, slot in state.running.items() if id_ not in state.settle)
    if not ordered or len(ordered) < len(state.running):
        return state  # One is on its way out already, and the newest takes its slot.
    order = Settlement(status="cancelled", reason=Reason.OVERLAP, since=now)
    return state.model_copy(update={"settle": {**state.settle, ordered[0][1]: order}})


def sweep(state: AgentState, now: datetime) -> AgentState:
    """Take out of the line what could not start in time."""
    expired = {
        waiting.id: Settlement(status="skipped", reason=Reason.EXPIRED, since=now)
        for waiting in state.line
        if waiting.expires_at and waiting.expires_at <= now
    }
    return _leave_line(state, expired)


def _leave_line(state: AgentState, settle: dict[str, Settlement]) -> AgentState:
    if not settle:
        return state
    line = tuple(waiting for waiting in state.line if waiting.id not in settle)
    return state.model_copy(update={"line": line, "settle": {**state.settle, **settle}})


def empty_line(state: AgentState, reason: Reason, now: datetime) -> AgentState:
    """Cancel everything that waits, what was gathered included."""
    gathered = {
        name: kept.model_copy(update={"frozen_at": kept.frozen_at or now, "ending": reason})
        for name, kept in state.gathered.items()
        if not kept.fired
    }
    if state.gathered:
        state = state.model_copy(update={"gathered": gathered})
    return _leave_line(
        state, {waiting.id: Settlement(status="cancelled", reason=reason, since=now) for waiting in state.line}
    )


def cancel_all_running(state: AgentState, reason: Reason, now: datetime) -> AgentState:
    """Order everything that runs cancelled."""
    orders = {id_: Settlement(status="cancelled", reason=reason, since=now) for id_ in state.running}
    return state.model_copy(update={"settle": {**orders, **state.settle}})


def claim(state: AgentState, id_: str, agent_id: str, attempt: int, now: datetime) -> Transition:
    """Take a slot, and send the attempt to a worker."""
    slot = Slot(attempt=attempt, since=now, look_at=now + resend_after(0))
    message = Message(kind="run", execution_id=id_, agent_id=agent_id, attempt=attempt)
    return Transition(state.model_copy(update={"running": {**state.running, id_: slot}}), (message,))


def promote(agent: Agent, state: AgentState, now: datetime) -> Transition:
    """Give free slots to the head of the line, if the agent is active."""
    state = sweep(state, now)
    sends: tuple[Message, ...] = ()
    while state.status is AgentStatus.ACTIVE and state.line and len(state.running) < agent.document.concurrency.slots:
        head, *rest = state.line
        claimed = claim(state.model_copy(update={"line": tuple(rest)}), head.id, agent.id, head.attempt, now)
        state, sends = claimed.state, sends + claimed.sends
    return Transition(state, sends)


def vacate(agent: Agent, state: AgentState, id_: str, attempt: int, now: datetime) -> Transition | None:
    """Free the slot of that attempt, and promote; None when it holds none (fencing)."""
    slot = state.running.get(id_)
    if slot is None or slot.attempt != attempt:
        return None
    running = {other: slot for other, slot in state.running.items() if other != id_}
    return promote(agent, state.model_copy(update={"running": running}), now)


def rejoin(agent: Agent, state: AgentState, execution: Execution, now: datetime, *, by_hand: bool) -> Transition | None:
    """Let in what was admitted before: to a slot, or to the head of the line, whatever policy, limit and deadline say.

    Returns None when it is in already; a slot that its last attempt has not released yet doesn't count as such, and is
    given up or taken over. Of an agent that is not active only what somebody asked for `by_hand` takes a slot; the rest
    waits.
    """
    slot = state.running.get(execution.id)
    if slot and slot.attempt <= execution.attempt:
        running = {id_: kept for id_, kept in state.running.items() if id_ != execution.id}
        state = state.model_copy(update={"running": running})
    if state.holds(execution.id):
        return None
    attempt = execution.attempt + 1
    if (state.status is AgentStatus.ACTIVE or by_hand) and len(state.running) < agent.document.concurrency.slots:
        return claim(state, execution.id, execution.agent_id, attempt, now)
    waiting = Waiting(id=execution.id, attempt=attempt, again=True)
    return Transition(state.model_copy(update={"line": _behind_the_others(state.line, waiting)}))


def _behind_the_others(line: tuple[Waiting, ...], waiting: Waiting) -> tuple[Waiting, ...]:
    """The head of the line, but behind those that came back before it."""
    again = sum(other.again for other in line)
    return (*line[:again], waiting, *line[again:])


def concluded(
    agent: Agent,
    state: AgentState,
    firing: Firing,
    reason: Reason,
    now: datetime,
    *,
    status: Status = Status.SKIPPED,
    into: str | None = None,
) -> Admission:
    """A record that says at once how it ended."""
    return Admission(_execution(agent, firing, status, now, reason, into), Transition(state))


def _execution(
    agent: Agent, firing: Firing, status: Status, now: datetime, reason: Reason | None = None, into: str | None = None
) -> Execution:
    ended = status.terminal
    deadline = agent.document.start_deadline_seconds
    return Execution(
        id=firing.execution_id,
        agent_id=agent.id,
        agent=agent.name,
        status=status,
        reason=reason,
        into=into,
        kind=firing.kind,
        dedupe_key=firing.dedupe_key,
        trigger=firing.trigger,
        nominal=firing.nominal,
        until=firing.until,
        count=firing.count,
        previous=firing.previous,
        missed_ticks=firing.missed_ticks,
        payload=firing.payload,
        input=firing.input,
        body_sha256=firing.body_sha256,
        agent_version=agent.version,
        depth=firing.depth,
        replay_of=firing.replay_of,
        test=firing.test,
        created_at=now,
        finished_at=now if ended else None,
        retain_until=now + timedelta(days=agent.document.retention_days) if ended else None,
        expires_at=now + timedelta(seconds=deadline) if deadline and not ended else None,
    )
