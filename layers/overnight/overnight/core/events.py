"""Events: made durable first, then fanned out to every agent that subscribes, one execution each.

An event's fan-out can be repeated from the start: the executions' ids follow from its id. So it is done when the last
subscriber has been reached, and until then the watchdog goes on with it.
"""

from dataclasses import dataclass

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import JsonValue, ValidationError

from overnight.agents import Agent
from overnight.core.fire import admit
from overnight.core.payloads import hold
from overnight.errors import AgentNotFound, Invalid, LineFull
from overnight.executions import Event, Firing, FiringKind, Held
from overnight.ports import Ports
from overnight.triggers import EventTrigger

__all__ = ["Sent", "fan_out", "send"]


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of an event: the executions of its subscribers, and whether it had been sent before."""

    event: Event
    execution_ids: tuple[str, ...]
    duplicate: bool = False


def send(ports: Ports, name: str, data: JsonValue = None, *, event_id: str | None = None) -> Sent:
    """Send an event to whoever subscribes to it.

    The same id is the same event: it reaches every agent once. Raises Invalid (name, id); and LineFull when an agent's
    line is full, after the others were reached: sent again under the same id, it reaches the rest.
    """
    try:
        event = Event(id=event_id or ports.new_id(), name=name, data=data, at=ports.now())
    except ValidationError as error:
        first = error.errors()[0]
        raise Invalid.field(str(first["loc"][0]), first["msg"]) from error
    duplicate = not ports.store.put_event(event)
    ids, refusals = _fan_out(ports, event)
    if refusals:
        raise refusals[0]
    return Sent(event, ids, duplicate)


def fan_out(ports: Ports, event: Event) -> tuple[str, ...]:
    """Bring an event to every subscriber, and say that it is done; the ids of their executions."""
    return _fan_out(ports, event)[0]


def _fan_out(ports: Ports, event: Event) -> tuple[tuple[str, ...], list[LineFull]]:
    ids, refusals = [], []
    for agent_id in _subscribers(ports, event):
        try:
            id_ = _reach(ports, agent_id, event)
        except LineFull as refusal:  # logged and counted; the others don't wait for it
            refusals.append(refusal)
            continue
        if id_ is not None:
            ids.append(id_)
    ports.store.event_done(event.id)
    return tuple(ids), refusals


def _subscribers(ports: Ports, event: Event) -> list[str]:
    """The agents that subscribe to the name, each once, in a steady order."""
    return list(dict.fromkeys(subscription.agent_id for subscription in ports.store.subscriptions(event.prefixes())))


def _reach(ports: Ports, agent_id: str, event: Event) -> str | None:
    """The execution that the event becomes for one agent; None when it takes none. Raises LineFull."""
    try:
        agent = ports.store.agent(agent_id)
    except AgentNotFound:
        return None
    trigger = _matching(ports, agent, event)
    if trigger is None:
        return None
    firing = Firing(
        agent_id=agent_id,
        kind=FiringKind.EVENT,
        dedupe_key=f"event:{event.id}",
        trigger=trigger.name,
        payload=hold(ports.blobs, {"id": event.id, "name": event.name, "data": event.data}),
        input=_input(ports, trigger, event),
        depth=event.depth,
    )
    try:
        admitted = admit(ports, firing)
    except AgentNotFound:  # deleted in between
        return None
    return admitted.execution.id if admitted else None


def _matching(ports: Ports, agent: Agent, event: Event) -> EventTrigger | None:
    """The first trigger of the agent that lets the event through."""
    names = event.prefixes()
    for trigger in agent.document.triggers:
        if not isinstance(trigger, EventTrigger) or trigger.event.name not in names:
            continue
        try:
            if trigger.event.filter is None or _truthy(_search(trigger.event.filter, event.data)):
                return trigger
        except JMESPathError as error:
            ports.observe("event.filter_failed", agent=agent.name, trigger=trigger.name, error=str(error))
    return None


def _search(expression: str, data: JsonValue) -> JsonValue:
    """What the expression finds. Raises JMESPathError, whatever the sender's data do to it."""
    try:
        found: JsonValue = jmespath.search(expression, data)
    except (TypeError, AttributeError, ArithmeticError, RecursionError) as error:  # `size > 1` of text, for example
        raise JMESPathError(str(error)) from error
    return found


def _truthy(value: JsonValue) -> bool:
    """What JMESPath holds to be true: all but null, false and what is empty; a number always is."""
    return value is not None and value is not False and value not in ("", [], {})


def _input(ports: Ports, trigger: EventTrigger, event: Event) -> Held | None:
    """What the run is given, as the trigger's `input` makes it of the event's data."""
    if trigger.event.input is None:
        return None
    try:
        made = _search(trigger.event.input, event.data)
    except JMESPathError as error:
        ports.observe("event.input_failed", trigger=trigger.name, error=str(error))
        return None
    if isinstance(made, str):
        made = {"input_value": made}
    return hold(ports.blobs, made) if isinstance(made, dict) else None
