"""An agent with its state, as a transaction sees them: read once, locked first, written last.

All that happens to one agent within a transaction is written as one row at its end, so what a busy agent costs doesn't
grow with the number of callers who share the transaction.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, Text, any_, bindparam, delete, insert, select, update

from overnight.agents import Agent, AgentState
from overnight.embedded.sql.database import Reading, Row, Transaction
from overnight.embedded.sql.instants import to_us
from overnight.embedded.sql.parsed import Parsed
from overnight.embedded.sql.schema import agents, states
from overnight.embedded.sql.several import among, batches
from overnight.embedded.sql.statement import Statement, binds
from overnight.errors import AgentNotFound

__all__ = ["PARSED", "REFERRED", "Gate", "Gates", "LookAt", "referred"]

PARSED = 2_000
"""How many agents are kept parsed (some 10 KB each)."""

LookAt = Callable[[Agent, AgentState], datetime | None]
"""When the watchdog should look at an agent whose state is this; None for never."""

_JOINED = select(agents.c.id, agents.c.edition, agents.c.body, states.c.body).join(
    states, states.c.agent_id == agents.c.id
)
REFERRED = (agents.c.id == bindparam("ref")) | ((agents.c.name == bindparam("ref")) & agents.c.deleted_at.is_(None))
"""That an agent is the one of an id, or of a name; `referred` tells which, should there be both."""

_READ = Statement(_JOINED.where(REFERRED))
# Both rows: PostgreSQL reads again, after it waited, only what it locks. What is put off is remembered, so it isn't
# looked for here.
_LOCK = Statement(_JOINED.where(agents.c.id == bindparam("agent_id")).with_for_update(of=[states, agents]), apart=True)
_ALL = _JOINED.where(agents.c.id == any_(bindparam("ids", type_=ARRAY(Text)))).order_by(agents.c.id)
_LOCK_ALL = Statement(_ALL.with_for_update(of=[states, agents]), apart=True)
_LOCK_FREE = Statement(_ALL.with_for_update(of=[states, agents], skip_locked=True), apart=True)
_STATES = Statement(select(states.c.agent_id, states.c.body).where(among(states.c.agent_id)))
_INSERT = Statement(insert(states).values(binds(states)))
_UPDATE = Statement(
    update(states)
    .where(states.c.agent_id == bindparam("key"))
    .values({name: bindparam(name) for name in ("due", "body")})
)
_UPDATE_STATUS = Statement(
    update(agents).where(agents.c.id == bindparam("key")).values({"status": bindparam("new_status")})
)
_DELETE = Statement(delete(states).where(states.c.agent_id == bindparam("agent_id")))
_PUT_OFF = Statement(update(states).where(states.c.agent_id == bindparam("key")).values({"due": bindparam("until")}))


class Gate(NamedTuple):
    """An agent, its state, and which edition of the agent's row this is."""

    agent: Agent
    state: AgentState
    edition: int


class Gates:
    """Reads and writes the states of agents, and remembers what was parsed."""

    def __init__(self, look_at: LookAt) -> None:
        self._look_at = look_at
        self._parse = lru_cache(maxsize=PARSED)(Agent.model_validate_json)
        self._states = Parsed(AgentState.model_validate_json, PARSED)

    # Within a transaction

    def lock(self, transaction: Transaction, agent_id: str) -> Gate:
        """The agent and its state, which nobody else moves before this transaction ends. Raises AgentNotFound."""
        gate: Gate | None = transaction.memory.get(_key(agent_id))
        if gate is None:
            row = transaction.one(_LOCK, agent_id=agent_id)
            if row is None:
                raise AgentNotFound(agent_id)
            gate = transaction.memory[_key(agent_id)] = self._gate(row)
        return gate

    def locking(self, agent_ids: Iterable[str], *, wait: bool) -> tuple[Statement, dict[str, Any]]:
        """What locks several, in one order for everybody, so that nobody waits for somebody who waits for him.

        `locked` is given its rows. Without `wait`, they are those that nobody else holds (PostgreSQL).
        """
        return _LOCK_ALL if wait else _LOCK_FREE, {"ids": sorted(agent_ids)}

    def locked(self, transaction: Transaction, rows: Sequence[Row]) -> frozenset[str]:
        """Remember what was locked; the ids."""
        for row in rows:
            transaction.memory[_key(row[0])] = self._gate(row)
        return frozenset(row[0] for row in rows)

    def move(self, transaction: Transaction, gate: Gate, state: AgentState) -> AgentState:
        """Write the state at the end of the transaction; as it will be, with its `rev`."""
        if state is gate.state:
            return state
        state = _next(state, gate.state)
        if state.status is not gate.state.status:
            transaction.run(_UPDATE_STATUS, key=gate.agent.id, new_status=state.status.value)
        self._put(transaction, Gate(gate.agent, state, gate.edition))
        return state

    def replace(self, transaction: Transaction, gate: Gate, agent: Agent, state: AgentState) -> AgentState:
        """The same, where the agent's row is written too."""
        state = _next(state, gate.state)
        self._put(transaction, Gate(agent, state, gate.edition + 1))
        return state

    def create(self, transaction: Transaction, agent: Agent, state: AgentState) -> None:
        """Write the state of a new agent."""
        transaction.run(_INSERT, **self._columns(agent, state))

    def put_off(self, transaction: Transaction, agent_id: str, until: datetime) -> None:
        """Move the due time alone, until the state is written the next time."""
        transaction.run(_PUT_OFF, key=agent_id, until=to_us(until))

    def forget(self, transaction: Transaction, agent_id: str) -> None:
        """Remove the state."""
        transaction.run(_DELETE, agent_id=agent_id)
        transaction.memory.pop(_key(agent_id), None)

    def _put(self, transaction: Transaction, gate: Gate) -> None:
        transaction.memory[_key(gate.agent.id)] = gate
        transaction.at_end(self._write, set).add(gate.agent.id)

    def _write(self, transaction: Transaction, agent_ids: set[str]) -> None:
        rows = []
        # In order of id, so that no two transactions wait for each other.
        for agent_id in sorted(agent_ids):
            gate: Gate = transaction.memory[_key(agent_id)]
            columns = self._columns(gate.agent, gate.state)
            columns["key"] = columns.pop("agent_id")
            rows.append(columns)
            self._states.keep(agent_id, columns["body"], gate.state)
        transaction.run_each(_UPDATE, rows)

    def _columns(self, agent: Agent, state: AgentState) -> dict[str, Any]:
        return {
            "agent_id": agent.id,
            "due": to_us(self._look_at(agent, state)),
            "body": state.model_dump_json(),
        }

    # Reading

    def read(self, reading: Reading, ref: str) -> Gate:
        """The agent of that id or name with its state. Raises AgentNotFound."""
        if isinstance(reading, Transaction) and (gate := reading.memory.get(_key(ref))):
            known: Gate = gate
            return known
        return self._gate(referred(reading.all(_READ, ref=ref), ref))

    def states(self, reading: Reading, agent_ids: Iterable[str]) -> dict[str, AgentState]:
        """The states of these agents, as far as they are there, by id."""
        rows = chain.from_iterable(reading.all(_STATES, **batch) for batch in batches(agent_ids))
        return {agent_id: AgentState.model_validate_json(body) for agent_id, body in rows}

    def agent(self, body: str) -> Agent:
        """The agent of a row, parsed once while it is in use."""
        return self._parse(body)

    def _gate(self, row: Row) -> Gate:
        agent_id, edition, agent, state = row
        return Gate(self.agent(agent), self._states.of(agent_id, state), edition)


def referred(rows: Sequence[Row], ref: str) -> Row:
    """The row of the agent of that id, or name, of those that begin with an id. Raises AgentNotFound."""
    if not rows:
        raise AgentNotFound(ref)
    return max(rows, key=lambda row: row[0] == ref)  # a name may look like another one's id, which then counts


def _key(agent_id: str) -> tuple[str, str]:
    """Where a transaction remembers it."""
    return "agent", agent_id


def _next(state: AgentState, before: AgentState) -> AgentState:
    """Every write is one `rev` further."""
    return state if state.rev == before.rev + 1 else state.model_copy(update={"rev": before.rev + 1})
