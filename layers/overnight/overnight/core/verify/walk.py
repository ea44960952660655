"""The walk over what is verified, in pages: agent by agent with their ledgers, then what is not terminal."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby

from overnight import cursors
from overnight.agents import Agent, AgentState, ArmedPeriod
from overnight.calendar.dates import format_instant
from overnight.core.due import wanted_at
from overnight.core.verify.findings import Finding, Report, Span
from overnight.core.verify.ledgers import Ledger, ledgers
from overnight.core.verify.reach import reachable, slots
from overnight.errors import Invalid
from overnight.executions import Stretch
from overnight.ports import Store

__all__ = ["SETTLING", "verify", "verify_page"]

SETTLING = timedelta(minutes=4)
"""What is younger than this may be under way: the watchdog's grace, a look, and the bound of its recovery."""

MOST = 1_000
"""The most findings after which the walk ends."""

AGENTS = 250
"""How many agents one page looks at, at most."""

TICKS = 5_000
"""How many ticks and slots one page looks at, at most."""

EXECUTIONS = 500
"""How many executions that are not terminal one page looks at, at most."""


def verify(
    store: Store,
    now: datetime,
    since: datetime,
    until: datetime,
    *,
    agent: str | None = None,
    settling: timedelta = SETTLING,
) -> Report:
    """Check every agent, the deleted ones too, or one of them, over [since, until), UTC: page after page.

    It ends early, with a cursor, when it has found a thousand things. Arguments and errors are those of `verify_page`.
    """
    report = verify_page(store, now, since, until, agent=agent, settling=settling)
    while report.cursor is not None and len(report.findings) < MOST:
        page = verify_page(store, now, since, until, agent=agent, settling=settling, cursor=report.cursor)
        report = report.followed_by(page)
    return report


def verify_page(
    store: Store,
    now: datetime,
    since: datetime,
    until: datetime,
    *,
    agent: str | None = None,
    settling: timedelta = SETTLING,
    cursor: str | None = None,
) -> Report:
    """Check as much as is quickly done, from the cursor on; the report's own cursor asks for the rest.

    Args:
        store: what is checked.
        now: the time.
        since: ticks from here on; what an agent's retention has passed is left out.
        until: ticks before it, and not those of the last moments, which may still be under way.
        agent: an id or a name; every agent, the deleted ones too, if not given.
        settling: how old something must be to count as left behind.
        cursor: that of the page before, of the same agent and range.

    Raises AgentNotFound, Invalid (cursor).
    """
    page = _Page(store, Span(now, since, until, now - settling), agent)
    place: _Place | None = _Place.of(cursor)
    if place and not place.among_executions:
        place = page.look_at_agents(place)
    if place and place.among_executions:
        place = page.look_at_executions(place)
    return Report(
        page.agents, page.ticks, page.executions, tuple(page.findings), place.cursor if place is not None else None
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the walk goes on: at which page of the store, and there with which agent, and at what time of its ledgers.

    Agents come first, and then executions.
    """

    among_executions: bool = False
    page: str | None = None
    agent_id: str = ""
    at: datetime | None = None

    @property
    def cursor(self) -> str:
        """The place as a cursor."""
        stage = "executions" if self.among_executions else "agents"
        return cursors.encode(stage, self.page or "", self.agent_id, self.at.isoformat() if self.at else "")

    @classmethod
    def of(cls, cursor: str | None) -> "_Place":
        """The place of a cursor. Raises Invalid."""
        if cursor is None:
            return cls()
        stage, page, agent_id, at = map(str, cursors.decode(cursor, str, str, str, str))
        try:
            time = datetime.fromisoformat(at) if at else None
        except ValueError:
            stage, time = "", None
        if stage not in {"agents", "executions"} or (time is not None and time.tzinfo is None):
            raise Invalid.field("cursor", cursors.NONE)
        return cls(stage == "executions", page or None, agent_id, time)


@dataclass(slots=True)
class _Page:
    """One page of the walk: what was looked at, and what was found."""

    store: Store
    span: Span
    ref: str | None
    agents: int = 0
    ticks: int = 0
    executions: int = 0
    findings: list[Finding] = field(default_factory=list)

    def look_at_agents(self, place: _Place) -> _Place:
        """Look at agents, their states and ledgers; where to go on."""
        agents, following = self._agents(place)
        periods = self._periods(agents)
        stretches: list[tuple[Agent, AgentState, bool, Sequence[Ledger]]] = []
        room = TICKS
        for agent, state in agents:
            at = place.at if agent.id == place.agent_id else None
            made, cut = self._ledgers(agent, periods.get(agent.id, ()), at, room)
            if cut is not None and stretches:
                following = _Place(page=place.page, agent_id=agent.id, at=at)
                break
            stretches.append((agent, state, at is None, made))
            if cut is not None:
                following = _Place(page=place.page, agent_id=agent.id, at=cut)
                break
            room = max(0, room - sum(ledger.ticks for ledger in made) - len(state.running))
        self._compare(ledger for *_, made in stretches for ledger in made)
        self._check([(agent, state) for agent, state, first, _ in stretches if first])
        return following

    def look_at_executions(self, place: _Place) -> _Place | None:
        """Look at what is not terminal; where to go on."""
        page = self.store.unfinished(cursor=place.page, limit=EXECUTIONS)
        only = self.store.agent(self.ref).id if self.ref is not None else None
        rows = [row for row in page.items if only in (None, row.agent_id)]
        states = self.store.states({row.agent_id for row in rows})
        for row in rows:
            self.findings += reachable(self.store, row, states.get(row.agent_id), self.span)
        self.executions += len(rows)
        return _Place(among_executions=True, page=page.cursor) if page.cursor is not None else None

    def _agents(self, place: _Place) -> tuple[Sequence[tuple[Agent, AgentState]], _Place]:
        """The agents to look at, and where those after them are."""
        if self.ref is not None:
            return [self.store.read(self.ref)], _Place(among_executions=True)
        page = self.store.agents(cursor=place.page, limit=AGENTS, deleted=True)
        agents = [(agent, state) for agent, state in page.items if agent.id >= place.agent_id]
        return agents, _Place(page=page.cursor) if page.cursor is not None else _Place(among_executions=True)

    def _periods(self, agents: Sequence[tuple[Agent, AgentState]]) -> Mapping[str, Sequence[ArmedPeriod]]:
        found = self.store.periods([agent.id for agent, _ in agents], self.span.since, self.span.until)
        return {agent_id: list(periods) for agent_id, periods in groupby(found, key=lambda period: period.agent_id)}

    def _ledgers(
        self, agent: Agent, periods: Sequence[ArmedPeriod], at: datetime | None, most: int
    ) -> tuple[list[Ledger], datetime | None]:
        """What its ledgers must be, from that time on where it is said; and where they were cut."""
        span = self.span.kept(agent.document.retention_days)
        begin = max(span.since, at) if at else span.since
        touching = [period for period in periods if period.until is None or period.until >= begin]
        return ledgers(agent, touching, span, begin, most) if begin < span.until else ([], None)

    def _compare(self, made: Iterable[Ledger]) -> None:
        """Compare ledgers as they must be with what is there."""
        made = list(made)
        records = self.store.ledgers([ledger.stretch for ledger in made])
        for ledger in made:
            self.ticks += len(ledger.owed)
            self.findings += ledger.findings(records.get(ledger.stretch, ()), self._touched)

    def _touched(self, stretch: Stretch) -> bool:
        return bool(self.store.ledgers([stretch]).get(stretch))

    def _check(self, agents: Sequence[tuple[Agent, AgentState]]) -> None:
        """Check what states say by themselves, and their slots."""
        running = self.store.each_execution([id_ for _, state in agents for id_ in state.running])
        for agent, state in agents:
            self.agents += 1
            self.findings += _overdue(agent, state, self.span.settled)
            self.findings += slots(agent, state, running, self.span.settled)


def _overdue(agent: Agent, state: AgentState, before: datetime) -> Iterator[Finding]:
    """What the state says was to be looked at, or carried out, and wasn't."""
    for trigger, plan in state.catch_up.items():
        if plan.fixed_at < before:
            yield Finding("stuck", agent.name, "a catch-up plan was not carried out", trigger, plan.fixed_at)
    due = wanted_at(agent, state)
    if due is not None and due < before:
        yield Finding("stuck", agent.name, f"nobody has looked at the agent since {format_instant(due)}", at=due)
