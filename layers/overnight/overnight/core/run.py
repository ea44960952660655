"""Run: heavy. Start the attempt that a message asks for, run the flow, record how it ended, settle.

message ──> start ──> flow ──> outcome ──> publish ──> release or retry
  └ stale: dropped       └ a late outcome is fenced off, and goes to the log

A `turn` records how attempts ended and starts the next ones, as one.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import JsonValue

from overnight.agents import Agent, AgentState, LangflowApiFlow, LangflowFlow
from overnight.core import attempts, batches, lifecycle, retry
from overnight.core.attempts import Ending
from overnight.core.payloads import hold, opened
from overnight.core.settle import conclude, definition, leftover, published, release
from overnight.errors import ExecutionNotFound, NotFound, OvernightError
from overnight.executions import AttemptOutcome, Execution, Failure, Lease, Message, Reason, Status
from overnight.ports import Ports, Revision, RunReport, RunRequest, Transition

__all__ = [
    "LEASE_MARGIN_SECONDS",
    "Ended",
    "Started",
    "cancel",
    "finish",
    "kept",
    "requested",
    "run",
    "start",
    "turn",
]


LEASE_MARGIN_SECONDS = 10.0
"""So long after the moment at which an attempt must have ended, its lease is over."""


class Started(NamedTuple):
    """An attempt that has started by the record, with the definition that it runs by."""

    execution: Execution
    agent: Agent


class Ended(NamedTuple):
    """An attempt that has run, and how that ended; `ending` is what is kept of it."""

    started: Started
    report: RunReport
    ending: Ending | None = None


def run(ports: Ports, message: Message) -> None:
    """Carry out one message to its end; any number of times, and in any order, does no harm."""
    started = start(ports, message)
    if started is not None:
        request = requested(ports, started)
        report = request if isinstance(request, RunReport) else ports.runner.run(request)
        finish(ports, [Ended(started, report)])
    ports.queue.done(message)


def start(ports: Ports, message: Message) -> Started | None:
    """Start the attempt that a message asks for; None when there is nothing to run.

    What was left over from it is then carried out: a runner that gets a message for a terminal execution publishes and
    releases.
    """
    if message.kind == "close":
        batches.carry_on(ports, message)
        return None
    if message.kind == "retry" and not retry.claim(ports, message):
        return None
    now = ports.now()
    try:
        execution = ports.store.execution(message.execution_id)
    except ExecutionNotFound:
        return None
    agent = definition(ports, execution)
    lease = _lease(ports, agent, now)
    begun = ports.store.revise(
        execution.id, lambda row: attempts.begin(row, message.attempt, lease, now), known=execution
    )
    if begun:
        execution = begun[0].execution
        ports.observe(
            "execution.started",
            agent=execution.agent,
            execution_id=execution.id,
            attempt=execution.attempt,
            worker=ports.worker,
            lateness_seconds=execution.lateness_seconds if execution.attempt == 1 else None,
            wait_seconds=(now - execution.created_at).total_seconds() if execution.attempt == 1 else None,
        )
        return Started(execution, agent)
    execution = ports.store.execution(execution.id)
    if expired := ports.store.revise(execution.id, lambda row: attempts.expire(row, agent, now), known=execution):
        execution = expired[0].execution
        ports.observe("execution.skipped", agent=execution.agent, execution_id=execution.id, reason=execution.reason)
    if execution.status.terminal:
        leftover(ports, execution, message.attempt)
    return None


def _lease(ports: Ports, agent: Agent, now: datetime) -> Lease:
    """The lease of an attempt that starts: no longer than it may take, where it isn't renewed until then."""
    seconds = min(ports.lease_seconds, agent.document.timeout_seconds + LEASE_MARGIN_SECONDS)
    return Lease(worker=ports.worker, until=now + timedelta(seconds=seconds))


def requested(ports: Ports, started: Started) -> RunRequest | RunReport:
    """What the flow is given; or how the attempt ended, where something that it needs is missing."""
    try:
        return _request(ports, started.execution, started.agent)
    except OvernightError as missing:
        failure = Failure(
            type=type(missing).__name__, message=str(missing), retryable=not isinstance(missing, NotFound)
        )
        return RunReport(AttemptOutcome.FAILED, failure=failure)


def _request(ports: Ports, execution: Execution, agent: Agent) -> RunRequest:
    document = agent.document
    given = document.input.model_dump(exclude={"share_session", "session_id"})
    given |= _object(opened(ports.blobs, execution.input))
    session = given.pop("session_id", None) or document.input.session_id
    if not isinstance(session, str):
        session = agent.id if _shares_session(agent, execution) else execution.id
    flow_json = api_key = None
    match document.flow:
        case LangflowFlow(langflow=digest):
            flow_json = ports.blobs.get(digest).decode()
        case LangflowApiFlow(langflow_api=api) if api.api_key:
            api_key = ports.secrets.resolve(api.api_key)
    return RunRequest(
        execution=execution,
        agent=agent,
        flow_json=flow_json,
        input=given,
        variables={name: ports.secrets.resolve(reference) for name, reference in document.variables.items()},
        api_key=api_key,
        payload=opened(ports.blobs, execution.payload),
        session_id=session,
        timeout_seconds=document.timeout_seconds,
    )


def _shares_session(agent: Agent, execution: Execution) -> bool:
    """Whether its session is the agent's: as the trigger says, or else the input."""
    trigger = agent.document.trigger(execution.trigger or "")
    if trigger is not None and trigger.share_session is not None:
        return trigger.share_session
    return agent.document.input.share_session


def _object(value: JsonValue) -> dict[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def finish(ports: Ports, ended: Sequence[Ended], *, lease_over: bool = False) -> None:
    """Record how attempts ended, but for those that are another's by now; then settle.

    With `lease_over`, nothing is done about an attempt whose lease was renewed in between.
    """
    turn(ports, ended, (), lease_over=lease_over)


def turn(
    ports: Ports, ended: Sequence[Ended], messages: Sequence[Message], *, lease_over: bool = False
) -> Sequence[Started]:
    """Record how attempts ended, as `finish` does, and start those that messages ask for, as `start` does; as one."""
    closed = [kept(ports, each) for each in ended]

    def work() -> tuple[list[AgentState | None], list[Started]]:
        states = [_finish(ports, each, lease_over=lease_over) for each in closed]
        return states, [started for message in messages if (started := start(ports, message))]

    executions = [each.started.execution for each in closed]
    claims = {message.agent_id for message in messages if message.kind == "retry"}  # a first attempt moves no state
    states, started = ports.store.together(
        work,
        agents=claims | {execution.agent_id for execution in executions},
        executions={execution.id for execution in executions} | {message.execution_id for message in messages},
    )
    for state in states:
        if state and state.trip:
            lifecycle.fail(ports, state.agent_id, state.trip)
    return started


def kept(ports: Ports, ended: Ended) -> Ended:
    """The same with what is kept of it; whatever is large goes to the blob store first."""
    execution = ended.started.execution
    return ended if ended.ending else ended._replace(ending=_ending(ports, ended.report, execution.id))


def _ending(ports: Ports, report: RunReport, owner: str) -> Ending:
    succeeded = report.outcome is AttemptOutcome.SUCCEEDED
    return Ending(
        outcome=report.outcome,
        worker=ports.worker,
        output=hold(ports.blobs, {"text": report.text, "outputs": dict(report.outputs)}, owner) if succeeded else None,
        failure=report.failure,
        usage=report.usage,
        log=ports.blobs.put(report.log.encode(), owner) if report.log else None,
    )


def _finish(ports: Ports, ended: Ended, *, lease_over: bool) -> AgentState | None:
    """Record one of them; its agent's state after the release of the slot."""
    execution, agent, ending = ended.started.execution, ended.started.agent, ended.ending
    assert ending is not None  # noqa: S101 - it is kept
    attempt = execution.attempt
    now, chance = ports.now(), ports.chance()

    def move(row: Execution) -> Revision | None:
        if lease_over and row.lease and row.lease.until > now:
            return None
        return attempts.end(row, attempt, ending, agent, now, chance)

    revised = ports.store.revise(execution.id, move, known=execution)
    if revised is None:
        execution = ports.store.execution(execution.id)
        ports.observe(
            "attempt.fenced",
            agent=execution.agent,
            execution_id=execution.id,
            attempt=attempt,
            outcome=ending.outcome,
            status=execution.status,
        )
        if execution.status.terminal and execution.attempt == attempt:
            return conclude(ports, execution, attempt)
        return None
    if revised[1]:
        ports.queue.send(revised[1])
    execution = revised[0].execution
    _tell(ports, execution, ended.report, attempt)
    return conclude(ports, execution, attempt)


def _tell(ports: Ports, execution: Execution, report: RunReport, attempt: int) -> None:
    facts = {
        "agent": execution.agent,
        "execution_id": execution.id,
        "attempt": attempt,
        "outcome": report.outcome,
        "duration_seconds": _seconds(execution),
        "error": f"{report.failure.type}: {report.failure.message}" if report.failure else None,
    }
    match execution.status:
        case Status.RETRYING:
            ports.observe("execution.retry_scheduled", due=execution.due, **facts)
        case Status.FAILED:
            ports.observe("execution.failed", **facts)
            ports.observe("execution.dead_lettered", agent=execution.agent, execution_id=execution.id)
        case status:
            ports.observe(f"execution.{status}", **facts)


def _seconds(execution: Execution) -> float | None:
    if execution.attempt_started_at is None or execution.finished_at is None:
        return None
    return (execution.finished_at - execution.attempt_started_at).total_seconds()


def cancel(ports: Ports, execution_id: str) -> Execution:
    """Cancel an execution: the record at once, the slot when its worker lets go. A terminal one stays as it is.

    Asked for again, it goes on where it was interrupted.
    Raises ExecutionNotFound.
    """
    now = ports.now()
    execution = ports.store.execution(execution_id)
    agent = definition(ports, execution)
    revised = ports.store.revise(
        execution_id, lambda row: attempts.cancel(row, Reason.REQUESTED, agent, now), known=execution
    )
    if revised is None:
        cancelled = ports.store.execution(execution_id)
        if cancelled.status is not Status.CANCELLED:
            return cancelled
    else:
        cancelled = revised[0].execution
        ports.observe("execution.cancelled", agent=cancelled.agent, execution_id=cancelled.id, reason=cancelled.reason)
    published(ports, cancelled)
    _let_go(ports, cancelled)
    return cancelled


def _let_go(ports: Ports, execution: Execution) -> None:
    """Take a cancelled execution out of the line, stop its worker, or free the slot that no worker has taken up."""

    def leave(agent: Agent, state: AgentState) -> Transition | None:  # noqa: ARG001
        line = tuple(waiting for waiting in state.line if waiting.id != execution.id)
        return Transition(state.model_copy(update={"line": line})) if len(line) < len(state.line) else None

    ports.store.transition(execution.agent_id, leave)
    ports.runner.cancel(execution.id)
    slot = ports.store.read(execution.agent_id)[1].running.get(execution.id)
    if slot and slot.attempt == execution.attempt + 1:
        release(ports, execution, slot.attempt)
