"""What EventBridge Scheduler, the fire queue, the events queue and the bus bring."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from overnight.errors import Invalid
from overnight.executions import Event
from overnight.words import Instant, Word

__all__ = ["OWN_SOURCE", "Alarm", "Fire", "event_of_bus", "event_of_queue"]

OWN_SOURCE = "overnight"
"""The `source` of the events that Overnight publishes; their `detail` is the event as a whole."""


class Alarm(Word):
    """What Scheduler calls the tick function with: an armed schedule, and the minute it was to call in.

    `definition` (a trigger of the agent document), `anchor` and `since` are as they were when it was armed; a declared
    agent's alarm has none, and they are read with the agent.
    """

    agent_id: str
    trigger: str
    scheduled: Instant
    """`<aws.scheduler.scheduled-time>`"""
    version: int | None = None
    since: Instant | None = None
    anchor: Instant | None = None
    definition: dict[str, Any] | None = None


class Fire(Word):
    """One tick, on the fire queue until its time has come."""

    agent_id: str
    trigger: str
    nominal: Instant
    due: Instant
    """The nominal instant and its jitter."""


def event_of_queue(body: Mapping[str, Any], message_id: str, now: datetime) -> Event:
    """The event in a message of the events queue: what the bus put there, or `{"name", "id", "data"}`.

    One without an id has the message's. Raises Invalid.
    """
    if "detail-type" in body and "source" in body:
        return event_of_bus(body)
    try:
        return Event.model_validate({"id": message_id, "at": now, **body, "depth": 0})
    except ValidationError as error:
        raise _invalid(error) from error


def event_of_bus(body: Mapping[str, Any]) -> Event:
    """The event that EventBridge brings: one of ours as it is; another's by its source and type.

    `aws.s3` and `Object Created` are `aws.s3.Object-Created`, and `data` is its detail. Raises Invalid.
    """
    try:
        if body["source"] == OWN_SOURCE:
            return Event.model_validate(body["detail"])
        parts = (*body["source"].split("."), body["detail-type"])
        name = ".".join(re.sub(r"[^A-Za-z0-9_-]+", "-", part) for part in parts)
        return Event.model_validate({"id": body["id"], "name": name, "data": body.get("detail"), "at": body["time"]})
    except KeyError as error:
        raise Invalid.field(str(error.args[0]), "is missing") from error
    except ValidationError as error:
        raise _invalid(error) from error


def _invalid(error: ValidationError) -> Invalid:
    found = error.errors()[0]
    return Invalid.field(".".join(map(str, found["loc"])), found["msg"])
