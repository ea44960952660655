"""The rows of agents: current and former definitions, armed periods, subscriptions."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache

from sqlalchemy import Column, bindparam, delete, exists, insert, select, update

from overnight.agents import Agent, AgentState, AgentStatus, ArmedPeriod
from overnight.embedded.sql import paging
from overnight.embedded.sql.database import Database, Reading, Row, Transaction
from overnight.embedded.sql.gates import PARSED, Gate, Gates
from overnight.embedded.sql.hooks import Hooks
from overnight.embedded.sql.instants import to_us
from overnight.embedded.sql.schema import (
    agent_versions,
    agents,
    alarms,
    deliveries,
    hooks,
    periods,
    states,
    subscriptions,
)
from overnight.embedded.sql.statement import Insert, Statement, Upsert, binds
from overnight.embedded.sql.uses import Uses, of_agent
from overnight.errors import AgentExists, AgentNotFound
from overnight.ports import Page
from overnight.triggers import EventTrigger

__all__ = ["Agents"]

_INSERT = Statement(insert(agents).values(binds(agents)))
_UPDATE = Statement(
    update(agents)
    .where(agents.c.id == bindparam("key"))
    .values({name: bindparam(name) for name in ("name", "edition", "version", "deleted_at", "body")})
)
_NAMED = Statement(select(agents.c.id).where(agents.c.name == bindparam("name"), agents.c.deleted_at.is_(None)))
_READ = Statement(select(agents.c.id, agents.c.edition, agents.c.body).where(agents.c.id == bindparam("agent_id")))
_READ_NAMED = Statement(
    select(agents.c.id, agents.c.edition, agents.c.body).where(
        agents.c.name == bindparam("name"), agents.c.deleted_at.is_(None)
    )
)


def _keep(insert: Upsert) -> Insert:
    return insert(agent_versions).values(binds(agent_versions)).on_conflict_do_nothing()


_KEEP = Statement(_keep)
_READ_VERSION = Statement(
    select(agent_versions.c.body).where(
        agent_versions.c.agent_id == bindparam("agent_id"), agent_versions.c.version == bindparam("version")
    )
)


def _put_period(insert: Upsert) -> Insert:
    period = insert(periods).values(binds(periods))
    return period.on_conflict_do_update(
        index_elements=[periods.c.agent_id, periods.c.trigger, periods.c.since],
        set_={"until": period.excluded.until, "body": period.excluded.body},
    )


_PUT_PERIOD = Statement(_put_period)
_PERIODS = Statement(
    select(periods.c.body)
    .where(
        periods.c.agent_id == bindparam("agent_id"),
        periods.c.since < bindparam("before"),
        periods.c.until.is_(None) | (periods.c.until >= bindparam("after")),
    )
    .order_by(periods.c.trigger, periods.c.since)
)
_SUBSCRIBE = Statement(insert(subscriptions).values(binds(subscriptions)))
_UNSUBSCRIBE = Statement(delete(subscriptions).where(subscriptions.c.agent_id == bindparam("agent_id")))
_ALIVE = Statement(select(exists().where(agents.c.id == bindparam("agent_id"), agents.c.deleted_at.is_(None))))
_FORGET = tuple(
    Statement(delete(table).where(table.c[column] == bindparam("agent_id")))
    for table, column in (
        (subscriptions, "agent_id"),
        (hooks, "agent_id"),
        (alarms, "agent_id"),
        (deliveries, "agent_id"),
        (periods, "agent_id"),
        (agent_versions, "agent_id"),
        (agents, "id"),
    )
)


@lru_cache(maxsize=64)
def _subscribers(names: int) -> Statement:
    """The statement for so many names; there are as many as an event's name has parts."""
    return Statement(
        select(subscriptions.c.agent_id)
        .distinct()
        .where(
            subscriptions.c.name.in_([bindparam(f"name_{n}") for n in range(names)]),
            subscriptions.c.agent_id > bindparam("after"),
        )
        .order_by(subscriptions.c.agent_id)
        .limit(bindparam("most"))
    )


class Agents:
    """Agents in their tables; their states go through the gates."""

    def __init__(self, database: Database, gates: Gates, hooks: Hooks, uses: Uses) -> None:
        self._database = database
        self._gates = gates
        self._hooks = hooks
        self._uses = uses
        self._versions: dict[tuple[str, int], Agent] = {}

    # Within a transaction

    def insert(self, transaction: Transaction, agent: Agent, state: AgentState) -> None:
        """Insert an agent and its state. Raises AgentExists."""
        if agent.deleted_at is None:
            self._check_name(transaction, agent)
        transaction.run(
            _INSERT,
            id=agent.id,
            name=agent.name,
            edition=1,
            version=agent.version,
            deleted_at=to_us(agent.deleted_at),
            body=agent.model_dump_json(),
        )
        self._gates.create(transaction, agent, state)
        self._subscribe(transaction, agent)
        self._uses.keep(transaction, agent.id, of_agent(agent))
        self._hooks.keep(transaction, agent)

    def update(self, transaction: Transaction, gate: Gate, agent: Agent, state: AgentState) -> AgentState:
        """Write an agent and its state; the state as it is then. Raises AgentExists."""
        if agent == gate.agent:
            return self._gates.move(transaction, gate, state)
        if agent.deleted_at is None and (agent.name != gate.agent.name or gate.agent.deleted_at is not None):
            self._check_name(transaction, agent)
        if agent.version != gate.agent.version:
            former = gate.agent
            transaction.run(_KEEP, agent_id=former.id, version=former.version, body=former.model_dump_json())
        transaction.run(
            _UPDATE,
            key=agent.id,
            name=agent.name,
            edition=gate.edition + 1,
            version=agent.version,
            deleted_at=to_us(agent.deleted_at),
            body=agent.model_dump_json(),
        )
        transaction.run(_UNSUBSCRIBE, agent_id=agent.id)
        self._subscribe(transaction, agent)
        self._uses.keep(transaction, agent.id, of_agent(agent))
        self._hooks.keep(transaction, agent)
        return self._gates.replace(transaction, gate, agent, state)

    def put_periods(self, transaction: Transaction, opened_or_closed: Iterable[ArmedPeriod]) -> None:
        """Write armed periods."""
        for period in opened_or_closed:
            transaction.run(
                _PUT_PERIOD,
                agent_id=period.agent_id,
                trigger=period.trigger,
                since=to_us(period.since),
                until=to_us(period.until),
                body=period.model_dump_json(),
            )

    def forget(self, transaction: Transaction, agent_id: str) -> bool:
        """Remove all rows of a deleted agent but its executions; False where it lives, and is left alone."""
        row = transaction.one(_ALIVE, agent_id=agent_id)
        if row is not None and row[0]:
            return False
        self._gates.forget(transaction, agent_id)
        for known in [known for known in self._versions if known[0] == agent_id]:
            del self._versions[known]
        for statement in _FORGET:
            transaction.run(statement, agent_id=agent_id)
        self._uses.drop(transaction, [agent_id])
        return True

    def _check_name(self, transaction: Transaction, agent: Agent) -> None:
        row = transaction.one(_NAMED, name=agent.name)
        if row is not None and row[0] != agent.id:
            raise AgentExists(agent.name)

    def _subscribe(self, transaction: Transaction, agent: Agent) -> None:
        if agent.deleted_at is not None:
            return
        for position, trigger in enumerate(agent.document.triggers):
            if isinstance(trigger, EventTrigger):
                transaction.run(
                    _SUBSCRIBE, agent_id=agent.id, trigger=trigger.name, name=trigger.event.name, position=position
                )

    # Reading

    def get(self, ref: str) -> Agent:
        """The agent of that id or name; a deleted one by its id only. Raises AgentNotFound."""
        row = self._database.read(
            lambda reading: reading.one(_READ, agent_id=ref) or reading.one(_READ_NAMED, name=ref)
        )
        if row is None:
            raise AgentNotFound(ref)
        return self._gates.agent(*row)

    def version(self, agent_id: str, version: int) -> Agent:
        """The agent as it was at that version. Raises AgentNotFound."""
        agent = self._versions.get((agent_id, version))
        if agent is None:
            agent = self._read_version(agent_id, version)
            if len(self._versions) >= PARSED:
                self._versions.clear()
            self._versions[agent_id, version] = agent
        return agent

    def _read_version(self, agent_id: str, version: int) -> Agent:
        for _ in range(2):
            current = self.get(agent_id)
            if current.version == version:
                return current
            row = self._database.read(lambda reading: reading.one(_READ_VERSION, agent_id=agent_id, version=version))
            if row is not None:
                return Agent.model_validate_json(row[0])
            # It may have become a former one between the two reads.
        raise AgentNotFound(f"{agent_id}@{version}")

    def page(self, status: AgentStatus | None, cursor: str | None, limit: int) -> Page[tuple[Agent, AgentState]]:
        """Agents that are not deleted, by name."""
        return self._page(agents.c.name, status, cursor, limit)

    def page_with_deleted(
        self, status: AgentStatus | None, cursor: str | None, limit: int
    ) -> Page[tuple[Agent, AgentState]]:
        """All agents, by id."""
        return self._page(agents.c.id, status, cursor, limit)

    def _page(
        self, key: Column[str], status: AgentStatus | None, cursor: str | None, limit: int
    ) -> Page[tuple[Agent, AgentState]]:
        query = select(key, agents.c.id, agents.c.edition, agents.c.body, states.c.body).join(
            states, states.c.agent_id == agents.c.id
        )
        if key is agents.c.name:
            query = query.where(agents.c.deleted_at.is_(None))
        if status is not None:
            query = query.where(states.c.status == status.value)
        if cursor is not None:
            query = query.where(key > paging.decode(cursor, str)[0])
        query = query.order_by(key).limit(limit + 1)

        def read(reading: Reading) -> list[Row]:
            self._gates.settle(reading)
            return reading.all(Statement(query))

        rows = self._database.read(read)
        items = tuple(
            (self._gates.agent(agent_id, edition, body), AgentState.model_validate_json(state))
            for _, agent_id, edition, body, state in rows[:limit]
        )
        return Page(items, paging.encode(rows[limit - 1][0]) if len(rows) > limit else None)

    def periods(self, agent_id: str, since: datetime, until: datetime) -> Sequence[ArmedPeriod]:
        """The armed periods that touch [since, until), in order of trigger and time."""
        rows = self._database.read(
            lambda reading: reading.all(_PERIODS, agent_id=agent_id, before=to_us(until), after=to_us(since))
        )
        return [ArmedPeriod.model_validate_json(row[0]) for row in rows]

    def subscribers(self, names: Iterable[str], after: str | None, limit: int) -> tuple[str, ...]:
        """The agents that subscribe to any of these names, by id."""
        wanted = sorted(set(names))
        if not wanted:
            return ()
        statement = _subscribers(len(wanted))
        parameters: dict[str, object] = {f"name_{n}": name for n, name in enumerate(wanted)}
        parameters |= {"after": after or "", "most": limit}
        rows = self._database.read(lambda reading: reading.all(statement, **parameters))
        return tuple(agent_id for (agent_id,) in rows)
