"""Matching: which of an agent's triggers an event meets, and what its run is given of it."""

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import JsonValue

from overnight.agents import Agent
from overnight.executions import Event
from overnight.ports import Ports
from overnight.triggers import EventTrigger

__all__ = ["given", "matching"]


def matching(ports: Ports, agent: Agent, event: Event) -> EventTrigger | None:
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


def given(expression: str, data: JsonValue) -> dict[str, JsonValue] | None:
    """What a run is given in place of fields of its agent's input; text is an input value. Raises JMESPathError."""
    made = _search(expression, data)
    if isinstance(made, str):
        return {"input_value": made}
    return made if isinstance(made, dict) else None


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
