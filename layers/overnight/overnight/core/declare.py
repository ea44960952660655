"""Agents that a stack declares: their definition comes with a deployment, their status is ruled at run time.

A deployment may be repeated, rolled back, or made over a table that an earlier stack left behind: seeding is the same
whatever was there before, and so is retiring.
"""

from dataclasses import replace
from datetime import datetime

from overnight.agents import Agent, AgentDocument, AgentState, AgentStatus
from overnight.core import lifecycle
from overnight.errors import AgentNotFound, OvernightError
from overnight.ports import Ports
from overnight.triggers import IntervalTrigger, Trigger

__all__ = ["rearm", "retire", "seed"]


def seed(ports: Ports, agent_id: str, document: AgentDocument) -> tuple[Agent, AgentState]:
    """Make the declared agent of that id what its document says; one that was retired takes up its history again.

    An agent that is there keeps its status: pausing and stopping are not the deployment's business. An interval that
    says no `start_at` begins with its first deployment, not with its first arming, as its schedule is deployed then.
    Raises Invalid (a date in the past, where it is new) and AgentExists (another agent has its name).
    """
    now = ports.now()
    try:
        stored = ports.store.agent(agent_id)
    except AgentNotFound:
        new = replace(ports, new_id=lambda: agent_id)
        return lifecycle.create(new, _anchored(document, {}, now), declared=True)
    document = _anchored(document, {trigger.name: trigger for trigger in stored.document.triggers}, now)
    if stored.deleted_at is not None:
        return lifecycle.revive(ports, agent_id, document)
    return lifecycle.edit(ports, agent_id, document)


def _anchored(document: AgentDocument, known: dict[str, Trigger], now: datetime) -> AgentDocument:
    """The document with a start for each interval: the one it had, if it is the same interval, else one from now."""
    triggers = []
    for trigger in document.triggers:
        if not isinstance(trigger, IntervalTrigger) or trigger.start_at is not None:
            triggers.append(trigger)
            continue
        before = known.get(trigger.name)
        if isinstance(before, IntervalTrigger) and before.model_copy(update={"start_at": None}) == trigger:
            triggers.append(before)
            continue
        start_at = now + trigger.interval.length
        begins = trigger.end_at is None or start_at <= trigger.end_at
        triggers.append(trigger.model_copy(update={"start_at": start_at}) if begins else trigger)
    return document.model_copy(update={"triggers": tuple(triggers)})


def retire(ports: Ports, agent_id: str) -> None:
    """Take a declared agent out of service, with its history kept; one that is not there is retired already."""
    try:
        lifecycle.delete(ports, agent_id)
    except AgentNotFound:
        return


def rearm(ports: Ports) -> int:
    """Arm all schedules anew, as a deployment may have moved what they call, or brought other time zones; how many.

    An agent that can't be armed is told of, and keeps no other from it.
    """
    armed = 0
    cursor = None
    while True:
        page = ports.store.agents(cursor=cursor)  # of all, as an index by status may lag behind
        for agent in (agent for agent, state in page.items if state.status is AgentStatus.ACTIVE):
            try:
                agent, state = lifecycle.rezone(ports, agent.id)  # noqa: PLW2901 - as it is now
                for trigger in state.schedules:
                    ports.clock.arm(agent, trigger, state)
                    armed += 1
            except OvernightError as error:
                ports.observe("agent.rearm_failed", agent=agent.name, agent_id=agent.id, error=str(error))
        cursor = page.cursor
        if cursor is None:
            return armed
