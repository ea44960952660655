"""An agent's life: create, edit, start, stop, pause, resume, delete. The record first; schedules follow.

Every change is one write of agent, state and armed periods. A change that closes an armed period is made only when the
ledger has a record of every tick up to that moment: until then it raises `_Behind` inside, the ledger is walked, and
the change tried again. Then the alarm clock is brought in line: `want_version` in the record, then the clock, then
`armed_version`.
"""

from collections.abc import Callable
from datetime import datetime

from overnight.agents import Agent, AgentDocument, AgentState, AgentStatus, Armed, ArmedPeriod
from overnight.calendar.errors import CalendarError
from overnight.calendar.zones import tzdata_version
from overnight.core import batches
from overnight.core.decide import cancel_all_running, empty_line, promote
from overnight.core.fire import walk
from overnight.core.living import living
from overnight.core.settle import settle
from overnight.errors import AgentStopped, EditConflict, Invalid, OvernightError
from overnight.executions import Reason
from overnight.ports import Change, Ports, Transition
from overnight.triggers import DateTrigger, Schedule

__all__ = ["arm", "create", "delete", "edit", "fail", "pause", "resume", "revive", "rezone", "start", "stop"]

Changed = tuple[Agent, AgentState]


class _Behind(Exception):
    """The ledger of a schedule that is about to be closed lags behind."""

    def __init__(self, trigger: str) -> None:
        self.trigger = trigger


def create(ports: Ports, document: AgentDocument, *, declared: bool = False) -> Changed:
    """Store a new agent, and arm it if it is `enabled`.

    Raises Invalid (a date in the past) and AgentExists.
    """
    now = ports.now()
    _refuse_past_dates(document, {}, now)
    agent = Agent(id=ports.new_id(), document=document, created_at=now, updated_at=now, declared=declared)
    state = AgentState(agent_id=agent.id, changed_at=now)
    change = _changed(agent, agent, state, AgentStatus.STOPPED, now)
    if document.enabled:
        change = _changed(agent, agent, state, AgentStatus.ACTIVE, now)
    ports.store.create_agent(change)
    status = change.transition.state.status
    ports.observe("agent.created", agent=agent.name, agent_id=agent.id, status=status, flow=document.flow.kind)
    return _followed(ports, change)


def edit(ports: Ports, ref: str, document: AgentDocument, *, if_match: int | None = None) -> Changed:
    """Replace an agent's document; only triggers that changed are armed anew. The status stays.

    Raises AgentNotFound, Invalid, EditConflict when `if_match` is not the present version, AgentExists when the new
    name is taken.
    """

    def move(agent: Agent, state: AgentState, now: datetime) -> Change | None:
        if if_match is not None and agent.version != if_match:
            raise EditConflict(agent.name, agent.version)
        wanted = document.model_copy(update={"enabled": agent.document.enabled})
        if wanted == agent.document:
            return None
        _refuse_past_dates(document, agent.document.schedules, now)
        after = agent.model_copy(update={"document": wanted, "version": agent.version + 1, "updated_at": now})
        return _changed(agent, after, state, state.status, now, "edited")

    return _change(ports, ref, move, "agent.edited")


def start(ports: Ports, ref: str) -> Changed:
    """Make an agent active, whatever it was. Raises AgentNotFound."""
    return _change(ports, ref, _to(AgentStatus.ACTIVE), "agent.started")


def resume(ports: Ports, ref: str) -> Changed:
    """Make a paused agent active again, and let in what waits. Raises AgentNotFound, AgentStopped."""

    def move(agent: Agent, state: AgentState, now: datetime) -> Change | None:
        if state.status is AgentStatus.STOPPED:
            raise AgentStopped(agent.name)
        return _to(AgentStatus.ACTIVE)(agent, state, now)

    return _change(ports, ref, move, "agent.resumed")


def pause(ports: Ports, ref: str, *, note: str | None = None) -> Changed:
    """Disarm an agent; what is in the line waits. Raises AgentNotFound, AgentStopped."""

    def move(agent: Agent, state: AgentState, now: datetime) -> Change | None:
        if state.status is AgentStatus.STOPPED:
            raise AgentStopped(agent.name)
        return _to(AgentStatus.PAUSED, "paused", note)(agent, state, now)

    return _change(ports, ref, move, "agent.paused")


def stop(ports: Ports, ref: str, *, cancel_running: bool = False) -> Changed:
    """Disarm an agent and cancel what is in the line; running attempts end, or are cancelled. Raises AgentNotFound."""

    def move(agent: Agent, state: AgentState, now: datetime) -> Change | None:
        if cancel_running:
            state = cancel_all_running(state, Reason.STOPPED, now)
        elif state.status is AgentStatus.STOPPED and not state.line and not state.gathered:
            return None
        state = empty_line(state, Reason.STOPPED, now)
        return _changed(agent, agent, state, AgentStatus.STOPPED, now, "stopped")

    return _change(ports, ref, move, "agent.stopped")


def fail(ports: Ports, ref: str, reason: str) -> Changed:
    """Put an agent into ERROR: it could not be armed, or failed too often in a row. Raises AgentNotFound."""

    def move(agent: Agent, state: AgentState, now: datetime) -> Change | None:
        if state.status is not AgentStatus.ACTIVE:
            return None
        return _changed(agent, agent, state, AgentStatus.ERROR, now, "error", note=reason)

    return _change(ports, ref, move, "agent.error")


def rezone(ports: Ports, ref: str) -> Changed:
    """Arm anew what was armed under another release of tzdata, so that each period says what it was computed by."""

    def move(agent: Agent, state: AgentState, now: datetime) -> Change | None:
        if all(armed.tzdata == tzdata_version() for armed in state.schedules.values()):
            return None
        return _changed(agent, agent, state, state.status, now, "edited")

    return _change(ports, ref, move, "agent.rezoned")


def delete(ports: Ports, ref: str, *, if_match: int | None = None) -> None:
    """Disarm an agent and retire it; its history stays until its retention has passed.

    Raises AgentNotFound and EditConflict.
    """

    def move(agent: Agent, state: AgentState, now: datetime) -> Change | None:
        if if_match is not None and agent.version != if_match:
            raise EditConflict(agent.name, agent.version)
        after = agent.model_copy(update={"deleted_at": now, "updated_at": now})
        return _changed(agent, after, empty_line(state, Reason.DELETED, now), AgentStatus.STOPPED, now, "deleted")

    _change(ports, ref, move, "agent.deleted")


def revive(ports: Ports, ref: str, document: AgentDocument) -> Changed:
    """Take a retired agent up again, with its history, under this document. Raises AgentNotFound and AgentExists."""

    def move(agent: Agent, state: AgentState, now: datetime) -> Change | None:
        if agent.deleted_at is None:
            return None
        update = {"document": document, "version": agent.version + 1, "updated_at": now, "deleted_at": None}
        status = AgentStatus.ACTIVE if document.enabled else AgentStatus.STOPPED
        return _changed(agent, agent.model_copy(update=update), state, status, now)

    return _change(ports, ref, move, "agent.revived", of_retired=True)


Move = Callable[[Agent, AgentState, datetime], Change | None]


def _to(status: AgentStatus, ended: str = "error", note: str | None = None) -> Move:
    def move(agent: Agent, state: AgentState, now: datetime) -> Change | None:
        if state.status is status and (note is None or state.note == note):
            return None
        return _changed(agent, agent, state, status, now, ended, note=note)

    return move


def _change(ports: Ports, ref: str, move: Move, happened: str, *, of_retired: bool = False) -> Changed:
    """Make the change, as soon as the ledger allows it, and carry out what follows from it."""
    agent_id = ports.store.agent(ref).id
    while True:
        now = ports.now()

        def moved(agent: Agent, state: AgentState, now: datetime = now) -> Change | None:
            return move(agent if of_retired else living(agent, ref), state, now)

        try:
            changed = ports.store.change_agent(agent_id, moved)
        except _Behind as behind:
            walk(ports, agent_id, behind.trigger, closing=True)
            continue
        if changed is None:
            return ports.store.read(agent_id)
        change, unsent = changed
        if unsent:
            ports.queue.send(unsent)
        state = change.transition.state
        ports.observe(
            happened,
            agent=change.agent.name,
            agent_id=agent_id,
            status=state.status,
            note=state.note,
            flow=change.agent.document.flow.kind,
        )
        return _followed(ports, change)


def _followed(ports: Ports, change: Change) -> Changed:
    """What follows from a change: what it displaced is marked, and the clock brought in line."""
    agent = change.agent
    if change.transition.state.settle:
        settle(ports, agent.id)
    if change.transition.state.gathered:
        batches.close_due(ports, agent.id)
    arm(ports, agent.id, also=tuple(period.trigger for period in change.periods))
    return ports.store.read(agent.id)


def arm(ports: Ports, agent_id: str, *, also: tuple[str, ...] = ()) -> None:
    """Bring the alarm clock in line with the record: arm what is to be armed, disarm the rest; then say so.

    An agent that can't be armed goes into ERROR, with the reason; a failure to disarm is told, and never more.
    """
    agent, state = ports.store.read(agent_id)
    if state.want_version == state.armed_version:
        return
    for trigger in {*agent.document.schedules, *also} - set(state.schedules):
        try:
            ports.clock.disarm(agent_id, trigger)
        except OvernightError as error:
            # A tick of what is not armed is dropped when it comes, and disarms itself.
            ports.observe("agent.disarm_failed", agent=agent.name, agent_id=agent_id, trigger=trigger, error=str(error))
    try:
        for trigger in state.schedules:
            ports.clock.arm(agent, trigger, state)
    except OvernightError as error:
        fail(ports, agent_id, f"could not be armed: {error}")
        return
    version = state.want_version

    def done(agent: Agent, state: AgentState) -> Transition | None:  # noqa: ARG001
        if state.armed_version >= version:
            return None
        return Transition(state.model_copy(update={"armed_version": version}))

    ports.store.transition(agent_id, done)


def _changed(
    before: Agent,
    after: Agent,
    state: AgentState,
    status: AgentStatus,
    now: datetime,
    ended: str = "error",
    *,
    note: str | None = None,
) -> Change:
    """The agent, its state and its armed periods once it has that status and that definition.

    Raises _Behind when a period would be closed whose ledger lags.
    """
    wanted = after.document.schedules if status is AgentStatus.ACTIVE else {}
    defined = before.document.schedules
    kept = {
        name: armed
        for name, armed in state.schedules.items()
        if name in wanted and defined.get(name) == wanted[name] and armed.tzdata == tzdata_version()
    }
    version = state.want_version + 1
    periods = []
    for name, armed in state.schedules.items():
        if name in kept:
            continue
        if armed.next is not None and armed.next <= now:
            raise _Behind(name)
        # Where the clock was set back, the ledger reaches further than the time.
        until = max(now, armed.cursor or armed.since)
        periods.append(_period(after.id, name, defined[name], armed, until=until, ended=ended))
    anchors = {
        name: anchor
        for name, anchor in state.anchors.items()
        if name in after.document.schedules and after.document.schedules[name] == defined.get(name)
    }
    opened = {}
    for name, schedule in wanted.items():
        if name in kept:
            continue
        # To the millisecond: fine enough to keep agents apart that are armed together, and fit to be read.
        anchors.setdefault(name, schedule.start_at or now.replace(microsecond=now.microsecond // 1000 * 1000))
        opened[name] = _opened(schedule, anchors[name], version, now)
        periods.append(_period(after.id, name, schedule, opened[name]))
    moved = status is not state.status
    becomes = state.model_copy(
        update={
            "status": status,
            "note": note if moved or note else state.note,
            "changed_at": now if moved else state.changed_at,
            "schedules": {**kept, **opened},
            "anchors": anchors,
            "catch_up": {name: plan for name, plan in state.catch_up.items() if name in kept},
            "gathered": batches.edited(before, after, state.gathered, now),
            "want_version": version if periods else state.want_version,
            "failures": 0 if moved and status is AgentStatus.ACTIVE else state.failures,
            "trip": None if moved else state.trip,
        }
    )
    return Change(after, promote(after, becomes, now), tuple(periods))


def _opened(schedule: Schedule, anchor: datetime, version: int, now: datetime) -> Armed:
    upcoming = schedule.calendar(anchor).next(now)
    return Armed(version=version, since=now, anchor=anchor, tzdata=tzdata_version(), next=upcoming)


def _period(
    agent_id: str,
    trigger: str,
    schedule: Schedule,
    armed: Armed,
    *,
    until: datetime | None = None,
    ended: str | None = None,
) -> ArmedPeriod:
    return ArmedPeriod(
        agent_id=agent_id,
        trigger=trigger,
        version=armed.version,
        definition=schedule,
        anchor=armed.anchor,
        tzdata=armed.tzdata,
        since=armed.since,
        until=until,
        ended=ended,
    )


def _refuse_past_dates(document: AgentDocument, known: dict[str, Schedule], now: datetime) -> None:
    for number, trigger in enumerate(document.triggers):
        if not isinstance(trigger, DateTrigger) or known.get(trigger.name) == trigger:
            continue
        try:
            trigger.refuse_past(now)
        except CalendarError as error:
            raise Invalid.field(f"triggers.{number}.date", str(error)) from error
