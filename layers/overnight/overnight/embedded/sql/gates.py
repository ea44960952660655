"""An agent with its state, as a transaction sees them: read once, locked first, written last.

All that happens to one agent within a transaction is written as one row at its end, so what a busy agent costs doesn't
grow with the number of callers who share the transaction.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import chain

from sqlalchemy import ARRAY, Text, any_, bindparam, delete, insert, select, update

from overnight.agents import Agent, AgentState
from overnight.embedded.sql.database import Reading, Row, Transaction
from overnight.embedded.sql.instants import to_us
from overnight.embedded.sql.schema import agents, states
from overnight.embedded.sql.several import among, batches
from overnight.embedded.sql.statement import Statement, binds
from overnight.errors import AgentNotFound

__all__ = ["Gate", "Gates", "LookAt"]

PARSED = 2_000
"""How many agents are kept parsed (some 10 KB each)."""

LookAt = Callable[[Agent, AgentState], datetime | None]
"""When the watchdog should look at an agent whose state is this; None for never."""

_JOINED = select(agents.c.id, agents.c.edition, agents.c.body, states.c.body).join(
    states, states.c.agent_id == agents.c.id
)
_READ = Statement(_JOINED.where(agents.c.id == bindparam("agent_id")))
_READ_BY_NAME = Statement(_JOINED.where(agents.c.name == bindparam("name"), agents.c.deleted_at.is_(None)))
# Both rows: PostgreSQL reads again, after it waited, only what it locks.
_LOCK = Statement(_JOINED.where(agents.c.id == bindparam("agent_id")).with_for_update(of=[states, agents]))
_LOCK_ALL = Statement(
    _JOINED.where(agents.c.id == any_(bindparam("ids", type_=ARRAY(Text))))
    .order_by(agents.c.id)
    .with_for_update(of=[states, agents])
)
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


@dataclass(frozen=True, slots=True)
class Gate:
    """An agent, its state, and which edition of the agent's row this is."""

    agent: Agent
    state: AgentState
    edition: int


class Gates:
    """Reads and writes the states of agents, and remembers what was parsed."""

    def __init__(self, look_at: LookAt) -> None:
        self._look_at = look_at
        self._parse = lru_cache(maxsize=PARSED)(Agent.model_validate_json)

    # Within a transaction

    def lock(self, transaction: Transaction, agent_id: str) -> Gate:
        """The agent and its state, which nobody else moves before this transaction ends. Raises AgentNotFound."""
        gate: Gate | None = transaction.memory.get(agent_id)
        if gate is None:
            row = transaction.one(_LOCK, agent_id=agent_id)
            if row is None:
                raise AgentNotFound(agent_id)
            gate = transaction.memory[agent_id] = self._gate(row)
        return gate

    def lock_all(self, transaction: Transaction, agent_ids: Iterable[str]) -> None:
        """Lock several, in one order for everybody, so that nobody waits for somebody who waits for him (PostgreSQL).

        What is locked later in the transaction is among these.
        """
        for row in transaction.all(_LOCK_ALL, ids=sorted(set(agent_ids))):
            transaction.memory[row[0]] = self._gate(row)

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
        self._flush(transaction)
        transaction.run(_PUT_OFF, key=agent_id, until=to_us(until))

    def forget(self, transaction: Transaction, agent_id: str) -> None:
        """Remove the state."""
        self._flush(transaction)
        transaction.memory.pop(agent_id, None)
        transaction.run(_DELETE, agent_id=agent_id)

    def _put(self, transaction: Transaction, gate: Gate) -> None:
        transaction.writes += 1
        transaction.memory[gate.agent.id] = gate
        transaction.unwritten[gate.agent.id] = None
        transaction.before_commit["states"] = self._flush

    def _flush(self, transaction: Transaction) -> None:
        if not transaction.unwritten:
            return
        rows = []
        # In order of id, so that no two transactions wait for each other.
        for agent_id in sorted(transaction.unwritten):
            gate: Gate = transaction.memory[agent_id]
            columns = self._columns(gate.agent, gate.state)
            columns["key"] = columns.pop("agent_id")
            rows.append(columns)
        transaction.unwritten.clear()
        transaction.run_each(_UPDATE, rows)

    def _columns(self, agent: Agent, state: AgentState) -> dict[str, object]:
        return {
            "agent_id": agent.id,
            "due": to_us(self._look_at(agent, state)),
            "body": state.model_dump_json(),
        }

    # Reading

    def settle(self, reading: Reading) -> None:
        """Have the states in the database, for a statement that searches them, as the transaction knows them."""
        if isinstance(reading, Transaction):
            self._flush(reading)

    def read(self, reading: Reading, ref: str) -> Gate:
        """The agent of that id or name with its state. Raises AgentNotFound."""
        self.settle(reading)
        row = reading.one(_READ, agent_id=ref) or reading.one(_READ_BY_NAME, name=ref)
        if row is None:
            raise AgentNotFound(ref)
        return self._gate(row)

    def states(self, reading: Reading, agent_ids: Iterable[str]) -> dict[str, AgentState]:
        """The states of these agents, as far as they are there, by id."""
        self.settle(reading)
        rows = chain.from_iterable(reading.all(_STATES, **batch) for batch in batches(agent_ids))
        return {agent_id: AgentState.model_validate_json(body) for agent_id, body in rows}

    def agent(self, body: str) -> Agent:
        """The agent of a row, parsed once while it is in use."""
        return self._parse(body)

    def _gate(self, row: Row) -> Gate:
        _, edition, agent, state = row
        return Gate(self.agent(agent), AgentState.model_validate_json(state), edition)


def _next(state: AgentState, before: AgentState) -> AgentState:
    """Every write is one `rev` further."""
    return state if state.rev == before.rev + 1 else state.model_copy(update={"rev": before.rev + 1})
