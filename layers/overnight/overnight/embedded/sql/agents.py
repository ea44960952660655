"""The rows of agents: current and former definitions, armed periods, subscriptions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, TextClause, bindparam, delete, exists, insert, select, update

from overnight import cursors
from overnight.agents import Agent, AgentState, AgentStatus, ArmedPeriod
from overnight.embedded.sql.database import Database, Reading, Row, Transaction
from overnight.embedded.sql.gates import PARSED, REFERRED, Gate, Gates, referred
from overnight.embedded.sql.hooks import Hooks
from overnight.embedded.sql.instants import to_us
from overnight.embedded.sql.schema import (
    ALIVE,
    ALIVE_WITH_SCHEDULES,
    ALIVE_WITH_WEBHOOKS,
    agent_versions,
    agents,
    alarms,
    deliveries,
    hooks,
    periods,
    states,
    subscriptions,
)
from overnight.embedded.sql.several import among, batches
from overnight.embedded.sql.statement import Insert, Statement, Upsert, binds
from overnight.embedded.sql.uses import Uses, of_agent
from overnight.errors import AgentExists, AgentNotFound
from overnight.ports import Having, Page
from overnight.triggers import EventTrigger

__all__ = ["Agents"]

_INSERT = Statement(insert(agents).values(binds(agents)))
_UPDATE = Statement(
    update(agents)
    .where(agents.c.id == bindparam("key"))
    .values({column.name: bindparam(column.name) for column in agents.columns if column is not agents.c.id})
)
_NAMED = Statement(select(agents.c.id).where(agents.c.name == bindparam("name"), agents.c.deleted_at.is_(None)))
_READ = Statement(select(agents.c.id, agents.c.body).where(REFERRED), apart=True)


def _keep(insert: Upsert) -> Insert:
    return insert(agent_versions).values(binds(agent_versions)).on_conflict_do_nothing()


_KEEP = Statement(_keep)
_READ_VERSION = Statement(
    select(agent_versions.c.body).where(
        agent_versions.c.agent_id == bindparam("agent_id"), agent_versions.c.version == bindparam("version")
    ),
    apart=True,
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
        among(periods.c.agent_id),
        periods.c.since < bindparam("before"),
        periods.c.until.is_(None) | (periods.c.until >= bindparam("after")),
    )
    .order_by(periods.c.agent_id, periods.c.trigger, periods.c.since)
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


_SUBSCRIBERS = "subscribers"
"""Where a transaction remembers them: many executions end as one, and each asks."""


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
        .limit(bindparam("most")),
        apart=True,
    )


class Question(NamedTuple):
    """Which subscribers are asked for: so many at most of these names, after an agent."""

    names: tuple[str, ...]
    after: str
    most: int

    def asked(self) -> tuple[Statement, dict[str, Any]]:
        """The statement, with its parameters."""
        named = {f"name_{n}": name for n, name in enumerate(self.names)}
        return _subscribers(len(self.names)), named | {"after": self.after, "most": self.most}


_HAVING: Mapping[Having, TextClause] = {"schedule": ALIVE_WITH_SCHEDULES, "webhook": ALIVE_WITH_WEBHOOKS}


class Agents:
    """Agents in their tables; their states go through the gates."""

    def __init__(self, database: Database, gates: Gates, hooks: Hooks, uses: Uses) -> None:
        self._database = database
        self._gates = gates
        self._hooks = hooks
        self._uses = uses
        self.following: Question | None = None
        """Which subscribers a transaction asked for last: like ones do well to ask for them ahead."""
        self._version = lru_cache(maxsize=PARSED)(self._read_version)
        self.id_of = lru_cache(maxsize=PARSED)(self._id_of)
        """The id of the agent of that id or name, as it was when last looked for. Raises AgentNotFound."""

    # Within a transaction

    def insert(self, transaction: Transaction, agent: Agent, state: AgentState) -> None:
        """Insert an agent and its state. Raises AgentExists."""
        if agent.deleted_at is None:
            self._check_name(transaction, agent)
        transaction.run(_INSERT, id=agent.id, edition=1, **_columns(agent, state))
        self._gates.create(transaction, agent, state)
        self._subscribe(transaction, agent)
        self._uses.keep(transaction, [(agent.id, digest) for digest in of_agent(agent)])
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
        transaction.run(_UPDATE, key=agent.id, edition=gate.edition + 1, **_columns(agent, state))
        transaction.run(_UNSUBSCRIBE, agent_id=agent.id)
        self._subscribe(transaction, agent)
        self._uses.keep(transaction, [(agent.id, digest) for digest in of_agent(agent)])
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
        transaction.memory.pop(_SUBSCRIBERS, None)
        self._version.cache_clear()  # an agent of that id may come again, with the same versions
        for statement in _FORGET:
            transaction.run(statement, agent_id=agent_id)
        self._uses.drop(transaction, [agent_id])
        return True

    def _check_name(self, transaction: Transaction, agent: Agent) -> None:
        row = transaction.one(_NAMED, name=agent.name)
        if row is not None and row[0] != agent.id:
            raise AgentExists(agent.name)

    def _subscribe(self, transaction: Transaction, agent: Agent) -> None:
        transaction.memory.pop(_SUBSCRIBERS, None)
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
        rows = self._database.read(lambda reading: reading.all(_READ, ref=ref))
        return self._gates.agent(referred(rows, ref)[1])

    def _id_of(self, ref: str) -> str:
        return self.get(ref).id

    def version(self, agent_id: str, version: int) -> Agent:
        """The agent as it was at that version. Raises AgentNotFound."""
        return self._version(agent_id, version)

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

    def page(
        self, status: AgentStatus | None, having: Having | None, cursor: str | None, limit: int
    ) -> Page[tuple[Agent, AgentState]]:
        """Agents that are not deleted, by name."""
        conditions: list[ColumnElement[bool] | TextClause] = [_HAVING[having] if having else ALIVE]
        if status is not None:
            conditions.append(agents.c.status == status.value)
        return self._page(agents.c.name, conditions, cursor, limit, self._gates.agent)

    def page_with_deleted(self, cursor: str | None, limit: int) -> Page[tuple[Agent, AgentState]]:
        """All agents, by id."""
        # PostgreSQL, left to itself, reads the other table from its beginning.
        beside = [] if cursor is None else [states.c.agent_id > cursors.decode(cursor, str)[0]]
        # Whoever reads them all has no use for what is kept parsed, and would only drive the others out.
        return self._page(agents.c.id, beside, cursor, limit, Agent.model_validate_json)

    def _page(
        self,
        key: Column[str],
        conditions: Sequence[ColumnElement[bool] | TextClause],
        cursor: str | None,
        limit: int,
        parse: Callable[[str], Agent],
    ) -> Page[tuple[Agent, AgentState]]:
        query = select(key, agents.c.body, states.c.body).join(states, states.c.agent_id == agents.c.id)
        query = query.where(*conditions).order_by(key).limit(limit + 1)
        if cursor is not None:
            query = query.where(key > cursors.decode(cursor, str)[0])

        rows = self._database.read(lambda reading: reading.all(Statement(query)))
        items = tuple((parse(body), AgentState.model_validate_json(state)) for _, body, state in rows[:limit])
        return Page(items, cursors.encode(rows[limit - 1][0]) if len(rows) > limit else None)

    def periods(self, agent_ids: Sequence[str], since: datetime, until: datetime) -> Sequence[ArmedPeriod]:
        """The armed periods of these agents that touch [since, until): one agent's together, by trigger and time."""
        span = {"before": to_us(until), "after": to_us(since)}

        def read(reading: Reading) -> list[Row]:
            return [row for batch in batches(agent_ids) for row in reading.all(_PERIODS, **batch, **span)]

        return [ArmedPeriod.model_validate_json(row[0]) for row in self._database.read(read)]

    def subscribers(self, names: Iterable[str], after: str | None, limit: int) -> tuple[str, ...]:
        """The agents that subscribe to any of these names, by id."""
        wanted = sorted(set(names))
        if not wanted:
            return ()
        question = Question(tuple(wanted), after or "", limit)

        def read(reading: Reading) -> tuple[str, ...]:
            known = reading.memory.setdefault(_SUBSCRIBERS, {}) if isinstance(reading, Transaction) else {}
            if question not in known:
                statement, parameters = question.asked()
                known[question] = tuple(agent_id for (agent_id,) in reading.all(statement, **parameters))
                if isinstance(reading, Transaction):
                    self.following = question
            found: tuple[str, ...] = known[question]
            return found

        return self._database.read(read)

    def followed(self, transaction: Transaction, question: Question, rows: Sequence[Row]) -> None:
        """Remember what was asked ahead."""
        transaction.memory[_SUBSCRIBERS] = {question: tuple(agent_id for (agent_id,) in rows)}


def _columns(agent: Agent, state: AgentState) -> dict[str, object]:
    """An agent's row, but for its id and edition."""
    return {
        "name": agent.name,
        "version": agent.version,
        "deleted_at": to_us(agent.deleted_at),
        "body": agent.model_dump_json(),
        "status": state.status.value,
        "schedules": len(agent.document.schedules),
        "webhooks": sum(trigger.kind == "webhook" for trigger in agent.document.triggers),
    }
