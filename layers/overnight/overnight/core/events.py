"""Events: made durable first, then brought to every agent that subscribes, one execution each.

A fan-out goes through the subscribers page by page, and can be repeated from any point, because the executions' ids
follow from the event's. An agent whose line is full holds up nobody: the event stays pending for that agent alone, and
the watchdog goes on with it.

    send ──> is a line full? ──> kept ──> fanned out ──> done
               │ 429, nothing kept           └ a line filled up meanwhile: pending, until there is room
    take ──> kept ──> …, where nobody is there to be told of a full line
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from jmespath.exceptions import JMESPathError
from pydantic import JsonValue, ValidationError

from overnight.agents import Agent
from overnight.core import batches
from overnight.core.decide import decide
from overnight.core.fire import admit
from overnight.core.matching import given, matching
from overnight.core.payloads import hold
from overnight.errors import AgentNotFound, ExecutionNotFound, Invalid, LineFull, OvernightError
from overnight.executions import Event, Firing, FiringKind, Held, Pending, execution_id
from overnight.ports import Ports
from overnight.triggers import EventTrigger

__all__ = ["Sent", "accept", "fan_out", "named", "put_off", "send", "take"]

OWN_EVENTS = "overnight."
"""What the names of Overnight's own events begin with."""

PAGE = 100
"""How many subscribers are reached between two notes of how far an event has come."""

PUT_OFF = (timedelta(seconds=30), timedelta(minutes=10))
"""How soon, and how late, an event is tried again for an agent whose line is full: after its own age in between."""


class Sent(NamedTuple):
    """What became of an event: the executions of its subscribers, and whether it had been sent before."""

    event: Event
    execution_ids: tuple[str, ...]
    duplicate: bool = False


def send(ports: Ports, name: str, data: JsonValue = None, *, event_id: str | None = None) -> Sent:
    """Send an event to whoever subscribes to it.

    The same id is the same event: it reaches every agent once, and one that was accepted is never refused afterwards.
    Raises Invalid (name, id); LineFull when an agent's line is full, and then nothing is kept.
    """
    return accept(ports, named(name, data, event_id=event_id or ports.new_id(), ports=ports))


def named(name: str, data: JsonValue, *, event_id: str, ports: Ports) -> Event:
    """An event of that name. Raises Invalid (name, id)."""
    try:
        return Event(id=event_id, name=name, data=data, at=ports.now())
    except ValidationError as error:
        first = error.errors()[0]
        raise Invalid.field(str(first["loc"][0]), first["msg"]) from error


def accept(ports: Ports, event: Event) -> Sent:
    """Keep an event and bring it to its subscribers. Raises LineFull, and then nothing is kept."""
    kept = ports.store.event(event.id)
    if kept is None:
        _refuse_if_full(ports, event)
        if ports.store.put_event(event):
            return Sent(event, fan_out(ports, event))
        kept = ports.store.event(event.id)
    if kept is None:  # it was kept for as long as its id is known, until just now
        return Sent(event, (), duplicate=True)
    ids = _reached(ports, kept) if kept.done else fan_out(ports, kept)
    return Sent(kept, ids, duplicate=True)


def take(ports: Ports, event: Event) -> tuple[str, ...]:
    """Keep an event that can't be refused, and bring it to its subscribers; the ids of their executions.

    A line that is full holds up its own agent alone. Every execution publishes an event of our own; one that nobody
    follows leaves nothing behind.
    """
    if event.name.startswith(OWN_EVENTS) and not ports.store.subscribers(event.prefixes(), limit=1):
        return ()
    if ports.store.put_event(event):
        return fan_out(ports, event)
    kept = ports.store.event(event.id)
    if kept is None or kept.done:
        return ()
    return fan_out(ports, kept)


def fan_out(ports: Ports, event: Event) -> tuple[str, ...]:
    """Bring an event, from where it has come to, to every subscriber; the ids of their executions.

    It is done with afterwards, or stays pending for agents that it could not be brought to.
    """
    pending = event if isinstance(event, Pending) else Pending(**dict(event))
    ids: list[str] = []
    left = _bring(ports, pending, pending.refused, ids)
    while True:
        page = ports.store.subscribers(event.prefixes(), after=pending.after, limit=PAGE)
        left += _bring(ports, pending, page, ids)
        if page:
            pending = pending.model_copy(update={"after": page[-1]})
        pending = pending.model_copy(update={"refused": tuple(left)})
        if len(page) < PAGE or len(left) >= PAGE:
            break
        ports.store.put_off_event(pending, ports.now())
    if left or len(page) == PAGE:
        put_off(ports, pending)
    else:
        ports.store.event_done(event.id)
    return tuple(ids)


def put_off(ports: Ports, pending: Pending) -> None:
    """Leave an event to the watchdog, for as long again as it has waited."""
    now = ports.now()
    shortest, longest = PUT_OFF
    ports.store.put_off_event(pending, now + min(max(now - pending.at, shortest), longest))


def _bring(ports: Ports, event: Event, agent_ids: tuple[str, ...], ids: list[str]) -> list[str]:
    """Bring an event to these agents; those that it could not be brought to. The executions' ids are added to `ids`."""
    left = []
    for agent_id in agent_ids:
        try:
            id_ = _reach(ports, agent_id, event)
        except LineFull:  # counted and logged; the others don't wait for it
            left.append(agent_id)
            id_ = execution_id(agent_id, _key(event))
        except (OvernightError, ValueError) as error:
            why = f"{type(error).__name__}: {error}"
            ports.observe("event.failed", event_id=event.id, agent_id=agent_id, error=why)
            left.append(agent_id)
            continue
        if id_ is not None:
            ids.append(id_)
    return left


def _refuse_if_full(ports: Ports, event: Event) -> None:
    """Raises LineFull when, as it stands now, an agent would refuse the event."""
    now = ports.now()
    for agent_id in _subscribers(ports, event):
        try:
            agent, state = ports.store.read(agent_id)
        except AgentNotFound:
            continue
        trigger = matching(ports, agent, event)
        if trigger is None or agent.deleted_at:
            continue
        firing = Firing(
            agent_id=agent_id, kind=FiringKind.EVENT, dedupe_key=_key(event), trigger=trigger.name, depth=event.depth
        )
        try:
            (batches.joined if batches.gathers(trigger) else decide)(agent, state, firing, now)
        except LineFull as refusal:
            ports.observe("event.refused", agent=agent.name, trigger=trigger.name, event=event.name, code=refusal.code)
            raise


def _subscribers(ports: Ports, event: Event) -> Iterator[str]:
    """The agents that subscribe to the name, each once, in order."""
    after = None
    while page := ports.store.subscribers(event.prefixes(), after=after, limit=PAGE):
        yield from page
        after = page[-1]


def _reached(ports: Ports, event: Event) -> tuple[str, ...]:
    """The executions that an event became, of the agents that subscribe to it now."""
    ids = []
    for agent_id in _subscribers(ports, event):
        try:
            ids.append(ports.store.execution(execution_id(agent_id, _key(event))).id)
        except ExecutionNotFound:
            continue
    return tuple(ids)


def _reach(ports: Ports, agent_id: str, event: Event) -> str | None:
    """The execution that the event becomes for one agent; None when it takes none. Raises LineFull."""
    try:
        agent = ports.store.agent(agent_id)
    except AgentNotFound:
        return None
    trigger = matching(ports, agent, event)
    if trigger is None:
        return None
    gathers = batches.gathers(trigger)
    told: JsonValue = {"id": event.id, "name": event.name, "data": event.data}
    firing = Firing(
        agent_id=agent_id,
        kind=FiringKind.EVENT,
        dedupe_key=_key(event),
        trigger=trigger.name,
        payload=hold(ports.blobs, told, execution_id(agent_id, _key(event))),
        input=None if gathers else _input(ports, agent, trigger, event),
        depth=event.depth,
    )
    try:
        admitted = batches.gather(ports, firing) if gathers else admit(ports, firing)
    except AgentNotFound:  # deleted in between
        return None
    return admitted.execution.id if admitted else None


def _key(event: Event) -> str:
    return f"event:{event.id}"


def _input(ports: Ports, agent: Agent, trigger: EventTrigger, event: Event) -> Held | None:
    """What the run is given, as the trigger's `input` makes it of the event's data."""
    if trigger.event.input is None:
        return None
    try:
        return hold(ports.blobs, given(trigger.event.input, event.data), execution_id(agent.id, _key(event)))
    except JMESPathError as error:
        ports.observe("event.input_failed", agent=agent.name, trigger=trigger.name, error=str(error))
        return None
