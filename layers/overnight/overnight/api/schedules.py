"""Schedules: the triggers of all agents that follow the clock, and when they tick next."""

import base64
import binascii
from collections.abc import Iterator
from typing import Annotated, Literal

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Query
from pydantic import BaseModel, ConfigDict, Field

from overnight.agents import Agent, AgentState, AgentStatus
from overnight.api.answers import documented, json_answer
from overnight.api.parameters import Cursor, Limit, Needs
from overnight.api.routing import new_router
from overnight.calendar.dates import format_instant
from overnight.errors import Invalid
from overnight.ports import Page, Ports
from overnight.schedules import CronTrigger, DateTrigger, IntervalTrigger
from overnight.triggers import Schedule
from overnight.words import Instant

__all__ = ["router"]

AGENTS_AT_ONCE = 100

router = new_router()


class ScheduleView(BaseModel):
    """A trigger that follows the clock."""

    model_config = ConfigDict(extra="forbid")

    agent: str
    trigger: str
    kind: Literal["cron", "interval", "date"]
    expression: str = Field(description="For people.", examples=["cron 0 8 * * 1-5", "every 2 hours"])
    timezone: str
    next_tick_at: Instant | None = Field(description="Null when it is not armed, or has no tick left.")
    status: AgentStatus = Field(description="The agent's.")


class ScheduleList(BaseModel):
    """A page of schedules, by agent."""

    model_config = ConfigDict(extra="forbid")

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
    page = _page(ports, cursor, limit) if agent is None else _of_one(ports, agent, cursor, limit)
    return json_answer(ScheduleList(items=list(page.items), cursor=page.cursor))


def _of_one(ports: Ports, ref: str, cursor: str | None, limit: int) -> Page[ScheduleView]:
    _, skip = _place(cursor)
    views = list(_views(*ports.store.read(ref)))
    more = _cursor(None, skip + limit) if len(views) > skip + limit else None
    return Page(tuple(views[skip : skip + limit]), more)


def _page(ports: Ports, cursor: str | None, limit: int) -> Page[ScheduleView]:
    """A page of schedules is cut out of pages of agents: its cursor says which one, and how many were given of it."""
    agents_cursor, skip = _place(cursor)
    found: list[ScheduleView] = []
    while True:
        agents = ports.store.agents(cursor=agents_cursor, limit=AGENTS_AT_ONCE)
        views = [view for agent, state in agents.items for view in _views(agent, state)]
        wanted = limit - len(found)
        found += views[skip : skip + wanted]
        if len(views) > skip + wanted:
            return Page(tuple(found), _cursor(agents_cursor, skip + wanted))
        if agents.cursor is None or len(found) == limit:
            return Page(tuple(found), agents.cursor and _cursor(agents.cursor, 0))
        agents_cursor, skip = agents.cursor, 0


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


def _cursor(agents_cursor: str | None, skip: int) -> str:
    return base64.urlsafe_b64encode(f"{skip} {agents_cursor or ''}".encode()).decode()


def _place(cursor: str | None) -> tuple[str | None, int]:
    if cursor is None:
        return None, 0
    try:
        skip, _, agents_cursor = base64.urlsafe_b64decode(cursor.encode()).decode().partition(" ")
        place = agents_cursor or None, int(skip)
    except (ValueError, binascii.Error):
        place = None, -1
    if place[1] < 0:
        raise Invalid.field("cursor", "is none that was given out by this listing")
    return place
