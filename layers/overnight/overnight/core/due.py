"""When the watchdog must look at an agent: the earliest moment at which something could be left undone."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from overnight.agents import Agent, AgentState

__all__ = ["GRACE", "TICK_GRACE", "look_at", "resend_after", "wanted_at"]

GRACE = timedelta(seconds=30)
"""How long whoever wrote something down has to carry it out, before the watchdog does."""

TICK_GRACE = timedelta(minutes=2)
"""How long after its time a tick may come from the alarm clock, before the watchdog fires it."""


def look_at(agent: Agent, state: AgentState) -> datetime | None:
    """When the watchdog is to look (UTC): as the state wants it, or to forget an agent that is deleted."""
    return wanted_at(agent, state) or agent.retain_until


def wanted_at(agent: Agent, state: AgentState) -> datetime | None:
    """The earliest moment (UTC) at which the agent's state wants a look, or None if it never does."""
    return min(_moments(agent, state), default=None)


def resend_after(looks: int) -> timedelta:
    """How long a pending execution waits for its worker before it is sent again: 20 s, doubling, at most 10 minutes."""
    return timedelta(seconds=min(20 * 2 ** min(looks, 10), 600))


def _moments(agent: Agent, state: AgentState) -> Sequence[datetime]:
    moments = [slot.look_at for slot in state.running.values()]
    moments += [waiting.expires_at for waiting in state.line if waiting.expires_at]
    moments += [since + GRACE for since in _under_way(state)]
    moments += [
        armed.next + _jitter(agent, trigger) + TICK_GRACE for trigger, armed in state.schedules.items() if armed.next
    ]
    if state.changed_at and (state.want_version != state.armed_version or state.trip):
        moments.append(state.changed_at + GRACE)
    return moments


def _under_way(state: AgentState) -> Iterator[datetime]:
    """Since when things are that somebody is carrying out."""
    for settlement in state.settle.values():
        yield settlement.since
    for plan in state.catch_up.values():
        yield plan.fixed_at
    for gathering in state.gathered.values():
        if not gathering.fired:
            yield gathering.frozen_at or gathering.due


def _jitter(agent: Agent, trigger: str) -> timedelta:
    """The most that the tick may be put off."""
    schedule = agent.document.schedules.get(trigger)
    return timedelta(seconds=getattr(schedule, "jitter_seconds", 0) or 0)
