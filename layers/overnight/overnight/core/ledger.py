"""The tick ledger: every nominal tick of every armed schedule ends in exactly one record.

The cursor of a schedule is contiguous: it moves from the tick before T to T only, in the same write that records T. So
bringing the ledger up to date is a walk from the cursor: `step` says what the next record is, and `record` makes it an
admission that moves the cursor. Both are pure; `core.fire` carries them out.

    cursor ── next ── … ── until ── now
              │            └ the end of a catch-up plan, which is fixed once
              └ on time: through the gate; missed: by the plan
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from overnight.agents import Agent, AgentState, Armed, CatchUpPlan
from overnight.calendar.dates import format_instant
from overnight.calendar.ticks import Calendar
from overnight.core.decide import decide
from overnight.executions import Firing, FiringKind, Reason, execution_id
from overnight.ports import Admission, Transition

__all__ = [
    "ON_TIME",
    "Step",
    "alarm_at",
    "calendar_of",
    "on_time",
    "passed",
    "plan",
    "planned",
    "record",
    "step",
    "tick_key",
]

ON_TIME = timedelta(minutes=5)
"""A tick that is fired later than this is missed, and dealt with by its schedule's catch-up policy."""

MANY = 100
"""More like dispositions than this are one range record; no flow is told of more missed ticks."""

CHUNK = 100_000
"""The most ticks that one range record stands for."""


class Step(NamedTuple):
    """The next record of a ledger: the firing, and the last tick that it accounts for."""

    firing: Firing
    last: datetime


def tick_key(trigger: str, nominal: datetime) -> str:
    """The dedupe key of a tick."""
    return f"tick:{trigger}:{format_instant(nominal)}"


def calendar_of(agent: Agent, trigger: str, armed: Armed) -> Calendar:
    """The calendar of an armed schedule."""
    return agent.document.schedules[trigger].calendar(armed.anchor)


def alarm_at(agent: Agent, trigger: str, armed: Armed) -> datetime | None:
    """When the next tick is to be fired: its nominal instant and its jitter, UTC; None when there is no next one."""
    return None if armed.next is None else _fires_at(agent, trigger, calendar_of(agent, trigger, armed), armed.next)


def _fires_at(agent: Agent, trigger: str, calendar: Calendar, tick: datetime) -> datetime:
    if not calendar.jitter:
        return tick
    return tick + calendar.delay(f"{agent.id}/{trigger}", tick, calendar.next(tick))


def on_time(at: datetime, now: datetime) -> bool:
    """Whether a tick that was to be fired at that time, and is fired now, is neither early nor missed."""
    return at <= now <= at + ON_TIME


def plan(agent: Agent, trigger: str, armed: Armed, now: datetime) -> CatchUpPlan | None:
    """The plan for the ticks that were missed by now, or None if the next one wasn't."""
    at = alarm_at(agent, trigger, armed)
    if armed.next is None or at is None or now <= at + ON_TIME:
        return None
    schedule = agent.document.schedules[trigger]
    calendar = calendar_of(agent, trigger, armed)
    last = calendar.previous(now - ON_TIME)
    if last and now <= _fires_at(agent, trigger, calendar, last) + ON_TIME:  # it was put off by its jitter
        last = calendar.previous(last)
    until = max(armed.next, last) if last else armed.next
    if schedule.kind == "date":  # a missed one always runs
        return CatchUpPlan(mode="all", oldest=armed.next, until=until, fixed_at=now)
    window = timedelta(seconds=schedule.catch_up_window_seconds)  # type: ignore[union-attr]
    oldest = max(armed.next, now - window)
    return CatchUpPlan(mode=schedule.catch_up, oldest=oldest, until=until, fixed_at=now)  # type: ignore[union-attr]


def planned(state: AgentState, trigger: str, made: CatchUpPlan) -> Transition:
    """The state with the plan fixed."""
    return Transition(state.model_copy(update={"catch_up": {**state.catch_up, trigger: made}}))


def step(agent: Agent, trigger: str, armed: Armed, made: CatchUpPlan | None) -> Step:
    """The next record of the ledger, by the plan where there is one."""
    assert armed.next is not None  # noqa: S101 - the caller looked
    calendar = calendar_of(agent, trigger, armed)
    if made is None or armed.next > made.until:
        return _one(agent, trigger, armed, calendar, None)
    if made.mode == "skip" or armed.next < made.oldest:
        end = made.until if made.mode == "skip" else min(made.until, made.oldest - datetime.resolution)
        return _many(agent, trigger, armed, calendar, end, Reason.MISSED)
    if made.mode == "all" and not calendar.is_excluded(armed.next):
        return _one(agent, trigger, armed, calendar, None)
    winner = _winner(calendar, armed.next, made) if made.mode == "coalesce" else None
    if winner is None:  # nothing but excluded ticks
        return _many(agent, trigger, armed, calendar, made.until, Reason.MISSED)
    if armed.next < winner:
        into = execution_id(agent.id, tick_key(trigger, winner))
        return _many(agent, trigger, armed, calendar, winner - datetime.resolution, Reason.COALESCED, into)
    missed = () if armed.next > winner else _told(calendar, made, winner)
    return _one(agent, trigger, armed, calendar, None, missed)


def _winner(calendar: Calendar, first: datetime, made: CatchUpPlan) -> datetime | None:
    """The newest missed tick that is not excluded: the one that runs for all."""
    tick: datetime | None = made.until
    while tick is not None and tick >= first:
        if not calendar.is_excluded(tick):
            return tick
        tick = calendar.previous(tick)
    return None


def _told(calendar: Calendar, made: CatchUpPlan, winner: datetime) -> tuple[datetime, ...]:
    """The ticks that were coalesced into the winner, the newest hundred of them, oldest first."""
    told: list[datetime] = []
    tick = calendar.previous(winner)
    while tick is not None and tick >= made.oldest and len(told) < MANY:
        if not calendar.is_excluded(tick):
            told.append(tick)
        tick = calendar.previous(tick)
    return tuple(reversed(told))


def _one(
    agent: Agent,
    trigger: str,
    armed: Armed,
    calendar: Calendar,
    disposition: Reason | None,
    missed: tuple[datetime, ...] = (),
    into: str | None = None,
) -> Step:
    """The record of the next tick alone."""
    nominal = armed.next
    assert nominal is not None  # noqa: S101
    excluded = Reason.EXCLUDED if calendar.is_excluded(nominal) else None
    firing = Firing(
        agent_id=agent.id,
        kind=FiringKind.SCHEDULE,
        dedupe_key=tick_key(trigger, nominal),
        trigger=trigger,
        nominal=nominal,
        previous=armed.cursor,
        version=armed.version,
        missed_ticks=missed,
        disposition=excluded or disposition,
        into=None if excluded else into,
    )
    return Step(firing, nominal)


def _many(
    agent: Agent,
    trigger: str,
    armed: Armed,
    calendar: Calendar,
    end: datetime,
    reason: Reason,
    into: str | None = None,
) -> Step:
    """The record of all like ticks up to `end`, if they are many; else that of the next one."""
    alike = list(islice(_alike(calendar, armed.next, end), CHUNK))
    if len(alike) <= MANY:
        return _one(agent, trigger, armed, calendar, reason, into=into)
    first, last = alike[0], alike[-1]
    excluded = calendar.is_excluded(first)
    firing = Firing(
        agent_id=agent.id,
        kind=FiringKind.SCHEDULE,
        dedupe_key=f"{tick_key(trigger, first)}..{format_instant(last)}",
        trigger=trigger,
        nominal=first,
        until=last,
        count=len(alike),
        previous=armed.cursor,
        version=armed.version,
        disposition=Reason.EXCLUDED if excluded else reason,
        into=None if excluded else into,
    )
    return Step(firing, last)


def _alike(calendar: Calendar, first: datetime | None, end: datetime) -> Iterator[datetime]:
    """The ticks from the first one to the end that are excluded as it is, or not excluded as it is."""
    assert first is not None  # noqa: S101
    excluded = calendar.is_excluded(first)
    for tick in calendar.ticks(first, end + datetime.resolution):
        if calendar.is_excluded(tick) != excluded:
            return
        yield tick


def record(agent: Agent, state: AgentState, made: Step, now: datetime) -> Admission | None:
    """The admission of that step, with the cursor moved; None when the ledger is elsewhere by now."""
    firing = made.firing
    trigger = firing.trigger or ""
    armed = state.schedules.get(trigger)
    if armed is None or armed.next != firing.nominal or armed.version != firing.version:
        return None
    admission = decide(agent, state, firing, now)
    if admission is None:
        return None
    return Admission(admission.execution, _moved(agent, admission.transition, trigger, armed, made.last))


def passed(agent: Agent, state: AgentState, made: Step) -> Transition | None:
    """The cursor moved past a step that has its record already: after a clock that was set back."""
    trigger = made.firing.trigger or ""
    armed = state.schedules.get(trigger)
    if armed is None or armed.next != made.firing.nominal:
        return None
    return _moved(agent, Transition(state), trigger, armed, made.last)


def _moved(agent: Agent, transition: Transition, trigger: str, armed: Armed, cursor: datetime) -> Transition:
    upcoming = calendar_of(agent, trigger, armed).next(cursor)
    moved = armed.model_copy(update={"cursor": cursor, "next": upcoming})
    state = transition.state
    made = state.catch_up.get(trigger)
    catch_up = state.catch_up
    if made and (upcoming is None or upcoming > made.until):
        catch_up = {other: kept for other, kept in state.catch_up.items() if other != trigger}
    update = {"schedules": {**state.schedules, trigger: moved}, "catch_up": catch_up}
    return Transition(state.model_copy(update=update), transition.sends)
