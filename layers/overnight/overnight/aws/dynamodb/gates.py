"""An agent with its state: read as one, written on condition that nobody wrote in between.

The state's place in the index of what is due is a hint, and may be later than the state says by SLACK at most: a tick
on time finds the agent due already, two minutes after the tick, and needn't move it; that is a fifth of what the
bookkeeping of a scheduled execution costs.
"""

import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from overnight.agents import Agent, AgentState
from overnight.aws.dynamodb.schema import BY_DUE, BY_OWNER, PK, SK, shard_of
from overnight.aws.dynamodb.table import MARK, Cancelled, Condition, Key, Put, Refused, Table, Update
from overnight.aws.dynamodb.values import Item, packed, stamp, unpacked
from overnight.errors import AgentNotFound, Unavailable

__all__ = ["NAMES", "REMEMBERED", "Gate", "Gates", "LookAt", "Stale", "agent_key", "state_key"]

LookAt = Callable[[Agent, AgentState], datetime | None]
"""When the watchdog should look at an agent whose state is this; None for never."""

SLACK = timedelta(seconds=100)
"""How much later than wanted an agent's place in the index may be."""

RECENT_SECONDS = 5.0
"""How long a state that was read here is a fair guess at what is stored; a write on top of it still proves it."""

REMEMBERED = 1_000
"""Of how many agents a process remembers what it has read."""

NAMES = "NAMES"
"""The partition of the names of agents that are not deleted."""


class Gate(NamedTuple):
    """An agent, its state, which edition of the agent's item this is, and when the index says it is due."""

    agent: Agent
    state: AgentState
    edition: int
    look: str | None = None


class Stale(Exception):
    """Somebody else wrote the state; `gate` is how it stands now."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        super().__init__("the state is another one by now")


def agent_key(agent_id: str) -> Key:
    """Where an agent is."""
    return f"AGENT#{agent_id}", "AGENT"


def state_key(agent_id: str) -> Key:
    """Where its state is."""
    return f"AGENT#{agent_id}", "STATE"


class Gates:
    """Reads and writes agents with their states, and remembers what was read."""

    def __init__(self, table: Table, look_at: LookAt) -> None:
        self._table = table
        self._look_at = look_at
        self._agents: dict[str, tuple[int, Agent]] = {}
        self._recent: dict[str, tuple[float, Gate]] = {}

    # Reading

    def read(self, agent_id: str) -> Gate:
        """The agent and its state as they are now. Raises AgentNotFound."""
        for _ in range(10):
            agent_item: Item | None = None
            if agent_id in self._agents:
                state_item = self._table.get(state_key(agent_id))
            else:
                items = {str(item[SK]): item for item in self._table.query(f"AGENT#{agent_id}")}
                agent_item, state_item = items.get("AGENT"), items.get("STATE")
                if agent_item is None:  # not there, or half forgotten
                    raise AgentNotFound(agent_id)
            if state_item is None:
                raise AgentNotFound(agent_id)
            gate = self._gate(state_item, agent_item)
            if gate is not None:
                return gate
            # The agent was changed between the two reads, or since it was read here.
            self._agents.pop(agent_id, None)
        raise Unavailable(f"agent {agent_id} is being changed; try again later")

    def recent(self, agent_id: str) -> Gate | None:
        """The agent and its state as they were a moment ago, where that is known."""
        read_at, gate = self._recent.get(agent_id, (0.0, None))
        return gate if gate and time.monotonic() - read_at < RECENT_SECONDS else None

    def find(self, ref: str) -> Gate:
        """The agent of that id or name, with its state. Raises AgentNotFound."""
        try:
            return self.read(ref)
        except AgentNotFound:
            named = self.named(ref)
            if named is None:
                raise
            return self.read(named)

    def named(self, name: str) -> str | None:
        """The id of the agent of that name."""
        item = self._table.get((NAMES, name))
        return None if item is None else str(item["agent_id"])

    def each(self, agent_ids: list[str]) -> dict[str, Gate]:
        """Agents with their states, by id; those that are not there are left out."""
        keys = [key for agent_id in agent_ids for key in (agent_key(agent_id), state_key(agent_id))]
        items = self._table.get_each(keys)
        gates: dict[str, Gate] = {}
        for agent_id in agent_ids:
            agent, state = items.get(agent_key(agent_id)), items.get(state_key(agent_id))
            if agent is None or state is None:
                continue
            gate = self._gate(state, agent)
            gates[agent_id] = gate if gate is not None else self.read(agent_id)
        return gates

    def states(self, agent_ids: Iterable[str]) -> dict[str, AgentState]:
        """The states of these agents, as far as they are there, by id."""
        items = self._table.get_each(map(state_key, agent_ids)).values()
        states = (AgentState.model_validate_json(unpacked(item["body"])) for item in items)
        return {state.agent_id: state for state in states}

    def _gate(self, state_item: Item, agent_item: Item | None = None) -> Gate | None:
        """A gate of its items; None where the agent that is known is of another edition than the state."""
        edition = int(state_item["edition"])
        state = AgentState.model_validate_json(unpacked(state_item["body"]))
        known, agent = self._agents.get(state.agent_id, (0, None))
        if agent_item is not None and known != edition:
            known, agent = int(agent_item["edition"]), Agent.model_validate_json(unpacked(agent_item["body"]))
        if agent is None or known != edition:
            return None
        look = state_item.get(BY_DUE.sk)
        return self._remember(Gate(agent, state, edition, str(look) if look else None))

    def _remember(self, gate: Gate) -> Gate:
        self.forget(gate.agent.id)
        self._agents[gate.agent.id] = (gate.edition, gate.agent)
        self._recent[gate.agent.id] = (time.monotonic(), gate)
        if len(self._agents) > REMEMBERED:
            self.forget(next(iter(self._agents)))  # which nobody has asked for the longest
        return gate

    def forget(self, agent_id: str) -> None:
        """Remember nothing of an agent."""
        self._agents.pop(agent_id, None)
        self._recent.pop(agent_id, None)

    # Writing

    def move_with(self, gate: Gate, state: AgentState, also: Put | Update) -> Gate:
        """Write the state as `move` does, and another item with it, or neither. Raises Stale for either."""
        moved = self.moved(gate, gate.agent, state)
        try:
            self._table.transact([also, Put(self.state_item(moved), self.unmoved(gate))])
        except Cancelled as cancelled:
            if not cancelled.contended:
                raise Unavailable(str(cancelled)) from None
            raise Stale(self.read(gate.agent.id)) from None
        return self._remember(moved)

    def move(self, gate: Gate, state: AgentState) -> Gate:
        """Write the state, if it still is the one it was made from; how it then is, `rev` and all. Raises Stale."""
        moved = self.moved(gate, gate.agent, state)
        try:
            self._table.put(self.state_item(moved) | {MARK: self._table.mark()}, self.unmoved(gate))
        except Refused as refused:
            if refused.found is None:
                raise AgentNotFound(gate.agent.id) from None
            raise Stale(self._gate(refused.found) or self.read(gate.agent.id)) from None
        return self._remember(moved)

    def moved(self, gate: Gate, agent: Agent, state: AgentState) -> Gate:
        """The gate as it is to be once agent and state are written."""
        state = state if state.rev == gate.state.rev + 1 else state.model_copy(update={"rev": gate.state.rev + 1})
        edition = gate.edition if agent is gate.agent else gate.edition + 1
        return Gate(agent, state, edition, self._look(agent, state, gate.look))

    def new(self, agent: Agent, state: AgentState) -> Gate:
        """The gate of a new agent."""
        return Gate(agent, state, 1, self._look(agent, state, None))

    def _look(self, agent: Agent, state: AgentState, before: str | None) -> str | None:
        """When the index is to say that the agent is due."""
        wanted = self._look_at(agent, state)
        if wanted is None:
            return None
        if before is not None and stamp(wanted) <= before <= stamp(wanted + SLACK):
            return before
        return stamp(wanted)

    @staticmethod
    def unmoved(gate: Gate) -> Condition:
        """Nobody has written the state since."""
        return Condition("#rev = :rev", {"rev": gate.state.rev})

    @staticmethod
    def state_item(gate: Gate) -> Item:
        """The state as an item."""
        pk, sk = state_key(gate.agent.id)
        item: Item = {
            PK: pk,
            SK: sk,
            "rev": gate.state.rev,
            "edition": gate.edition,
            "status": gate.state.status.value,
            "body": packed(gate.state.model_dump_json(exclude_defaults=True)),
        }
        if gate.agent.deleted_at is None:
            item |= {BY_OWNER.pk: f"STATUS#{gate.state.status.value}", BY_OWNER.sk: gate.agent.name}
        if gate.look is not None:
            item |= {BY_DUE.pk: shard_of("DUE#AGENT", gate.agent.id), BY_DUE.sk: gate.look}
        return item

    @staticmethod
    def agent_item(agent: Agent, edition: int) -> Item:
        """The agent as an item."""
        pk, sk = agent_key(agent.id)
        return {
            PK: pk,
            SK: sk,
            "edition": edition,
            "version": agent.version,
            "name": agent.name,
            "body": agent.model_dump_json(),
            BY_OWNER.pk: "AGENTS",
            BY_OWNER.sk: agent.id,
        }

    def put_off(self, agent_id: str, until: datetime) -> None:
        """Move the agent's place in the index alone, until the state is written the next time."""
        put: Item = {BY_DUE.pk: shard_of("DUE#AGENT", agent_id), BY_DUE.sk: stamp(until)}
        try:
            self._table.update(state_key(agent_id), put=put, condition=Condition("attribute_exists(#pk)"))
        except Refused:
            return  # It was forgotten in between.
