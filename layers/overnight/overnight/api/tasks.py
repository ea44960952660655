"""The other spelling: a task is an agent, a run is an execution. The same handlers answer under `/api/background`."""

from overnight.api.agent_views import AgentList, AgentView
from overnight.api.agents import create_agent, get_agent, list_agents
from overnight.api.answers import documented
from overnight.api.execution_views import ExecutionList
from overnight.api.executions import list_agent_executions
from overnight.api.lifecycle import pause_agent, resume_agent
from overnight.api.routing import new_router

__all__ = ["router"]

TASKS = "/api/background/tasks"

router = new_router()

router.get(
    TASKS,
    summary="List tasks",
    operation_id="list_tasks",
    tags=["tasks"],
    responses=documented({200: (AgentList, "A page of tasks, by name.")}),
)(list_agents)

router.post(
    TASKS,
    summary="Create a task",
    operation_id="create_task",
    tags=["tasks"],
    responses=documented({201: (AgentView, "The task.")}, 409),
)(create_agent)

router.get(
    f"{TASKS}/<agent>",
    summary="Read a task",
    operation_id="get_task",
    tags=["tasks"],
    responses=documented({200: (AgentView, "The task.")}, 404),
)(get_agent)

router.post(
    f"{TASKS}/<agent>/pause",
    summary="Pause a task",
    operation_id="pause_task",
    tags=["tasks"],
    responses=documented({200: (AgentView, "The task as it is now.")}, 404, 409),
)(pause_agent)

router.post(
    f"{TASKS}/<agent>/resume",
    summary="Resume a task",
    operation_id="resume_task",
    tags=["tasks"],
    responses=documented({200: (AgentView, "The task as it is now.")}, 404, 409),
)(resume_agent)

router.get(
    f"{TASKS}/<agent>/runs",
    summary="List a task's runs",
    operation_id="list_runs",
    tags=["tasks"],
    responses=documented({200: (ExecutionList, "A page of runs, newest first.")}, 404),
)(list_agent_executions)
