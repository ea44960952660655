"""Agents as the API shows them."""

from collections.abc import Mapping
from typing import Literal

from aws_lambda_powertools.event_handler import Response
from pydantic import Field

from overnight.agents import Agent, AgentDocument, AgentState, AgentStatus
from overnight.api.answers import json_answer
from overnight.api.views import View
from overnight.core.living import living as alive
from overnight.ports import Ports
from overnight.triggers import Trigger
from overnight.words import Instant

__all__ = [
    "AgentList",
    "AgentStatusView",
    "AgentView",
    "Plan",
    "RunningView",
    "ScheduleStatusView",
    "agent_answer",
    "living",
]


class AgentView(AgentDocument):
    """An agent: its document, flat, and where it stands."""

    id: str
    version: int = Field(description="Grows with every edit; it is the ETag.")
    status: AgentStatus
    note: str | None = Field(description="Why it is paused, or what the error is.")
    changed_at: Instant | None = Field(description="When the status last changed.")
    created_at: Instant
    updated_at: Instant
    declared: bool = Field(description="Declared beside the CDK app: paused and triggered here, edited there.")
    last_run_at: Instant | None
    next_run_at: Instant | None = Field(description="The next tick of any armed schedule.")
    running: int = Field(description="How many attempts are under way.")
    waiting: int = Field(description="How many executions wait in the line.")

    @classmethod
    def of(cls, agent: Agent, state: AgentState) -> "AgentView":
        """The view of a stored agent; what is stored was validated, and isn't again."""
        return cls.model_construct(
            **dict(agent.document),
            id=agent.id,
            version=agent.version,
            status=state.status,
            note=state.note,
            changed_at=state.changed_at,
            created_at=agent.created_at,
            updated_at=agent.updated_at,
            declared=agent.declared,
            last_run_at=state.last_run_at,
            next_run_at=state.next_run_at,
            running=len(state.running),
            waiting=len(state.line),
        )


class AgentList(View):
    """A page of agents, by name."""

    items: list[AgentView]
    cursor: str | None = Field(description="Asks for the next page; null at the end.")


class RunningView(View):
    """An attempt under way."""

    execution_id: str
    attempt: int
    since: Instant


class ScheduleStatusView(View):
    """An armed schedule, and how far its ledger reaches."""

    trigger: str
    next_tick_at: Instant | None
    last_tick_at: Instant | None = Field(description="The last tick that has a record.")
    armed_since: Instant


class AgentStatusView(View):
    """Where an agent stands, in detail."""

    id: str
    name: str
    status: AgentStatus
    note: str | None
    changed_at: Instant | None
    last_run_at: Instant | None
    next_run_at: Instant | None
    running: list[RunningView]
    waiting: list[str] = Field(description="The executions in the line, the next one first.")
    schedules: list[ScheduleStatusView]
    failures: int = Field(description="Failed executions in a row.")

    @classmethod
    def of(cls, agent: Agent, state: AgentState) -> "AgentStatusView":
        """The view of an agent's state."""
        return cls(
            id=agent.id,
            name=agent.name,
            status=state.status,
            note=state.note,
            changed_at=state.changed_at,
            last_run_at=state.last_run_at,
            next_run_at=state.next_run_at,
            running=[
                RunningView(execution_id=execution_id, attempt=slot.attempt, since=slot.since)
                for execution_id, slot in state.running.items()
            ],
            waiting=[waiting.id for waiting in state.line],
            schedules=[
                ScheduleStatusView(
                    trigger=trigger, next_tick_at=armed.next, last_tick_at=armed.cursor, armed_since=armed.since
                )
                for trigger, armed in state.schedules.items()
            ],
            failures=state.failures,
        )


class Plan(View):
    """What an upsert would do."""

    action: Literal["create", "update", "unchanged"]
    changed: list[str] = Field(description="The fields of the document that differ.")
    of_flow: list[Trigger] = Field(
        default=[], description="The triggers that the flow's own nodes declare, where the document names none."
    )
    warnings: list[str] = Field(default=[], description="What of the flow won't work here, and what to use instead.")


def living(ports: Ports, ref: str) -> tuple[Agent, AgentState]:
    """The agent of that id or name with its state. Raises AgentNotFound, also for one that is deleted."""
    agent, state = ports.store.read(ref)
    return alive(agent, ref), state


def agent_answer(
    stored: tuple[Agent, AgentState], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response[str]:
    """An agent as JSON, with its ETag."""
    agent, state = stored
    return json_answer(AgentView.of(agent, state), status, {"ETag": agent.etag, **(headers or {})})
