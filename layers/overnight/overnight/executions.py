"""A firing is one reason to run; an execution is its durable record; an attempt is one try of the flow."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, JsonValue

from overnight.words import EVENT_NAME, Instant, Word

__all__ = [
    "Attempt",
    "AttemptOutcome",
    "Event",
    "Execution",
    "Failure",
    "Firing",
    "FiringKind",
    "Held",
    "Lease",
    "Message",
    "Output",
    "Pending",
    "Reason",
    "Status",
    "Stretch",
    "Tick",
    "Usage",
    "execution_id",
]


class Status(StrEnum):
    """Where an execution stands."""

    PENDING = "pending"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def terminal(self) -> bool:
        """Whether it stays so (but for `failed`, which redrive takes up again)."""
        return self in _TERMINAL


_TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.SKIPPED})


class Reason(StrEnum):
    """Why an execution was skipped or cancelled."""

    OVERLAP = "overlap"
    QUEUE_FULL = "queue_full"
    PAUSED = "paused"
    EXPIRED = "expired"
    EXCLUDED = "excluded"
    MISSED = "missed"
    COALESCED = "coalesced"
    STOPPED = "stopped"
    DELETED = "deleted"
    REQUESTED = "requested"
    DEPTH = "depth"


class FiringKind(StrEnum):
    """What fired."""

    SCHEDULE = "schedule"
    WEBHOOK = "webhook"
    EVENT = "event"
    MANUAL = "manual"
    BACKFILL = "backfill"


def execution_id(agent_id: str, dedupe_key: str) -> str:
    """The id of the execution of this firing: 128 bits, hex; the same firing always gets the same one."""
    return hashlib.sha256(f"{agent_id}\n{dedupe_key}".encode()).hexdigest()[:32]


class Held(Word):
    """A JSON value: here, or, when it is larger than a kilobyte, in the blob store, by its name there."""

    value: JsonValue = None
    blob: str | None = None
    size_bytes: int = 0


class Firing(Word):
    """One reason to run an agent.

    A tick names the version it was armed with, and the tick before it. `until` and `count` make it a range record of
    many like ticks. `disposition` is set where the ledger has decided already: a missed, excluded or coalesced tick.
    """

    agent_id: str
    kind: FiringKind
    dedupe_key: str
    trigger: str | None = None
    nominal: Instant | None = None
    until: Instant | None = None
    count: int = 1
    previous: Instant | None = None
    version: int | None = None
    payload: Held | None = None
    input: Held | None = None
    body_sha256: str | None = None
    missed_ticks: tuple[Instant, ...] = ()
    disposition: Reason | None = None
    into: str | None = None
    depth: int = 0
    replay_of: str | None = None
    test: bool = False
    accepted: bool = False
    """Whether what it is made of was let in before, so that it can't be refused any more: a batch of events."""

    @property
    def execution_id(self) -> str:
        """The id its execution has."""
        return execution_id(self.agent_id, self.dedupe_key)


class Failure(Word):
    """Why an attempt failed, with how to mend it."""

    type: str
    message: str
    retryable: bool = True
    retry_after_seconds: float | None = None
    traceback: str | None = None
    component: str | None = None


class Usage(Word):
    """Tokens used, where the flow reports them."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0


class Output(Word):
    """What a flow gave: `text`, and all its outputs by component."""

    text: str | None = None
    outputs: dict[str, JsonValue] = {}


class AttemptOutcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"


class Attempt(Word):
    """One try of the flow, kept."""

    execution_id: str
    number: int
    outcome: AttemptOutcome
    started_at: Instant
    finished_at: Instant
    worker: str
    failure: Failure | None = None
    usage: Usage | None = None
    log: str | None = None
    """The blob of what the attempt printed."""

    @property
    def duration_seconds(self) -> float:
        """From start to end."""
        return (self.finished_at - self.started_at).total_seconds()


class Lease(Word):
    """Who runs the attempt, and until when that holds without a renewal."""

    worker: str
    until: Instant


class Execution(Word):
    """The durable record of one accepted firing.

    `attempt` is the number of the last attempt that was started, the fencing token: it only ever grows. `tries` counts
    those that are charged to the retry policy: redrive resets it, a drain doesn't charge. `due` is set while, and only
    while, neither the running set nor the line has it.
    """

    id: str
    rev: int = 0
    agent_id: str
    agent: str
    status: Status
    reason: Reason | None = None
    into: str | None = None
    kind: FiringKind
    dedupe_key: str
    trigger: str | None = None
    nominal: Instant | None = None
    until: Instant | None = None
    count: int = 1
    previous: Instant | None = None
    missed_ticks: tuple[Instant, ...] = ()
    payload: Held | None = None
    input: Held | None = None
    body_sha256: str | None = None
    agent_version: int
    latest: bool = False
    depth: int = 0
    replay_of: str | None = None
    test: bool = False
    created_at: Instant
    started_at: Instant | None = None
    attempt_started_at: Instant | None = None
    finished_at: Instant | None = None
    due: Instant | None = None
    expires_at: Instant | None = None
    attempt: int = 0
    tries: int = 0
    redrives: int = 0
    lease: Lease | None = None
    output: Held | None = None
    failure: Failure | None = None
    usage: Usage | None = None
    first: Attempt | None = None
    """The first attempt, once it has ended; later ones are records of their own."""
    retain_until: Instant | None = None

    @property
    def lateness_seconds(self) -> float | None:
        """How long after its nominal instant the first attempt of a tick started; a backfill is late for nothing."""
        if self.kind is not FiringKind.SCHEDULE or self.nominal is None or self.started_at is None:
            return None
        return (self.started_at - self.nominal).total_seconds()


class Message(Word):
    """What travels on the work queue: a hint to do something; only the store's record decides.

    `run`: the execution holds a slot, start that attempt. `retry`: it has a due time of its own, claim a slot first.
    `close`: the events that its agent has gathered for it are to become this execution.
    """

    kind: Literal["run", "retry", "close"]
    execution_id: str
    agent_id: str
    attempt: Annotated[int, Field(ge=1)]
    due: Instant | None = None


class Event(Word):
    """Something that happened, which agents may subscribe to."""

    id: Annotated[str, Field(min_length=1, max_length=256)]
    name: Annotated[str, Field(pattern=rf"^{EVENT_NAME}$", max_length=256)]
    data: JsonValue = None
    at: Instant
    depth: int = 0

    def prefixes(self) -> tuple[str, ...]:
        """The names under which it is subscribed to: its own, and each prefix that ends at a dot, with `*`."""
        parts = self.name.split(".")
        return (self.name, *(".".join(parts[:end]) + ".*" for end in range(len(parts) - 1, 0, -1)))


class Pending(Event):
    """An event that was kept, and how far it has come.

    Its subscribers up to the agent `after` have been reached, but for those in `refused`, whose lines were full.
    """

    after: str | None = None
    refused: tuple[str, ...] = ()
    done: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick's record in the ledger, or that of a range of like ticks (`until`, `count`)."""

    execution_id: str
    nominal: datetime
    until: datetime | None
    count: int
    previous: datetime | None
    status: Status
    reason: Reason | None


class Stretch(NamedTuple):
    """A stretch of a trigger's ledger: what touches [since, until], UTC."""

    agent_id: str
    trigger: str
    since: datetime
    until: datetime
