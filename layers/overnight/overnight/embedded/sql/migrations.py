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

VERSION = 2
"""The version of the tables in `schema`."""

_HOOKS = """
CREATE TABLE hooks (
    id TEXT NOT NULL, agent_id TEXT NOT NULL, "trigger" TEXT NOT NULL, version BIGINT NOT NULL, previous_until BIGINT,
    PRIMARY KEY (id)
)
"""

Step = str | Callable[[Transaction], object]


def _keep_hooks(transaction: Transaction) -> None:
    """The addresses of the webhooks that there are."""
    for agent_id, body in transaction.all(_AGENTS):
        for trigger in json.loads(body)["document"]["triggers"]:
            if "webhook" in trigger:
                transaction.run(
                    _KEEP_HOOK, id=hook_id(agent_id, trigger["name"]), agent_id=agent_id, trigger=trigger["name"]
                )


STEPS: Mapping[int, Sequence[Step]] = {
    2: (
        _HOOKS,
        "CREATE INDEX hooks_by_agent ON hooks (agent_id)",
        _keep_hooks,
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
                act(transaction)
    if version < VERSION:
        transaction.run(_MOVE, version=VERSION)
