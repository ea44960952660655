"""Verify: prove from the records that nothing was lost, doubled or left stuck.

The ticks of every armed period are computed again and compared with the ledger, and every execution that is not
terminal must be reachable: from its agent's running set, from its line, or by a due time of its own.

    hole          a tick of an armed period without a record
    double        a tick with more than one record
    stray         a record of an instant that is no tick of any armed period
    unverifiable  armed under another release of tzdata, and the records don't prove themselves by naming each other
    unreachable   an execution that nothing will ever carry on
    twofold       an execution that is reachable in two ways at once
    stuck         something that was due, and that nobody did in time
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from overnight.agents import Agent, AgentState, ArmedPeriod
from overnight.calendar.dates import format_instant
from overnight.calendar.zones import tzdata_version
from overnight.core.due import wanted_at
from overnight.errors import AgentNotFound, ExecutionNotFound
from overnight.executions import Execution, Status
from overnight.ports import Store, Tick

__all__ = ["SETTLING", "Finding", "Report", "verify"]

SETTLING = timedelta(minutes=4)
"""What is younger than this may be under way: the watchdog's grace, a look, and the bound of its recovery."""

MOST = 1_000
"""The most findings that one report lists."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be."""

    kind: str
    agent: str
    message: str
    trigger: str | None = None
    at: datetime | None = None
    execution_id: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at, and what was found."""

    agents: int
    ticks: int
    executions: int
    findings: tuple[Finding, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


@dataclass(frozen=True, slots=True)
class _Span:
    """What is looked at: ticks in [since, until), and of periods that are still open none from `settled` on."""

    now: datetime
    since: datetime
    until: datetime
    settled: datetime


@dataclass(slots=True)
class _Count:
    agents: int = 0
    ticks: int = 0
    executions: int = 0


def verify(
    store: Store,
    now: datetime,
    since: datetime,
    until: datetime,
    *,
    agent: str | None = None,
    settling: timedelta = SETTLING,
) -> Report:
    """Check every agent, the deleted ones too, or one of them, over [since, until), UTC.

    Args:
        store: what is checked.
        now: the time.
        since: ticks from here on; what an agent's retention has passed is left out.
        until: ticks before it, and not those of the last moments, which may still be under way.
        agent: an id or a name.
        settling: how old something must be to count as left behind.

    Raises AgentNotFound.
    """
    count = _Count()
    findings = list(islice(_findings(store, now, since, until, agent, settling, count), MOST))
    return Report(count.agents, count.ticks, count.executions, tuple(findings))


def _findings(
    store: Store,
    now: datetime,
    since: datetime,
    until: datetime,
    ref: str | None,
    settling: timedelta,
    count: _Count,
) -> Iterator[Finding]:
    states: dict[str, AgentState] = {}
    for agent, state in _agents(store, ref):
        count.agents += 1
        states[agent.id] = state
        yield from _ledger(store, agent, state, _Span(now, since, until, now - settling), count)
        yield from _overdue(agent, state, now - settling)
        yield from _slots(store, agent, state, now - settling)
    yield from _executions(store, states, now, now - settling, count, everything=ref is None)


def _agents(store: Store, ref: str | None) -> Iterator[tuple[Agent, AgentState]]:
    if ref is not None:
        yield store.read(ref)
        return
    cursor = None
    while True:
        page = store.agents(cursor=cursor, limit=500, deleted=True)
        yield from page.items
        cursor = page.cursor
        if cursor is None:
            return


def _ledger(store: Store, agent: Agent, state: AgentState, span: _Span, count: _Count) -> Iterator[Finding]:
    """The armed periods of an agent against its records."""
    since = max(span.since, span.now - timedelta(days=agent.document.retention_days))
    if span.until <= since:
        return
    span = _Span(span.now, since, span.until, span.settled)
    periods: dict[str, list[ArmedPeriod]] = {}
    for period in store.periods(agent.id, since, span.until):
        periods.setdefault(period.trigger, []).append(period)
    for trigger, armed in periods.items():
        yield from _trigger(store, agent, trigger, armed, span, count)
    for trigger, made in state.catch_up.items():
        if made.fixed_at < span.settled:
            yield Finding("stuck", agent.name, "a catch-up plan was not carried out", trigger, made.fixed_at)


def _trigger(
    store: Store, agent: Agent, trigger: str, periods: list[ArmedPeriod], span: _Span, count: _Count
) -> Iterator[Finding]:
    since, until = span.since, span.until
    records = [r for r in store.ticks(agent.id, trigger, since, until) if r.nominal < until or r.until]
    ranges = [record for record in records if record.until]
    yield from _doubles(agent, trigger, records, ranges)
    covered = {record.nominal for record in records}
    expected: set[datetime] = set()
    foreign = []
    for period in periods:
        first = max(period.since + datetime.resolution, since)
        # A period was closed only when its ledger was complete; an open one's last ticks may be under way.
        end = min(period.until + datetime.resolution, until) if period.until else until
        settled = end if period.until else min(until, span.settled)
        if period.tzdata != tzdata_version():
            foreign.append((first, end))
            continue
        for tick in period.definition.calendar(period.anchor).ticks(first, end):
            expected.add(tick)
            if tick < settled:
                count.ticks += 1
                if tick not in covered and not _in_range(ranges, tick):
                    yield Finding("hole", agent.name, f"no record of the tick {format_instant(tick)}", trigger, tick)
    yield from _chain(agent, trigger, [r for r in records if any(a <= r.nominal < b for a, b in foreign)], since)
    for record in records:
        if record.nominal in expected or record.nominal < since or record.until:
            continue
        if any(first <= record.nominal < end for first, end in foreign):
            continue
        yield Finding(
            "stray",
            agent.name,
            f"{format_instant(record.nominal)} is no tick of an armed period",
            trigger,
            record.nominal,
            record.execution_id,
        )


def _doubles(agent: Agent, trigger: str, records: list[Tick], ranges: list[Tick]) -> Iterator[Finding]:
    times = Counter(record.nominal for record in records)
    for record in records:
        inside = any(
            other is not record and other.until and other.nominal <= record.nominal <= other.until for other in ranges
        )
        if times[record.nominal] > 1 or inside:
            message = f"the tick {format_instant(record.nominal)} has more than one record"
            yield Finding("double", agent.name, message, trigger, record.nominal, record.execution_id)


def _in_range(ranges: list[Tick], tick: datetime) -> bool:
    return any(record.until and record.nominal <= tick <= record.until for record in ranges)


def _chain(agent: Agent, trigger: str, records: list[Tick], since: datetime) -> Iterator[Finding]:
    """Under another tzdata the records prove themselves: each names the one before it."""
    before: Tick | None = None
    for record in records:
        last = (before.until or before.nominal) if before else None
        if record.previous is not None and record.previous >= since and record.previous != last:
            yield Finding(
                "unverifiable",
                agent.name,
                f"{format_instant(record.nominal)} names {format_instant(record.previous)} before it, which is missing",
                trigger,
                record.nominal,
                record.execution_id,
            )
        before = record


def _overdue(agent: Agent, state: AgentState, before: datetime) -> Iterator[Finding]:
    """What the state says was to be looked at, and wasn't."""
    due = wanted_at(agent, state)
    if due is not None and due < before:
        yield Finding("stuck", agent.name, f"nobody has looked at the agent since {format_instant(due)}", at=due)


def _slots(store: Store, agent: Agent, state: AgentState, before: datetime) -> Iterator[Finding]:
    """Slots and places in the line whose execution has none, is over, or is in both."""
    waiting = [entry.id for entry in state.line]
    for id_ in waiting:
        if waiting.count(id_) > 1 or id_ in state.running:
            yield Finding("twofold", agent.name, "it waits in the line and has a place already", execution_id=id_)
    for id_, slot in state.running.items():
        try:
            execution = store.execution(id_)
        except ExecutionNotFound:
            yield Finding("stuck", agent.name, "a slot is held by an execution that does not exist", execution_id=id_)
            continue
        # A cancelled attempt holds its slot as long as its lease.
        ends = (execution.finished_at, execution.lease.until if execution.lease else None)
        if execution.status.terminal and all(end < before for end in ends if end):
            message = f"it is {execution.status} and still holds a slot"
            yield Finding("stuck", agent.name, message, at=slot.since, execution_id=id_)


def _executions(
    store: Store, states: dict[str, AgentState], now: datetime, before: datetime, count: _Count, *, everything: bool
) -> Iterator[Finding]:
    """Every execution that is not terminal is reachable in exactly one way."""
    cursor = None
    while True:
        page = store.unfinished(cursor=cursor)
        for row in page.items:
            if everything or row.agent_id in states:
                count.executions += 1
                yield from _reachable(store, states, row, now, before)
        cursor = page.cursor
        if cursor is None:
            return


def _reachable(
    store: Store, states: dict[str, AgentState], row: Execution, now: datetime, before: datetime
) -> Iterator[Finding]:
    if _ways(states.get(row.agent_id), row) == 1 and not _late(row, before):
        return
    row, state = _steady(store, row)
    if row.status.terminal:
        return
    ways = _ways(state, row)
    since = row.attempt_started_at or row.created_at
    if ways == 0:
        yield Finding("unreachable", row.agent, f"it is {row.status}, and nothing carries it on", execution_id=row.id)
    elif ways > 1 and not _being_claimed(row, now, before):
        yield Finding("twofold", row.agent, f"it is {row.status}, and reachable in {ways} ways", execution_id=row.id)
    elif _late(row, before):
        yield Finding("stuck", row.agent, f"it is {row.status} for too long", at=since, execution_id=row.id)


def _steady(store: Store, row: Execution) -> tuple[Execution, AgentState | None]:
    """The execution and its agent's state as they were at one moment: the row did not change around the state."""
    state: AgentState | None = None
    for _ in range(10):
        try:
            before = store.execution(row.id)
            _, state = store.read(row.agent_id)
            row = store.execution(row.id)
        except AgentNotFound:
            return row, None
        if before.rev == row.rev:
            break
    return row, state


def _ways(state: AgentState | None, row: Execution) -> int:
    """In how many ways it is reachable. A slot of an attempt that has ended is about to be released, and carries
    nothing on.
    """
    slot = state.running.get(row.id) if state else None
    running = slot is not None and (row.status is Status.RUNNING or slot.attempt > row.attempt)
    waiting = bool(state and any(entry.id == row.id for entry in state.line))
    settling = bool(state and row.id in state.settle and not running)
    return running + waiting + settling + (row.due is not None)


def _being_claimed(row: Execution, now: datetime, before: datetime) -> bool:
    """Whether it is due by itself, and since a moment ago: then it may have its place in the state already.

    A store that writes them one after the other (`readmit`) may be between the two.
    """
    return row.due is not None and before <= row.due <= now


def _late(row: Execution, before: datetime) -> bool:
    """Whether its lease, or its own due time, is over for so long that somebody should have seen it."""
    if row.status is Status.RUNNING and row.lease:
        return row.lease.until < before
    return row.due is not None and row.due < before
