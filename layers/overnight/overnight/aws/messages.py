"""What EventBridge Scheduler and the fire queue bring."""

from typing import Any

from pydantic import ConfigDict, TypeAdapter

from overnight.executions import Message
from overnight.words import Instant, Word

__all__ = ["Alarm", "Fire", "held"]


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


held: TypeAdapter[Fire | Message] = TypeAdapter(Fire | Message, config=ConfigDict(defer_build=True))
"""What the fire queue holds back until its time: a tick, or the closing of a batch of events."""
