"""What EventBridge Scheduler and the fire queue bring."""

from typing import Annotated

from pydantic import Field

from overnight.words import Instant, Word

__all__ = ["Alarm", "Fire"]


class Alarm(Word):
    """What Scheduler calls the tick function with: an armed schedule, the version it was armed with, and the minute."""

    agent_id: str
    trigger: str
    version: Annotated[int, Field(ge=0)]
    scheduled: Instant
    """`<aws.scheduler.scheduled-time>`"""


class Fire(Word):
    """One tick, on the fire queue until its time has come."""

    agent_id: str
    trigger: str
    nominal: Instant
    due: Instant
    """The nominal instant and its jitter."""
