"""The life of an execution's row: started, renewed, ended, cancelled, settled, taken up again.

Pure functions, for `Store.revise`: each returns what the execution becomes, or None where the message, the worker or
the attempt is not the expected one. The attempt number is the fencing token: whoever holds another one changes nothing.

    pending ──start──> running ──end──> succeeded | failed | cancelled
       ^                  │ └────────> retrying (due) ──start──> running
       └──── redrive ── failed
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from overnight.agents import Agent, Settlement
from overnight.executions import (
    Attempt,
    AttemptOutcome,
    Execution,
    Failure,
    Held,
    Lease,
    Message,
    Reason,
    Status,
    Usage,
)
from overnight.ports import Revision

__all__ = ["Ending", "begin", "cancel", "conclude", "end", "expire", "redrive", "renew"]

CLOCK_TOLERANCE = timedelta(milliseconds=5)
"""A queue's clock and ours may differ by so much before a message counts as early."""


_Changes = dict[str, object]
"""What an execution's fields become."""


class Ending(NamedTuple):
    """How an attempt ended, with everything that is kept of it."""

    outcome: AttemptOutcome
    worker: str
    output: Held | None = None
    failure: Failure | None = None
    usage: Usage | None = None
    log: str | None = None


def begin(execution: Execution, attempt: int, lease: Lease, now: datetime) -> Revision | None:
    """Start the attempt, if it is the expected next one, and its time has come and is not over."""
    if execution.status not in {Status.PENDING, Status.RETRYING} or attempt != execution.attempt + 1:
        return None
    if execution.due and execution.due > now + CLOCK_TOLERANCE:
        return None
    if _too_late(execution, now):
        return None
    return Revision(
        execution.model_copy(
            update={
                "status": Status.RUNNING,
                "attempt": attempt,
                "tries": execution.tries + 1,
                "lease": lease,
                "due": None,
                "started_at": execution.started_at or now,
                "attempt_started_at": now,
            }
        )
    )


def expire(execution: Execution, agent: Agent, now: datetime) -> Revision | None:
    """Skip what could not start in time; None when it has started, or still can."""
    if execution.status is not Status.PENDING or not _too_late(execution, now):
        return None
    skipped = _terminal(Status.SKIPPED, now, agent.document.retention_days, Reason.EXPIRED)
    return Revision(execution.model_copy(update=skipped))


def _too_late(execution: Execution, now: datetime) -> bool:
    """Whether its deadline is over; only the first start has one."""
    return execution.attempt == 0 and execution.expires_at is not None and execution.expires_at <= now


def renew(execution: Execution, attempt: int, until: datetime) -> Revision | None:
    """Hold the lease longer; None when the attempt is no longer the running one."""
    if not _holds(execution, attempt) or execution.lease is None:
        return None
    return Revision(execution.model_copy(update={"lease": execution.lease.model_copy(update={"until": until})}))


def end(
    execution: Execution, attempt: int, ending: Ending, agent: Agent, now: datetime, chance: float
) -> Revision | None:
    """Record how the attempt ended: final, or to be retried after a wait. None when it isn't the running one.

    `agent` is the pinned definition, whose retry policy and retention hold.
    """
    if not _holds(execution, attempt):
        return None
    record = Attempt(
        execution_id=execution.id,
        number=attempt,
        outcome=ending.outcome,
        started_at=execution.attempt_started_at or now,
        finished_at=now,
        worker=ending.worker,
        failure=ending.failure,
        usage=ending.usage,
        log=ending.log,
    )
    changes: _Changes = {
        "lease": None,
        "first": record if attempt == 1 else execution.first,
        "usage": _sum(execution.usage, ending.usage),
        "failure": ending.failure or execution.failure,
    }
    after, sends = _after(execution, ending, agent, now, chance)
    revised = execution.model_copy(update=changes | after)
    return Revision(revised, attempt=None if attempt == 1 else record, sends=sends)


def _after(
    execution: Execution, ending: Ending, agent: Agent, now: datetime, chance: float
) -> tuple[_Changes, tuple[Message, ...]]:
    retention = agent.document.retention_days
    match ending.outcome:
        case AttemptOutcome.SUCCEEDED:
            return _terminal(Status.SUCCEEDED, now, retention) | {"output": ending.output, "failure": None}, ()
        case AttemptOutcome.CANCELLED:
            return _terminal(Status.CANCELLED, now, retention, Reason.REQUESTED), ()
        case AttemptOutcome.INTERRUPTED:
            # A drain is nobody's fault: the try isn't charged, and the next one is due at once.
            changes, sends = _retrying(execution, now)
            return changes | {"tries": execution.tries - 1}, sends
    policy = agent.document.retries
    retryable = ending.failure is None or ending.failure.retryable
    if not retryable or execution.tries >= policy.attempts:
        return _terminal(Status.FAILED, now, retention), ()
    asked = ending.failure.retry_after_seconds if ending.failure else None
    return _retrying(execution, now + timedelta(seconds=policy.delay_seconds(execution.tries, chance, asked)))


def _retrying(execution: Execution, due: datetime) -> tuple[_Changes, tuple[Message, ...]]:
    message = Message(
        kind="retry",
        execution_id=execution.id,
        agent_id=execution.agent_id,
        attempt=execution.attempt + 1,
        due=due,
    )
    return {"status": Status.RETRYING, "due": due}, (message,)


def _terminal(status: Status, now: datetime, retention_days: int, reason: Reason | None = None) -> _Changes:
    return {
        "status": status,
        "reason": reason,
        "finished_at": now,
        "due": None,
        "lease": None,
        "retain_until": now + timedelta(days=max(retention_days, 7)),
    }


def cancel(execution: Execution, reason: Reason, agent: Agent, now: datetime) -> Revision | None:
    """Cancel it, at once and for good; None when it is terminal already.

    A running attempt keeps its lease: its slot is free when its worker lets go, or when the lease is over.
    """
    if execution.status.terminal:
        return None
    cancelled = _terminal(Status.CANCELLED, now, agent.document.retention_days, reason)
    if execution.status is not Status.RUNNING:
        return Revision(execution.model_copy(update=cancelled))
    cancelled["lease"] = execution.lease
    record = Attempt(
        execution_id=execution.id,
        number=execution.attempt,
        outcome=AttemptOutcome.CANCELLED,
        started_at=execution.attempt_started_at or now,
        finished_at=now,
        worker=execution.lease.worker if execution.lease else "",
    )
    if execution.attempt == 1:
        return Revision(execution.model_copy(update=cancelled | {"first": record}))
    return Revision(execution.model_copy(update=cancelled), attempt=record)


def conclude(execution: Execution, settlement: Settlement, agent: Agent, now: datetime) -> Revision | None:
    """Mark what left the line, or was ordered cancelled; None when it is terminal already."""
    if settlement.status == "cancelled":
        return cancel(execution, settlement.reason, agent, now)
    if execution.status.terminal or execution.status is Status.RUNNING:
        return None
    skipped = _terminal(Status.SKIPPED, now, agent.document.retention_days, settlement.reason)
    return Revision(execution.model_copy(update=skipped | {"into": settlement.into}))


def redrive(execution: Execution, now: datetime, *, latest: bool) -> Revision | None:
    """Take a failed execution up again, with a new budget of tries, due now; None when it isn't failed."""
    if execution.status is not Status.FAILED:
        return None
    message = Message(
        kind="retry", execution_id=execution.id, agent_id=execution.agent_id, attempt=execution.attempt + 1, due=now
    )
    taken_up = execution.model_copy(
        update={
            "status": Status.PENDING,
            "tries": 0,
            "redrives": execution.redrives + 1,
            "latest": latest,
            "due": now,
            "finished_at": None,
            "retain_until": None,
            "expires_at": None,
        }
    )
    return Revision(taken_up, sends=(message,))


def _holds(execution: Execution, attempt: int) -> bool:
    return execution.status is Status.RUNNING and execution.attempt == attempt


def _sum(before: Usage | None, more: Usage | None) -> Usage | None:
    if before is None or more is None:
        return before or more
    return Usage(
        input_tokens=before.input_tokens + more.input_tokens,
        output_tokens=before.output_tokens + more.output_tokens,
        total_tokens=before.total_tokens + more.total_tokens,
    )
