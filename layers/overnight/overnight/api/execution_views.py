"""Executions as the API shows them: what was put aside as a blob is read back."""

from pydantic import Field, JsonValue

from overnight.api.views import View
from overnight.core.payloads import opened
from overnight.executions import (
    Attempt,
    AttemptOutcome,
    Execution,
    Failure,
    FiringKind,
    Output,
    Reason,
    Status,
    Usage,
)
from overnight.ports import BlobStore
from overnight.words import Instant

__all__ = [
    "AttemptView",
    "ExecutionDetail",
    "ExecutionList",
    "ExecutionView",
    "LogLine",
    "LogLines",
    "Redriven",
]


class AttemptView(View):
    """One try of the flow that has ended."""

    number: int
    outcome: AttemptOutcome
    started_at: Instant
    finished_at: Instant
    duration_seconds: float
    worker: str
    failure: Failure | None
    usage: Usage | None

    @classmethod
    def of(cls, attempt: Attempt) -> "AttemptView":
        """The view of a stored attempt."""
        return cls(
            number=attempt.number,
            outcome=attempt.outcome,
            started_at=attempt.started_at,
            finished_at=attempt.finished_at,
            duration_seconds=attempt.duration_seconds,
            worker=attempt.worker,
            failure=attempt.failure,
            usage=attempt.usage,
        )


class ExecutionView(View):
    """The durable record of one accepted firing."""

    id: str
    agent_id: str
    agent: str = Field(description="The agent's name when it was admitted.")
    status: Status
    reason: Reason | None = Field(description="Why it was skipped or cancelled.")
    into: str | None = Field(description="The execution that a coalesced one was merged into.")
    kind: FiringKind
    trigger: str | None
    dedupe_key: str
    nominal: Instant | None = Field(description="The tick that a schedule's execution is for.")
    until: Instant | None = Field(description="The last tick, where the record stands for a range of them.")
    count: int = Field(description="How many like ticks the record stands for.")
    previous: Instant | None = Field(description="The tick before.")
    missed_ticks: list[Instant]
    payload: JsonValue
    input: JsonValue
    agent_version: int
    created_at: Instant
    started_at: Instant | None
    finished_at: Instant | None
    due: Instant | None = Field(description="When a retry or a delayed start is due.")
    expires_at: Instant | None
    attempt: int
    tries: int = Field(description="Tries charged to the retry policy.")
    redrives: int
    output: Output | None
    failure: Failure | None
    usage: Usage | None
    lateness_seconds: float | None
    replay_of: str | None
    test: bool
    depth: int

    @classmethod
    def of(cls, execution: Execution, blobs: BlobStore) -> "ExecutionView":
        """The view of a stored execution."""
        return cls(**_fields(execution, blobs))


class ExecutionDetail(ExecutionView):
    """An execution with its attempts."""

    attempts: list[AttemptView]

    @classmethod
    def with_attempts(cls, execution: Execution, attempts: list[Attempt], blobs: BlobStore) -> "ExecutionDetail":
        """The view of a stored execution, and of its attempts that have ended."""
        return cls(**_fields(execution, blobs), attempts=[AttemptView.of(attempt) for attempt in attempts])


class ExecutionList(View):
    """A page of executions, newest first."""

    items: list[ExecutionView]
    cursor: str | None = Field(description="Asks for the next page; null at the end.")


class Redriven(View):
    """The failed executions that were taken up again."""

    count: int
    execution_ids: list[str]


class LogLine(View):
    """A line of what an attempt printed or logged."""

    at: Instant
    attempt: int
    level: str
    message: str


class LogLines(View):
    """What the attempts of an execution printed and logged, in order."""

    items: list[LogLine]


_HELD = {"payload", "input", "output"}
_PLAIN = sorted(set(ExecutionView.model_fields) - _HELD)


def _fields(execution: Execution, blobs: BlobStore) -> dict[str, object]:
    plain = {field: getattr(execution, field) for field in _PLAIN}
    return plain | {field: opened(blobs, getattr(execution, field)) for field in _HELD}
