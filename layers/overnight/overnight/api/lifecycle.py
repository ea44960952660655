"""An agent's life: start, stop, pause, resume, and where it stands."""

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Query
from pydantic import Field

from overnight.api.agent_views import AgentStatusView, AgentView, agent_answer, living
from overnight.api.agents import AGENTS
from overnight.api.answers import Documented, documented, json_answer
from overnight.api.parameters import AgentRef, Needs
from overnight.api.routing import new_router
from overnight.api.views import View
from overnight.core import lifecycle

__all__ = ["pause_agent", "resume_agent", "router"]

router = new_router()


class PauseRequest(View):
    """Why an agent is paused."""

    note: str | None = Field(default=None, max_length=1_000, examples=["until the data is mended"])


def _moved() -> Documented:
    return documented({200: (AgentView, "The agent as it is now.")}, 404, 409, headers={"ETag": "The version."})


@router.post(
    f"{AGENTS}/<agent>/start",
    summary="Start an agent",
    description="It becomes ACTIVE, whatever it was; its schedules are armed.",
    operation_id="start_agent",
    tags=["agents"],
    responses=_moved(),
)
def start_agent(ports: Needs, agent: AgentRef) -> Response[str]:
    """Start an agent."""
    return agent_answer(lifecycle.start(ports, agent))


@router.post(
    f"{AGENTS}/<agent>/stop",
    summary="Stop an agent",
    description="It is disarmed, and what waits in its line is cancelled; what runs ends by itself.",
    operation_id="stop_agent",
    tags=["agents"],
    responses=_moved(),
)
def stop_agent(
    ports: Needs,
    agent: AgentRef,
    cancel_running: Annotated[bool, Query(description="Cancel what runs, too.")] = False,
) -> Response[str]:
    """Stop an agent."""
    return agent_answer(lifecycle.stop(ports, agent, cancel_running=cancel_running))


@router.post(
    f"{AGENTS}/<agent>/pause",
    summary="Pause an agent",
    description="It is disarmed; what waits in its line goes on waiting.",
    operation_id="pause_agent",
    tags=["agents"],
    responses=_moved(),
)
def pause_agent(ports: Needs, agent: AgentRef, body: Annotated[PauseRequest | None, Body()] = None) -> Response[str]:
    """Pause an agent, with a note if there is one."""
    return agent_answer(lifecycle.pause(ports, agent, note=body.note if body else None))


@router.post(
    f"{AGENTS}/<agent>/resume",
    summary="Resume an agent",
    description="It becomes ACTIVE again; what waits goes on.",
    operation_id="resume_agent",
    tags=["agents"],
    responses=_moved(),
)
def resume_agent(ports: Needs, agent: AgentRef) -> Response[str]:
    """Resume a paused agent."""
    return agent_answer(lifecycle.resume(ports, agent))


@router.get(
    f"{AGENTS}/<agent>/status",
    summary="Where an agent stands",
    description="What runs, what waits, and when its schedules tick next.",
    operation_id="get_agent_status",
    tags=["agents"],
    responses=documented({200: (AgentStatusView, "Where it stands.")}, 404),
)
def get_agent_status(ports: Needs, agent: AgentRef) -> Response[str]:
    """Where an agent stands, in detail."""
    return json_answer(AgentStatusView.of(*living(ports, agent)))
