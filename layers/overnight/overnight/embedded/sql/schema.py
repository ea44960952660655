"""The tables: what is searched by is a column, the rest is the word itself as JSON in `body`.

Instants are integers (microseconds since 1970, UTC). Indexes are few and mostly partial, since every execution pays for
each of them; with them every query costs the same however long the history is. A query that is to use a partial index
repeats its condition literally, so the conditions have names here.
"""

from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text, TextClause, text

__all__ = [
    "ALIVE",
    "ALIVE_WITH_SCHEDULES",
    "ALIVE_WITH_WEBHOOKS",
    "DUE",
    "FIRED",
    "IN_VAIN",
    "LEDGER",
    "NOT_SUCCEEDED",
    "RANGE",
    "REASONED",
    "RETAINED",
    "TERMINAL",
    "agent_versions",
    "agents",
    "alarms",
    "attempts",
    "blobs",
    "deliveries",
    "deployment",
    "events",
    "executions",
    "hooks",
    "metadata",
    "periods",
    "queue",
    "secrets",
    "states",
    "subscriptions",
    "uses",
]

metadata = MetaData()

# Conditions of partial indexes, and of the queries that use them.
ALIVE = text("deleted_at IS NULL")
ALIVE_WITH_SCHEDULES = text("deleted_at IS NULL AND schedules > 0")
ALIVE_WITH_WEBHOOKS = text("deleted_at IS NULL AND webhooks > 0")
DUE = text("due IS NOT NULL")
FIRED = text("kind <> 'schedule'")
IN_VAIN = text("status IN ('failed', 'cancelled', 'skipped')")
LEDGER = text("kind = 'schedule'")
NOT_SUCCEEDED = text("status <> 'succeeded'")
RANGE = text("until IS NOT NULL")
REASONED = text("reason IS NOT NULL")
RETAINED = text("retain_until IS NOT NULL")
TERMINAL = text("status IN ('succeeded', 'failed', 'cancelled', 'skipped')")

# SQLite numbers rows by itself only where the key is called INTEGER.
_Serial = BigInteger().with_variant(Integer(), "sqlite")


def _partial(name: str, *columns: Column[Any], where: TextClause, unique: bool = False) -> None:
    """An index of the rows that fulfil a condition, on either database."""
    Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


agents = Table(
    "agents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("edition", BigInteger, nullable=False),  # counts every change of the row, also those that keep the version
    Column("version", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Column("body", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="STOPPED"),  # the state's, which is written far more often
    Column("schedules", BigInteger, nullable=False, server_default=text("0")),  # how many it has
    Column("webhooks", BigInteger, nullable=False, server_default=text("0")),
)
_partial("agents_by_name", agents.c.name, unique=True, where=ALIVE)
_partial("agents_by_status", agents.c.status, agents.c.name, where=ALIVE)
_partial("agents_with_schedules", agents.c.name, where=ALIVE_WITH_SCHEDULES)
_partial("agents_with_webhooks", agents.c.name, where=ALIVE_WITH_WEBHOOKS)

agent_versions = Table(
    "agent_versions",
    metadata,
    Column("agent_id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
    sqlite_with_rowid=False,
)

states = Table(
    "states",
    metadata,
    Column("agent_id", Text, primary_key=True),
    Column("due", BigInteger),
    Column("body", Text, nullable=False),
)
_partial("states_by_due", states.c.due, where=DUE)

periods = Table(
    "periods",
    metadata,
    Column("agent_id", Text, primary_key=True),
    Column("trigger", Text, primary_key=True),
    Column("since", BigInteger, primary_key=True, autoincrement=False),
    Column("until", BigInteger),
    Column("body", Text, nullable=False),
    sqlite_with_rowid=False,
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("agent_id", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),  # of the trigger in the agent's document
    Column("trigger", Text, nullable=False),
    sqlite_with_rowid=False,
)
Index("subscriptions_by_agent", subscriptions.c.agent_id)

hooks = Table(
    "hooks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("agent_id", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("previous_until", BigInteger),
)
Index("hooks_by_agent", hooks.c.agent_id)

executions = Table(
    "executions",
    metadata,
    Column("seq", _Serial, primary_key=True),
    Column("id", Text, nullable=False),
    Column("rev", BigInteger, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("kind", Text, nullable=False),
    Column("trigger", Text),
    Column("nominal", BigInteger),
    Column("until", BigInteger),
    Column("count", BigInteger, nullable=False),
    Column("previous", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("due", BigInteger),
    Column("retain_until", BigInteger),
    Column("body", Text, nullable=False),
)
Index("executions_by_id", executions.c.id, unique=True)
Index("executions_by_time", executions.c.created_at, executions.c.seq)
Index("executions_by_agent", executions.c.agent_id, executions.c.created_at, executions.c.seq)
_partial(
    "executions_not_succeeded", executions.c.status, executions.c.created_at, executions.c.seq, where=NOT_SUCCEEDED
)
_partial("executions_of_agent_in_vain", executions.c.agent_id, executions.c.created_at, executions.c.seq, where=IN_VAIN)
_partial("executions_ledger", executions.c.agent_id, executions.c.trigger, executions.c.nominal, where=LEDGER)
_partial("executions_fired", executions.c.kind, executions.c.created_at, executions.c.seq, where=FIRED)
_partial("executions_by_reason", executions.c.reason, executions.c.created_at, executions.c.seq, where=REASONED)
_partial("executions_ranges", executions.c.agent_id, executions.c.trigger, executions.c.until, where=RANGE)
_partial("executions_by_due", executions.c.due, where=DUE)
_partial("executions_by_retention", executions.c.retain_until, where=RETAINED)

attempts = Table(
    "attempts",
    metadata,
    Column("execution_id", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
    sqlite_with_rowid=False,
)

queue = Table(
    "queue",
    metadata,
    Column("execution_id", Text, primary_key=True),
    Column("attempt", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, primary_key=True),
    Column("agent_id", Text, nullable=False),
    Column("due", BigInteger),
    Column("visible_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("queue_by_time", queue.c.visible_at)

alarms = Table(
    "alarms",
    metadata,
    Column("agent_id", Text, primary_key=True),
    Column("trigger", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("nominal", BigInteger, nullable=False),
    Column("due", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("alarms_by_due", alarms.c.due)

events = Table(
    "events",
    metadata,
    Column("seq", _Serial, primary_key=True),
    Column("id", Text, nullable=False),
    Column("due", BigInteger),  # null once it is fanned out
    Column("keep_until", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
)
Index("events_by_id", events.c.id, unique=True)
_partial("events_by_due", events.c.due, where=DUE)
Index("events_by_retention", events.c.keep_until)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("agent_id", Text, nullable=False),
    Column("execution_id", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("due", BigInteger),
    Column("tries", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("error", Text),
)
Index("deliveries_by_agent", deliveries.c.agent_id, deliveries.c.created_at)
Index("deliveries_by_execution", deliveries.c.execution_id)
_partial("deliveries_by_due", deliveries.c.due, where=DUE)

# What refers to blobs, wherever those are kept: executions and agents by their ids.
uses = Table(
    "uses",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    sqlite_with_rowid=False,
)
Index("uses_by_digest", uses.c.digest)

# Where several engines share a database, blobs and secrets are in it, too; else they are files, and these stay empty.
blobs = Table(
    "blobs",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("put_at", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

deployment = Table(
    "deployment",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
