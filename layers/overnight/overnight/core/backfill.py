"""Backfill: run the ticks of a range that did not run, on request."""

import hashlib
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from overnight.agents import Agent, AgentState, AgentStatus
from overnight.calendar.dates import format_instant
from overnight.core.fire import admit
from overnight.core.living import living
from overnight.errors import Invalid, NotActive
from overnight.executions import Firing, FiringKind, Status
from overnight.ports import ExecutionFilter, Ports
from overnight.triggers import Schedule

__all__ = ["MOST", "Backfill", "backfill"]

MOST = 1_000
"""The most ticks of one backfill."""


class Backfill(NamedTuple):
    """A plan, and, once it was carried out, its executions. The same request always has the same id."""

    id: str
    ticks: tuple[tuple[str, datetime], ...]
    left_out: int
    execution_ids: tuple[str, ...] = ()


def backfill(
    ports: Ports, ref: str, since: datetime, until: datetime, *, trigger: str | None = None, dry_run: bool = False
) -> Backfill:
    """Run the ticks in [since, until), UTC, of an agent's schedules, or of one of them; those that ran are left out.

    Asked for again, it goes on where it was interrupted: no tick runs twice.
    Raises AgentNotFound, NotActive, and Invalid (`trigger`, `until`).
    """
    agent, state = ports.store.read(ref)
    living(agent, ref)
    if state.status is not AgentStatus.ACTIVE and not dry_run:
        raise NotActive(agent.name, state.status)
    if until <= since:
        raise Invalid.field("until", "must be later than since")
    if until > ports.now():
        raise Invalid.field("until", "must not be in the future")
    identity = "\n".join((agent.id, format_instant(since), format_instant(until), trigger or ""))
    id_ = hashlib.sha256(identity.encode()).hexdigest()[:16]
    found: list[tuple[str, datetime]] = []
    left_out = 0
    for name, schedule in _chosen(agent, trigger).items():
        ran = _ran(ports, agent.id, name, since, until) | _backfilled(ports, agent.id, name, since, id_)
        armed = state.schedules.get(name)
        upcoming = armed.next if armed else None  # from there on, ticks will run by themselves
        anchor = state.anchors.get(name, agent.created_at)
        for tick in islice(schedule.calendar(anchor).runs(since, until), MOST + len(ran) + 1):
            if tick in ran or (upcoming and tick >= upcoming):
                left_out += 1
            else:
                found.append((name, tick))
    if len(found) > MOST:
        raise Invalid.field("until", f"the range has more than {MOST} ticks to run; choose a shorter one")
    found.sort(key=lambda item: item[1])
    plan = Backfill(id_, tuple(found), left_out)
    return plan if dry_run else _carried_out(ports, agent, state, plan)


def _chosen(agent: Agent, trigger: str | None) -> dict[str, Schedule]:
    schedules = agent.document.schedules
    if trigger is None:
        return schedules
    if trigger not in schedules:
        raise Invalid.field("trigger", f"agent {agent.name!r} has no schedule {trigger!r}")
    return {trigger: schedules[trigger]}


def _ran(ports: Ports, agent_id: str, trigger: str, since: datetime, until: datetime) -> set[datetime]:
    """The ticks whose record is not a skipped one."""
    ledger = ports.store.ticks(agent_id, trigger, since, until)
    return {tick.nominal for tick in ledger if tick.status is not Status.SKIPPED}


def _backfilled(ports: Ports, agent_id: str, trigger: str, since: datetime, id_: str) -> set[datetime]:
    """The ticks that another backfill has taken up; none of them before it was over."""
    where = ExecutionFilter(agent_id=agent_id, kinds=(FiringKind.BACKFILL,), trigger=trigger, since=since)
    ran: set[datetime] = set()
    cursor = None
    while True:
        page = ports.store.executions(where, cursor=cursor, limit=200)
        ran |= {row.nominal for row in page.items if row.nominal and not row.dedupe_key.startswith(f"backfill:{id_}:")}
        cursor = page.cursor
        if cursor is None:
            return ran


def _carried_out(ports: Ports, agent: Agent, state: AgentState, plan: Backfill) -> Backfill:
    ids = []
    for name, nominal in plan.ticks:
        armed = state.schedules.get(name)
        firing = Firing(
            agent_id=agent.id,
            kind=FiringKind.BACKFILL,
            dedupe_key=f"backfill:{plan.id}:{name}:{format_instant(nominal)}",
            trigger=name,
            nominal=nominal,
            version=armed.version if armed else None,
        )
        admitted = admit(ports, firing)
        if admitted is not None:
            ids.append(admitted.execution.id)
    return Backfill(plan.id, plan.ticks, plan.left_out, tuple(ids))
