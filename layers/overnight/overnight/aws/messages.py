"""What EventBridge Scheduler and the fire queue bring."""

from typing import Any

from overnight.words import Instant, Word

__all__ = ["Alarm", "Fire"]


class Alarm(Word):
    """What Scheduler calls the tick function with: an armed schedule, and the minute it was to call in.

    `definition` (a trigger of the agent document) and `anchor` are as they were when it was armed; a declared agent's
    alarm has none, and its definition is read from the agent.
    """

    agent_id: str
    trigger: str
    scheduled: Instant
    """`<aws.scheduler.scheduled-time>`"""
    version: int | None = None
    anchor: Instant | None = None
    definition: dict[str, Any] | None = None


class Fire(Word):
    """One tick, on the fire queue until its time has come."""

    agent_id: str
    trigger: str
    nominal: Instant
    due: Instant
    """The nominal instant and its jitter."""
