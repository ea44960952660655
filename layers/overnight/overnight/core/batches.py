"""Batches and debounces: many events, one execution.

Each event has a record of its own, which is skipped (coalesced) into the execution that the events become, and the
write that inserts it also takes it into the agent's state. So it is told to that execution, and to no other:

    event ──> gather ──> record, and a place in the gathering ──┐
    event ──> gather ──> record, and a place in the gathering ──┤ full, or its time has come
                                                                └──> frozen ──> close ──> execution

What is frozen never changes, so whoever closes it, however often that is interrupted, makes the same execution of it.
A leading debounce is full with its first event; until the burst ends, the rest is coalesced into what runs then.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial

from jmespath.exceptions import JMESPathError
from pydantic import JsonValue

from overnight.agents import Agent, AgentState, AgentStatus, Gathering
from overnight.core import matching
from overnight.core.decide import concluded, decide, gate
from overnight.core.fire import carried_out
from overnight.core.living import living
from overnight.core.payloads import hold, opened
from overnight.errors import AgentNotFound, Conflict, ExecutionNotFound, LineFull
from overnight.executions import Firing, FiringKind, Message, Reason, Status, execution_id
from overnight.ports import Admission, Admitted, Ports, Transition
from overnight.triggers import MOST_GATHERED, EventTrigger

__all__ = ["carry_on", "close_due", "edited", "gather", "gathers", "joined"]


def gather(ports: Ports, firing: Firing) -> Admitted | None:
    """Take an event into what its trigger gathers; None when it is dropped without a record.

    Raises AgentNotFound, and LineFull when a gathering would have to be opened, and the line is full.
    """
    while True:
        now = ports.now()
        closing: list[str] = []

        def move(
            agent: Agent, state: AgentState, now: datetime = now, closing: list[str] = closing
        ) -> Admission | None:
            closing[:] = [name] if (name := _in_the_way(state, firing, now)) else []
            return None if closing else joined(agent, state, firing, now)

        try:
            admitted = ports.store.admit(firing, move)
        except (Conflict, LineFull) as refusal:
            ports.observe(
                "execution.refused",
                agent_id=firing.agent_id,
                kind=firing.kind,
                trigger=firing.trigger,
                code=refusal.code,
            )
            raise
        if admitted is None and closing:
            _close(ports, firing.agent_id, closing[0])
            continue
        if admitted is None or admitted.duplicate or admitted.execution.reason is not Reason.COALESCED:
            carried_out(ports, admitted)
        else:
            # It isn't published: what its agent does about it is, once.
            if admitted.unsent:
                ports.queue.send(admitted.unsent)
            ports.observe(
                "event.gathered",
                agent=admitted.execution.agent,
                execution_id=admitted.execution.id,
                trigger=firing.trigger,
                into=admitted.execution.into,
            )
        return admitted


def _in_the_way(state: AgentState, firing: Firing, now: datetime) -> str | None:
    """The trigger whose gathering must be closed before the event can be taken in."""
    kept = state.gathered.get(firing.trigger or "")
    return firing.trigger if kept and kept.closes(now) else None


def joined(agent: Agent, state: AgentState, firing: Firing, now: datetime) -> Admission | None:
    """What an event becomes whose trigger gathers: a record that is coalesced into the execution to come.

    Raises AgentNotFound; LineFull when a gathering would have to be opened, and the line is full.
    """
    trigger = agent.document.trigger(firing.trigger or "")
    if not isinstance(trigger, EventTrigger) or not gathers(trigger):  # edited in between
        return decide(agent, state, firing, now)
    living(agent)
    match gate(agent, state, firing):
        case None:
            return None
        case Reason() as reason:
            return concluded(agent, state, firing, reason, now)
    kept = state.gathered.get(trigger.name)
    first = kept is None or (kept.fired and kept.due <= now)
    if kept is None or first:
        decide(agent, state, firing, now)  # refused where a single event would be
        kept = Gathering(number=state.rev + 1, since=now, due=now)
    kept = _with(kept, trigger, firing, now)
    into = _id_of(agent.id, trigger.name, kept)
    state = state.model_copy(update={"gathered": {**state.gathered, trigger.name: kept}})
    sends = (_message(agent.id, into, kept),) if first or kept.frozen_at else ()
    admission = concluded(agent, state, firing, Reason.COALESCED, now, into=into)
    return Admission(admission.execution, Transition(state, sends))


def gathers(trigger: EventTrigger) -> bool:
    """Whether its events are gathered."""
    return trigger.event.batch is not None or trigger.event.debounce is not None


def _with(kept: Gathering, trigger: EventTrigger, firing: Firing, now: datetime) -> Gathering:
    """The gathering with one more event; frozen if it is full now."""
    update: dict[str, object] = {"count": kept.count + 1, "depth": max(kept.depth, firing.depth)}
    if not kept.fired:
        update["ids"] = (*kept.ids, firing.execution_id)[-MOST_GATHERED:]
    if batch := trigger.event.batch:
        due = kept.since + timedelta(seconds=batch.window_seconds)
        full = kept.count + 1 >= batch.size
    elif debounce := trigger.event.debounce:
        latest = kept.since + timedelta(seconds=debounce.longest_seconds)
        due = min(max(kept.due, now + timedelta(seconds=debounce.delay_seconds)), latest)
        update["leading"] = debounce.edge == "leading"
        full = debounce.edge == "leading" and not kept.fired
    if full:
        update["frozen_at"] = now
    return kept.model_copy(update=update | {"due": due})


def _id_of(agent_id: str, trigger: str, kept: Gathering) -> str:
    """The execution that the gathered events become."""
    return execution_id(agent_id, _key(trigger, kept))


def _key(trigger: str, kept: Gathering) -> str:
    return f"batch:{trigger}:{kept.number}"


def _message(agent_id: str, id_: str, kept: Gathering, number: int = 1) -> Message:
    due = None if kept.frozen_at else kept.due
    return Message(kind="close", execution_id=id_, agent_id=agent_id, attempt=number, due=due)


# Closing


def carry_on(ports: Ports, message: Message) -> None:
    """Carry out a `close` message: close what is to be closed, and come again for what has been put off meanwhile."""
    try:
        close_due(ports, message.agent_id)
        state = ports.store.read(message.agent_id)[1]
    except AgentNotFound:
        return
    for name, kept in state.gathered.items():
        if not kept.fired and _id_of(message.agent_id, name, kept) == message.execution_id:
            ports.queue.send((_message(message.agent_id, message.execution_id, kept, message.attempt + 1),))


def close_due(ports: Ports, agent_id: str) -> None:
    """Close everything that the agent has gathered and whose time has come. Raises AgentNotFound."""
    now = ports.now()
    for name, kept in ports.store.read(agent_id)[1].gathered.items():
        if kept.closes(now):
            _close(ports, agent_id, name)


def _close(ports: Ports, agent_id: str, name: str) -> None:
    """Freeze what a trigger has gathered, unless that is done, and make an execution of it."""
    now = ports.now()
    ports.store.transition(agent_id, partial(_frozen, name=name, now=now))
    kept = ports.store.read(agent_id)[1].gathered.get(name)
    if kept is None or kept.fired or not kept.frozen_at:
        return
    agent = ports.store.agent(agent_id)
    firing = _firing(ports, agent, name, kept)
    admitted = ports.store.admit(firing, partial(_turned, name=name, kept=kept, firing=firing, now=now))
    carried_out(ports, admitted)
    if admitted and admitted.duplicate:  # inserted by somebody who got no further
        ports.store.transition(agent_id, partial(_let_go, name=name, kept=kept, now=now))


def _frozen(agent: Agent, state: AgentState, *, name: str, now: datetime) -> Transition | None:  # noqa: ARG001
    kept = state.gathered.get(name)
    if kept is None or kept.frozen_at or not kept.closes(now):
        return None
    frozen = kept.model_copy(update={"frozen_at": now})
    return Transition(state.model_copy(update={"gathered": {**state.gathered, name: frozen}}))


def _turned(
    agent: Agent, state: AgentState, *, name: str, kept: Gathering, firing: Firing, now: datetime
) -> Admission | None:
    """The execution that the events become, in the same write that lets go of them; None when that was done before."""
    let_go = _let_go(agent, state, name=name, kept=kept, now=now)
    if let_go is None:
        return None
    state = let_go.state
    if kept.ending or agent.deleted_at or state.status is AgentStatus.STOPPED:
        reason = kept.ending or (Reason.DELETED if agent.deleted_at else Reason.STOPPED)
        return concluded(agent, state, firing, reason, now, status=Status.CANCELLED)
    return decide(agent, state, firing, now)


def _let_go(agent: Agent, state: AgentState, *, name: str, kept: Gathering, now: datetime) -> Transition | None:  # noqa: ARG001
    """The state without what has become an execution; of a leading debounce it keeps that the burst goes on."""
    if state.gathered.get(name) != kept:
        return None
    rest = {other: value for other, value in state.gathered.items() if other != name}
    if kept.leading and kept.due > now and kept.ending is None:
        rest[name] = kept.model_copy(update={"fired": True, "frozen_at": None, "ids": ()})
    return Transition(state.model_copy(update={"gathered": rest}))


def _firing(ports: Ports, agent: Agent, name: str, kept: Gathering) -> Firing:
    payload: dict[str, JsonValue] = {"events": list(_events(ports, kept))}
    trigger = agent.document.trigger(name)
    event = trigger.event if isinstance(trigger, EventTrigger) else None
    if event is None or event.batch is None:
        payload["count"] = kept.count
    given = None
    if event and event.input:
        try:
            given = matching.given(event.input, payload)
        except JMESPathError as error:
            ports.observe("event.input_failed", agent=agent.name, trigger=name, error=str(error))
    owner = _id_of(agent.id, name, kept)
    return Firing(
        agent_id=agent.id,
        kind=FiringKind.EVENT,
        dedupe_key=_key(name, kept),
        trigger=name,
        payload=hold(ports.blobs, payload, owner),
        input=hold(ports.blobs, given, owner),
        depth=kept.depth,
        accepted=True,
    )


def _events(ports: Ports, kept: Gathering) -> Iterator[JsonValue]:
    """The events as they were recorded, in the order in which they came."""
    for id_ in kept.ids:
        try:
            yield opened(ports.blobs, ports.store.execution(id_).payload)
        except ExecutionNotFound:  # its retention has passed
            continue


def edited(before: Agent, after: Agent, gathered: dict[str, Gathering], now: datetime) -> dict[str, Gathering]:
    """What is gathered once an agent is edited: what belongs to a trigger that changed is closed."""
    rest = {}
    for name, kept in gathered.items():
        if before.document.trigger(name) == after.document.trigger(name):
            rest[name] = kept
        elif not kept.fired:
            rest[name] = kept.model_copy(update={"frozen_at": kept.frozen_at or now, "leading": False})
    return rest
