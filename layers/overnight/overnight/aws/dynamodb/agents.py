"""Agents: their definitions, former ones too, their names, subscriptions and armed periods, each change as one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import TypeVar

from overnight.agents import Agent, AgentState, AgentStatus, ArmedPeriod
from overnight.aws.dynamodb import cursors
from overnight.aws.dynamodb.gates import NAMES, REMEMBERED, Gate, Gates, agent_key, state_key
from overnight.aws.dynamodb.hooks import Hooks
from overnight.aws.dynamodb.schema import BY_OWNER, PK, SK, TTL
from overnight.aws.dynamodb.table import Cancelled, Condition, Delete, Key, Put, Refused, Table
from overnight.aws.dynamodb.tries import tries
from overnight.aws.dynamodb.uses import noted
from overnight.aws.dynamodb.values import Item, epoch, packed, stamp, unpacked
from overnight.errors import AgentExists, AgentNotFound, Unavailable
from overnight.executions import Message
from overnight.ports import Change, Having, Page, Transition
from overnight.triggers import EventTrigger

__all__ = ["FIRST_DAY", "FORGOTTEN_AT_ONCE", "Agents"]

FIRST_DAY: Key = ("STACK", "FIRST_DAY")
"""The day of the first agent: no execution is older."""

_ABSENT = Condition("attribute_not_exists(#pk)")
_LISTED = 50
MOST_READ = 1_000
"""So many agents one page looks at, at most, and so takes a second or two; then it is short, or empty."""

FORGOTTEN_AT_ONCE = 200
"""How many items of a forgotten agent go in one call: some two seconds."""

T = TypeVar("T")


class Agents:
    """Agents in the table; their states go through the gates."""

    def __init__(self, table: Table, gates: Gates, hooks: Hooks) -> None:
        self._table = table
        self._gates = gates
        self._hooks = hooks
        self._version = lru_cache(maxsize=REMEMBERED)(self._read_version)
        self._first_day: str | None = None

    # Writing

    def create(self, change: Change) -> None:
        """Store a new agent. Raises AgentExists."""
        agent = change.agent
        self._note_first_day(agent)
        gate = self._gates.new(agent, change.transition.state)
        writes: list[Put | Delete] = [
            Put(self._gates.agent_item(agent, gate.edition), _ABSENT),
            Put(self._gates.state_item(gate), _ABSENT),
            *self._renamed(None, agent),
            *self._subscribed(None, agent),
            *self._hooks.kept(None, agent),
            *noted(None, agent),
            *_periods(change),
        ]
        for _ in tries(f"agent {agent.name}"):
            try:
                self._table.transact(writes)
            except Cancelled as cancelled:
                if cancelled.reasons[:2] == (None, "ConditionalCheckFailed"):  # one of that id is half forgotten
                    self.forget(agent.id)
                    continue
                self._raise_unless_contended(cancelled, writes, agent)
                continue
            self._gates.forget(agent.id)
            return

    def change(
        self, agent_id: str, change: Callable[[Agent, AgentState], Change | None]
    ) -> tuple[Change, tuple[Message, ...]] | None:
        """Move an agent, its state and its armed periods as one. Raises AgentNotFound, AgentExists."""
        for _ in tries(f"agent {agent_id}"):
            gate = self._gates.read(agent_id)
            changed = change(gate.agent, gate.state)
            if changed is None:
                return None
            agent = gate.agent if changed.agent == gate.agent else changed.agent
            moved = self._gates.moved(gate, agent, changed.transition.state)
            writes = list(self._writes(gate, moved, changed))
            try:
                self._table.transact(writes)
            except Cancelled as cancelled:
                self._raise_unless_contended(cancelled, writes, agent)
                continue
            self._gates.forget(agent_id)
            sends = changed.transition.sends
            return Change(agent, Transition(moved.state, sends), changed.periods), sends
        raise AssertionError  # tries end by raising

    def _writes(self, gate: Gate, moved: Gate, changed: Change) -> Iterator[Put | Delete]:
        yield Put(self._gates.state_item(moved), self._gates.unmoved(gate))
        yield from _periods(changed)
        if moved.agent is gate.agent:
            return
        same_edition = Condition("#edition = :edition", {"edition": gate.edition})
        yield Put(self._gates.agent_item(moved.agent, moved.edition), same_edition)
        if moved.agent.version != gate.agent.version:
            yield Put(_version_item(gate.agent))
        yield from self._renamed(gate.agent, moved.agent)
        yield from self._subscribed(gate.agent, moved.agent)
        yield from self._hooks.kept(gate.agent, moved.agent)
        yield from noted(gate.agent, moved.agent)

    @staticmethod
    def _renamed(before: Agent | None, after: Agent) -> Iterator[Put | Delete]:
        """The names given up, and those taken: the agent's own one only if nobody has it."""
        had = _names(before) if before else set()
        has = _names(after)
        for key in sorted(had - has):
            yield Delete(key)
        for pk, name in sorted(has - had):
            yield Put({PK: pk, SK: name, "agent_id": after.id}, _ABSENT if pk == NAMES else None)

    @staticmethod
    def _subscribed(before: Agent | None, after: Agent) -> Iterator[Put | Delete]:
        """Subscriptions that are no more, and those that are new."""
        had = _subscriptions(before) if before else {}
        has = _subscriptions(after)
        for key in had.keys() - has.keys():
            yield Delete(key)
        for key in has.keys() - had.keys():
            yield Put(has[key])

    @staticmethod
    def _raise_unless_contended(cancelled: Cancelled, writes: Sequence[Put | Delete], agent: Agent) -> None:
        """What can't be mended by another try: a name that is taken."""
        for reason, write in zip(cancelled.reasons, writes, strict=False):
            taken = isinstance(write, Put) and write.condition is _ABSENT
            if reason == "ConditionalCheckFailed" and taken:
                raise AgentExists(agent.name) from None
        if not cancelled.contended:
            raise Unavailable(str(cancelled)) from None

    def _note_first_day(self, agent: Agent) -> None:
        day = f"{agent.created_at:%Y-%m-%d}"
        if self._first_day is not None and self._first_day <= day:
            return
        earlier = Condition("attribute_not_exists(#day) OR #day > :first", {"first": day})
        try:
            self._table.update(FIRST_DAY, put={"day": day}, condition=earlier)
            self._first_day = day
        except Refused as refused:
            self._first_day = str(refused.found["day"]) if refused.found else None

    def forget(self, agent_id: str) -> bool:
        """Remove what is left of a deleted agent, at most so much at once; False where it lives, and is left alone.

        The agent goes first, on condition that nobody takes it up again; its state, which keeps it due, goes last.
        """
        item = self._table.get(agent_key(agent_id))
        if item is not None:
            if Agent.model_validate_json(unpacked(item["body"])).deleted_at is None:
                return False
            try:
                self._table.delete(agent_key(agent_id), Condition("#edition = :edition", {"edition": item["edition"]}))
            except Refused:
                return False
        self._gates.forget(agent_id)
        self._version.cache_clear()  # an agent of that id may come again, with the same versions
        left = list(islice(self._left_of(agent_id), FORGOTTEN_AT_ONCE))
        for one in left:
            self._table.delete((str(one[PK]), str(one[SK])))
        if len(left) < FORGOTTEN_AT_ONCE:
            self._table.delete(state_key(agent_id))
        return True

    def _left_of(self, agent_id: str) -> Iterator[Item]:
        for owner in (f"NOTICES#{agent_id}", f"HOOKS#{agent_id}", f"FLOWS#{agent_id}"):
            yield from self._table.query(owner, index=BY_OWNER, limit=FORGOTTEN_AT_ONCE)
        for pk in (f"VERSION#{agent_id}", f"ARMED#{agent_id}"):
            yield from self._table.query(pk, limit=FORGOTTEN_AT_ONCE)

    # Reading

    def get(self, ref: str) -> Agent:
        """The agent of that id or name; a deleted one by its id only. Raises AgentNotFound."""
        item = self._table.get(agent_key(ref))
        if item is None and (named := self._gates.named(ref)):
            item = self._table.get(agent_key(named))
        if item is None:
            raise AgentNotFound(ref)
        return Agent.model_validate_json(unpacked(item["body"]))

    def version(self, agent_id: str, version: int) -> Agent:
        """The agent as it was at that version. Raises AgentNotFound."""
        return self._version(agent_id, version)

    def _read_version(self, agent_id: str, version: int) -> Agent:
        # The state is read with it, and is what comes next in the life of whoever asks for a pinned definition.
        current = self._gates.read(agent_id).agent
        if current.version == version:
            return current
        item = self._table.get((f"VERSION#{agent_id}", f"{version:09}"))
        if item is None:
            raise AgentNotFound(f"{agent_id}@{version}")
        return Agent.model_validate_json(unpacked(item["body"]))

    def page(
        self, status: AgentStatus | None, having: Having | None, cursor: str | None, limit: int
    ) -> Page[tuple[Agent, AgentState]]:
        """Agents that are not deleted, by name."""
        after = cursors.decode(cursor, "agents", 1)[0] if cursor else None
        if status is not None:
            found = self._table.query(f"STATUS#{status.value}", index=BY_OWNER, low=after)
            ids = ((str(item[BY_OWNER.sk]), _agent_of(item)) for item in found)
        else:
            named = self._table.query(_having(having) if having else NAMES, low=after)
            ids = ((str(item[SK]), str(item["agent_id"])) for item in named)

        def wanted(gate: Gate) -> bool:
            fits = having is None or having in _kinds(gate.agent)
            return fits and status in {None, gate.state.status} and gate.agent.deleted_at is None

        return self._page(ids, after, limit, wanted)

    def page_with_deleted(self, cursor: str | None, limit: int) -> Page[tuple[Agent, AgentState]]:
        """All agents, by id."""
        after = cursors.decode(cursor, "agents", 1)[0] if cursor else None
        found = self._table.query("AGENTS", index=BY_OWNER, low=after)
        return self._page(((str(item[BY_OWNER.sk]),) * 2 for item in found), after, limit, lambda _: True)

    def _page(
        self, ids: Iterator[tuple[str, str]], after: str | None, limit: int, wanted: Callable[[Gate], bool]
    ) -> Page[tuple[Agent, AgentState]]:
        """The first that are wanted of those after a place, or of a thousand: then the cursor goes on."""
        found: list[tuple[str, tuple[Agent, AgentState]]] = []
        read = 0
        left = (entry for entry in ids if entry[0] != after)
        while batch := list(islice(left, _LISTED)):
            gates = self._gates.each([agent_id for _, agent_id in batch])
            for place, agent_id in batch:
                gate = gates.get(agent_id)
                if gate is not None and wanted(gate):
                    found.append((place, (gate.agent, gate.state)))
            read += len(batch)
            if len(found) > limit:
                return Page(tuple(item for _, item in found[:limit]), cursors.encode("agents", found[limit - 1][0]))
            if read >= MOST_READ:
                return Page(tuple(item for _, item in found), cursors.encode("agents", batch[-1][0]))
        return Page(tuple(item for _, item in found))

    def periods(self, agent_ids: Sequence[str], since: datetime, until: datetime) -> Sequence[ArmedPeriod]:
        """The armed periods of these agents that touch [since, until): one agent's together, by trigger and time."""
        items = (item for agent_id in agent_ids for item in self._table.query(f"ARMED#{agent_id}"))
        found = (ArmedPeriod.model_validate_json(unpacked(item["body"])) for item in items)
        return [period for period in found if period.since < until and (period.until is None or period.until >= since)]

    def subscribers(self, names: Iterable[str], after: str | None, limit: int) -> tuple[str, ...]:
        """The agents that subscribe to any of these names, by id."""
        found = (self._table.query(f"EVENT#{name}", low=after, limit=limit + 1) for name in set(names))
        ids = {str(item[SK]) for items in found for item in items}
        return tuple(sorted(ids - {after})[:limit])


def _names(agent: Agent) -> set[Key]:
    """Where the agent's name stands: among all, and among those that have triggers of a kind."""
    if agent.deleted_at is not None:
        return set()
    return {(NAMES, agent.name), *((_having(kind), agent.name) for kind in _kinds(agent))}


def _having(kind: Having) -> str:
    return f"{NAMES}#{kind}"


def _kinds(agent: Agent) -> set[Having]:
    kinds = (trigger.kind for trigger in agent.document.triggers)
    return {"webhook" if kind == "webhook" else "schedule" for kind in kinds if kind != "event"}


def _agent_of(item: Item) -> str:
    return str(item[PK]).removeprefix("AGENT#")


def _version_item(agent: Agent) -> Item:
    return {PK: f"VERSION#{agent.id}", SK: f"{agent.version:09}", "body": packed(agent.model_dump_json())}


def _subscriptions(agent: Agent) -> dict[Key, Item]:
    if agent.deleted_at is not None:
        return {}
    names = {trigger.event.name for trigger in agent.document.triggers if isinstance(trigger, EventTrigger)}
    return {(f"EVENT#{name}", agent.id): {PK: f"EVENT#{name}", SK: agent.id} for name in names}


def _periods(change: Change) -> Iterator[Put]:
    """Armed periods; one that is closed goes when no record of its ticks is left."""
    # One that is opened at the very moment at which another was takes its place: that one had no tick.
    for period in {(period.trigger, period.since): period for period in change.periods}.values():
        item: Item = {
            PK: f"ARMED#{period.agent_id}",
            SK: f"{period.trigger}#{stamp(period.since)}",
            "body": period.model_dump_json(),
        }
        if period.until is not None:
            item[TTL] = epoch(period.until + timedelta(days=change.agent.document.retention_days + 1))
        yield Put(item)
