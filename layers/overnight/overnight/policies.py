"""How an agent retries, how much of it runs at once, and whom it tells."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from overnight.words import Word

__all__ = ["TOPIC", "Backoff", "Concurrency", "Jitter", "Notify", "OnOverlap", "Retries", "Telling"]

DAY = 86_400.0
TOPIC = "sns"
"""In place of a URL: the topic of the stack that the engine is deployed with."""
MAX_RUNNING = 1_000
"""Attempts of one agent under way at once where `max_parallel` sets no limit; keeps its state small."""


class Backoff(StrEnum):
    """How the wait grows from one retry to the next."""

    EXPONENTIAL = "exponential"
    FIXED = "fixed"
    LINEAR = "linear"


class Jitter(StrEnum):
    """How much of the wait is left to chance: all of it, half of it, none."""

    FULL = "full"
    EQUAL = "equal"
    NONE = "none"


class OnOverlap(StrEnum):
    """What a firing does when every slot is taken."""

    QUEUE = "queue"
    QUEUE_ONE = "queue_one"
    SKIP = "skip"
    CANCEL_RUNNING = "cancel_running"
    ALLOW = "allow"


class Retries(Word):
    """When a failed attempt is tried again."""

    attempts: Annotated[int, Field(ge=1, le=100, description="Total tries, the first included.")] = 3
    backoff_seconds: Annotated[float, Field(ge=0, le=DAY, description="The wait before the first retry.")] = 60
    backoff: Backoff = Field(
        default=Backoff.EXPONENTIAL,
        description="Whether the wait is multiplied from one retry to the next, stays, or grows by itself each time.",
    )
    factor: Annotated[float, Field(ge=1, le=10, description="What an exponential wait is multiplied by.")] = 2
    max_backoff_seconds: Annotated[float, Field(ge=0, le=7 * DAY, description="No wait is longer.")] = 3_600
    jitter: Jitter = Field(
        default=Jitter.FULL, description="How much of the wait is left to chance: all of it, half of it, none."
    )

    def delay_seconds(self, tries: int, chance: float, asked_seconds: float | None = None) -> float:
        """The wait before the next try.

        Args:
            tries: how many were used up, 1 after the first failure.
            chance: a random number in [0, 1).
            asked_seconds: what the flow asked for (Retry-After); the wait is at least that, at most a day.
        """
        match self.backoff:
            case Backoff.FIXED:
                wait = self.backoff_seconds
            case Backoff.LINEAR:
                wait = self.backoff_seconds * tries
            case Backoff.EXPONENTIAL:
                # 10^300 overflows no float, and is far beyond any maximum.
                wait = self.backoff_seconds * self.factor ** min(tries - 1, 300)
        wait = min(wait, self.max_backoff_seconds)
        match self.jitter:
            case Jitter.FULL:
                wait *= chance
            case Jitter.EQUAL:
                wait = wait / 2 + wait / 2 * chance
            case Jitter.NONE:
                pass
        return max(wait, min(asked_seconds or 0.0, DAY))


class Concurrency(Word):
    """How many executions run at once, and what happens to the rest."""

    max_parallel: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=1, description="How many run at once; `null` is no limit of the agent's own."
    )
    on_overlap: OnOverlap = Field(
        default=OnOverlap.QUEUE, description="What a firing does that finds every slot taken."
    )
    queue_limit: Annotated[int, Field(ge=1, le=1_000, description="How many may wait in the line.")] = 100

    @property
    def slots(self) -> int:
        """How many attempts may be under way at once."""
        if self.on_overlap is OnOverlap.ALLOW or self.max_parallel is None:
            return MAX_RUNNING
        return self.max_parallel


Telling = Literal["succeeded", "failed", "recovered"]
"""What an agent may tell of an execution."""


class Notify(Word):
    """Whom an agent tells about its executions: a signed POST to a URL (Standard Webhooks), or a topic of SNS."""

    on: Annotated[tuple[Telling, ...], Field(min_length=1)] = Field(
        default=("failed",), description="`recovered` is the first success after a failure."
    )
    url: Annotated[str, StringConstraints(pattern=rf"^(https?://[^\s]+|{TOPIC})$", max_length=2_048)] = Field(
        description="Where it is posted; or `sns`, for the topic of the stack on AWS."
    )
