"""The version of the tables, and how a database of an earlier version is brought up to date."""

import json
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import BigInteger, Column, MetaData, Table, bindparam, insert, select, update
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from overnight.embedded.sql import schema
from overnight.embedded.sql.database import Transaction
from overnight.embedded.sql.statement import Statement
from overnight.errors import Unavailable
from overnight.webhooks import hook_id

__all__ = ["STEPS", "VERSION", "migrate"]

VERSION = 5
"""The version of the tables in `schema`."""

_HOOKS = """
CREATE TABLE hooks (
    id TEXT NOT NULL, agent_id TEXT NOT NULL, "trigger" TEXT NOT NULL, version BIGINT NOT NULL, previous_until BIGINT,
    PRIMARY KEY (id)
)
"""

Step = str | Callable[[Transaction, Dialect], object]


def _keep_hooks(transaction: Transaction, dialect: Dialect) -> None:  # noqa: ARG001
    """The addresses of the webhooks that there are."""
    for agent_id, body in transaction.all(_AGENTS):
        for trigger in json.loads(body)["document"]["triggers"]:
            if "webhook" in trigger:
                transaction.run(
                    _KEEP_HOOK, id=hook_id(agent_id, trigger["name"]), agent_id=agent_id, trigger=trigger["name"]
                )


def _keep_blobs(transaction: Transaction, dialect: Dialect) -> None:
    """The tables of blobs and secrets, and of what refers to blobs."""
    of_bytes, end = ("BYTEA", "") if dialect.name == "postgresql" else ("BLOB", " WITHOUT ROWID")
    for table in (
        f"uses (owner TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (owner, digest)){end}",
        f"blobs (digest TEXT NOT NULL, put_at BIGINT NOT NULL, content {of_bytes} NOT NULL, PRIMARY KEY (digest))",
        f"secrets (name TEXT NOT NULL, value {of_bytes} NOT NULL, PRIMARY KEY (name))",
    ):
        transaction.run_sql(f"CREATE TABLE {table}")


def _note_uses(transaction: Transaction, dialect: Dialect) -> None:
    """Which blobs are needed by the rows that there are."""
    for table, owner, path in (
        ("agents", "id", "document.flow.langflow"),
        ("agent_versions", "agent_id", "document.flow.langflow"),
        ("executions", "id", "payload.blob"),
        ("executions", "id", "input.blob"),
        ("executions", "id", "output.blob"),
        ("executions", "id", "first.log"),
        ("attempts", "execution_id", "log"),
    ):
        if dialect.name == "postgresql":
            digest = f"CAST(body AS jsonb) #>> '{{{path.replace('.', ',')}}}'"
        else:
            digest = f"json_extract(body, '$.{path}')"
        transaction.run_sql(
            f"INSERT INTO uses (owner, digest) SELECT {owner}, {digest} FROM {table} "  # noqa: S608 - all of it is ours
            f"WHERE {digest} IS NOT NULL ON CONFLICT DO NOTHING"
        )


def _count_triggers(transaction: Transaction, dialect: Dialect) -> None:
    """How many schedules and webhooks the agents have that there are."""
    if dialect.name == "postgresql":
        triggers, has = (
            "jsonb_array_elements(CAST(body AS jsonb) #> '{document,triggers}') AS t(value)",
            "value -> '%s'",
        )
    else:
        triggers, has = "json_each(body, '$.document.triggers')", "json_extract(value, '$.%s')"
    for column, kinds in (("schedules", ("cron", "interval", "date")), ("webhooks", ("webhook",))):
        having = " OR ".join(f"{has % kind} IS NOT NULL" for kind in kinds)
        transaction.run_sql(
            f"UPDATE agents SET {column} = (SELECT count(*) FROM {triggers} WHERE {having})"  # noqa: S608 - all of it is ours
        )


STEPS: Mapping[int, Sequence[Step]] = {
    2: (
        _HOOKS,
        "CREATE INDEX hooks_by_agent ON hooks (agent_id)",
        _keep_hooks,
    ),
    3: (
        _keep_blobs,
        "CREATE INDEX uses_by_digest ON uses (digest)",
        "CREATE TABLE deployment (name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name))",
        _note_uses,
    ),
    4: ("CREATE INDEX executions_fired ON executions (kind, created_at, seq) WHERE kind <> 'schedule'",),
    5: (
        "ALTER TABLE agents ADD COLUMN status TEXT DEFAULT 'STOPPED' NOT NULL",
        "ALTER TABLE agents ADD COLUMN schedules BIGINT DEFAULT 0 NOT NULL",
        "ALTER TABLE agents ADD COLUMN webhooks BIGINT DEFAULT 0 NOT NULL",
        "UPDATE agents SET status = (SELECT states.status FROM states WHERE states.agent_id = agents.id)",
        _count_triggers,
        "ALTER TABLE states DROP COLUMN status",
        "CREATE INDEX agents_by_status ON agents (status, name) WHERE deleted_at IS NULL",
        "CREATE INDEX agents_with_schedules ON agents (name) WHERE deleted_at IS NULL AND schedules > 0",
        "CREATE INDEX agents_with_webhooks ON agents (name) WHERE deleted_at IS NULL AND webhooks > 0",
        "CREATE INDEX executions_by_reason ON executions (reason, created_at, seq) WHERE reason IS NOT NULL",
    ),
}
"""For each version but the first, the steps that make it of the one before. What is released never changes."""

_versions = MetaData()
_schema_version = Table("schema_version", _versions, Column("version", BigInteger, nullable=False))

_CREATE = "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)"
_READ = Statement(select(_schema_version.c.version))
_BEGIN = Statement(insert(_schema_version).values(version=bindparam("version")))
_AGENTS = Statement(select(schema.agents.c.id, schema.agents.c.body))
_KEEP_HOOK = Statement(
    insert(schema.hooks).values(
        id=bindparam("id"), agent_id=bindparam("agent_id"), trigger=bindparam("trigger"), version=1, previous_until=None
    )
)
_MOVE = Statement(update(_schema_version).values(version=bindparam("version")))


def migrate(transaction: Transaction, dialect: Dialect) -> None:
    """Create the tables in an empty database, or take the steps that are missing.

    The caller sees to it that only one process at a time is in here. Raises Unavailable when a newer release was here.
    """
    transaction.run_sql(_CREATE)
    row = transaction.one(_READ)
    if row is None:
        for table in schema.metadata.sorted_tables:
            transaction.run_sql(str(CreateTable(table).compile(dialect=dialect)))
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                transaction.run_sql(str(CreateIndex(index).compile(dialect=dialect)))
        transaction.run(_BEGIN, version=VERSION)
        return
    version: int = row[0]
    if version > VERSION:
        raise Unavailable(
            f"the database has tables of version {version}, and this release of Overnight knows them up to {VERSION}; "
            "use the newer release that wrote it, or a copy from before its upgrade"
        )
    for step in range(version + 1, VERSION + 1):
        for act in STEPS[step]:
            if isinstance(act, str):
                transaction.run_sql(act)
            else:
                act(transaction, dialect)
    if version < VERSION:
        transaction.run(_MOVE, version=VERSION)
