"""Executions: list, read, cancel, redrive, and what they printed."""

from collections.abc import Iterator
from typing import Annotated, Literal

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Query
from pydantic import ConfigDict, Field

from overnight.api.agents import AGENTS
from overnight.api.answers import documented, json_answer
from overnight.api.execution_views import (
    ExecutionDetail,
    ExecutionList,
    ExecutionView,
    LogLine,
    LogLines,
    Redriven,
)
from overnight.api.parameters import AgentRef, Cursor, ExecutionId, Limit, Needs, Since, Until
from overnight.api.routing import new_router
from overnight.api.views import View
from overnight.core import retry, run
from overnight.errors import ExecutionNotFound, NotFound
from overnight.executions import Attempt, Execution, FiringKind, Reason, Status
from overnight.ports import BlobStore, ExecutionFilter, Ports
from overnight.schedules import Instant as When

__all__ = ["EXECUTIONS", "list_agent_executions", "router"]

EXECUTIONS = "/api/v1/executions"

router = new_router()

Statuses = Annotated[list[Status] | None, Query(alias="status", description="Only those; may be given repeatedly.")]
Kinds = Annotated[list[FiringKind] | None, Query(alias="kind", description="Only those; may be given repeatedly.")]
TriggerName = Annotated[str | None, Query(alias="trigger", description="Only those of this trigger.")]
Why = Annotated[Reason | None, Query(description="Only those skipped or cancelled for this reason.")]
Latest = Annotated[bool, Query(description="By the agent's present definition instead of the pinned one.")]
OfAgent = Annotated[str | None, Query(alias="agent", description="Only those of this agent: an id or a name.")]


class RedriveRequest(View):
    """Which failed executions are to be taken up again."""

    model_config = ConfigDict(json_schema_extra={"example": {"agent": "daily-report"}})

    agent: str | None = Field(default=None, description="Only those of this agent: an id or a name.")
    status: Literal["failed"] = "failed"
    since: When | None = Field(default=None, description="Created from this moment on, inclusive.")
    until: When | None = Field(default=None, description="Created up to this moment, exclusive.")
    latest: bool = Field(
        default=False,
        strict=True,
        description="By the agents' present definitions instead of the pinned ones.",
    )


@router.get(
    EXECUTIONS,
    summary="List executions",
    operation_id="list_executions",
    tags=["executions"],
    responses=documented({200: (ExecutionList, "A page of executions, newest first.")}, 404),
)
def list_executions(
    ports: Needs,
    agent: OfAgent = None,
    status: Statuses = None,
    kind: Kinds = None,
    trigger: TriggerName = None,
    reason: Why = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response[str]:
    """Executions of all agents, or of one."""
    where = ExecutionFilter(
        agent_id=ports.store.agent(agent).id if agent is not None else None,
        statuses=tuple(status or ()),
        kinds=tuple(kind or ()),
        trigger=trigger,
        reason=reason,
        since=since,
        until=until,
    )
    page = ports.store.executions(where, cursor=cursor, limit=limit)
    views = [ExecutionView.of(execution, ports.blobs) for execution in page.items]
    return json_answer(ExecutionList(items=views, cursor=page.cursor))


@router.get(
    f"{AGENTS}/<agent>/executions",
    summary="List an agent's executions",
    operation_id="list_agent_executions",
    tags=["executions"],
    responses=documented({200: (ExecutionList, "A page of executions, newest first.")}, 404),
)
def list_agent_executions(
    ports: Needs,
    agent: AgentRef,
    status: Statuses = None,
    kind: Kinds = None,
    trigger: TriggerName = None,
    reason: Why = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response[str]:
    """Executions of one agent."""
    return list_executions(ports, agent, status, kind, trigger, reason, since, until, limit, cursor)


@router.get(
    f"{EXECUTIONS}/<execution_id>",
    summary="Read an execution",
    operation_id="get_execution",
    tags=["executions"],
    responses=documented({200: (ExecutionDetail, "The execution with its attempts.")}, 404),
)
def get_execution(ports: Needs, execution_id: ExecutionId) -> Response[str]:
    """An execution with its attempts."""
    return _detail(ports, ports.store.execution(execution_id))


@router.get(
    f"{AGENTS}/<agent>/executions/<execution_id>",
    summary="Read an agent's execution",
    operation_id="get_agent_execution",
    tags=["executions"],
    responses=documented({200: (ExecutionDetail, "The execution with its attempts.")}, 404),
)
def get_agent_execution(ports: Needs, agent: AgentRef, execution_id: ExecutionId) -> Response[str]:
    """An execution of this agent with its attempts."""
    execution = ports.store.execution(execution_id)
    if execution.agent_id != ports.store.agent(agent).id:
        raise ExecutionNotFound(execution_id)
    return _detail(ports, execution)


@router.post(
    f"{EXECUTIONS}/<execution_id>/cancel",
    summary="Cancel an execution",
    description="The record at once, the slot when its worker lets go. One that is over stays as it is.",
    operation_id="cancel_execution",
    tags=["executions"],
    responses=documented({200: (ExecutionView, "The execution as it is now.")}, 404),
)
def cancel_execution(ports: Needs, execution_id: ExecutionId) -> Response[str]:
    """Cancel an execution."""
    return json_answer(ExecutionView.of(run.cancel(ports, execution_id), ports.blobs))


@router.post(
    f"{EXECUTIONS}/<execution_id>/redrive",
    summary="Take a failed execution up again",
    description="With a new budget of tries; its id and history are kept.",
    operation_id="redrive_execution",
    tags=["executions"],
    responses=documented({200: (ExecutionView, "The execution as it is now.")}, 404, 409),
)
def redrive_execution(ports: Needs, execution_id: ExecutionId, latest: Latest = False) -> Response[str]:
    """Take a failed execution up again."""
    return json_answer(ExecutionView.of(retry.redrive(ports, execution_id, latest=latest), ports.blobs))


@router.post(
    f"{EXECUTIONS}/redrive",
    summary="Take up all failed executions again",
    operation_id="redrive_executions",
    tags=["executions"],
    responses=documented({200: (Redriven, "Those that were taken up.")}, 404),
)
def redrive_executions(ports: Needs, body: Annotated[RedriveRequest, Body()]) -> Response[str]:
    """Take up every failed execution that the filter lets through."""
    where = ExecutionFilter(
        agent_id=ports.store.agent(body.agent).id if body.agent is not None else None,
        statuses=(Status.FAILED,),
        since=body.since,
        until=body.until,
    )
    ids = retry.redrive_all(ports, where, latest=body.latest)
    return json_answer(Redriven(count=len(ids), execution_ids=ids))


@router.get(
    f"{EXECUTIONS}/<execution_id>/logs",
    summary="What an execution printed",
    description="By attempt, in order: what the flow printed and logged, and why an attempt failed.",
    operation_id="get_execution_logs",
    tags=["executions"],
    responses=documented({200: (LogLines, "The lines.")}, 404),
)
def get_execution_logs(ports: Needs, execution_id: ExecutionId) -> Response[str]:
    """What the attempts of an execution printed."""
    ended = _attempts(ports, ports.store.execution(execution_id))
    return json_answer(LogLines(items=[line for attempt in ended for line in _lines(ports.blobs, attempt)]))


def _detail(ports: Ports, execution: Execution) -> Response[str]:
    return json_answer(ExecutionDetail.with_attempts(execution, _attempts(ports, execution), ports.blobs))


def _attempts(ports: Ports, execution: Execution) -> list[Attempt]:
    """Those that have ended, by number: the first is kept in the execution, later ones beside it."""
    ended = {attempt.number: attempt for attempt in ports.store.attempts(execution.id)}
    if execution.first is not None:
        ended.setdefault(execution.first.number, execution.first)
    return [ended[number] for number in sorted(ended)]


def _lines(blobs: BlobStore, attempt: Attempt) -> Iterator[LogLine]:
    try:
        printed = blobs.get(attempt.log).decode(errors="replace") if attempt.log else ""
    except NotFound:
        printed = ""
    for line in printed.splitlines():
        yield LogLine(at=attempt.started_at, attempt=attempt.number, level="info", message=line)
    if attempt.failure is not None:
        message = f"{attempt.failure.type}: {attempt.failure.message}"
        yield LogLine(at=attempt.finished_at, attempt=attempt.number, level="error", message=message)
