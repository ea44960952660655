"""Schedules: the triggers of all agents that follow the clock, and when they tick next."""

from collections.abc import Iterator
from typing import Annotated, Literal

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Query
from pydantic import Field

from overnight.agents import Agent, AgentState, AgentStatus
from overnight.api.agent_parts import page_of_parts
from overnight.api.answers import documented, json_answer
from overnight.api.parameters import Cursor, Limit, Needs
from overnight.api.routing import new_router
from overnight.api.views import View
from overnight.calendar.dates import format_instant
from overnight.schedules import CronTrigger, DateTrigger, IntervalTrigger
from overnight.triggers import Schedule
from overnight.words import Instant

__all__ = ["router"]

router = new_router()


class ScheduleView(View):
    """A trigger that follows the clock."""

    agent: str
    trigger: str
    kind: Literal["cron", "interval", "date"]
    expression: str = Field(description="For people.", examples=["cron 0 8 * * 1-5", "every 2 hours"])
    timezone: str
    next_tick_at: Instant | None = Field(description="Null when it is not armed, or has no tick left.")
    status: AgentStatus = Field(description="The agent's.")


class ScheduleList(View):
    """A page of schedules, by agent."""

    items: list[ScheduleView]
    cursor: str | None = Field(description="Asks for the next page; null at the end.")


@router.get(
    "/api/v1/schedules",
    summary="List schedules",
    operation_id="list_schedules",
    tags=["schedules"],
    responses=documented({200: (ScheduleList, "A page of schedules, by agent.")}, 404),
)
def list_schedules(
    ports: Needs,
    agent: Annotated[str | None, Query(description="Only those of this agent: an id or a name.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response[str]:
    """The schedules of all agents, or of one."""
    page = page_of_parts(ports, agent, "schedule", _views, cursor=cursor, limit=limit)
    return json_answer(ScheduleList(items=list(page.items), cursor=page.cursor))


def _views(agent: Agent, state: AgentState) -> Iterator[ScheduleView]:
    for name, schedule in agent.document.schedules.items():
        armed = state.schedules.get(name)
        yield ScheduleView(
            agent=agent.name,
            trigger=name,
            kind=schedule.kind,
            expression=_expression(schedule),
            timezone=schedule.timezone,
            next_tick_at=armed.next if armed else None,
            status=state.status,
        )


def _expression(schedule: Schedule) -> str:
    match schedule:
        case CronTrigger():
            return f"cron {schedule.cron}"
        case IntervalTrigger():
            parts = [(getattr(schedule.interval, unit), unit) for unit in type(schedule.interval).model_fields]
            return "every " + " ".join(f"{n} {unit if n > 1 else unit[:-1]}" for n, unit in parts if n)
        case DateTrigger():
            return f"once at {format_instant(schedule.date)}"
