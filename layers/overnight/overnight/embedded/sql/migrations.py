"""The version of the tables, and how a database of an earlier version is brought up to date."""

from collections.abc import Mapping, Sequence

from sqlalchemy import BigInteger, Column, MetaData, Table, bindparam, insert, select, update
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from overnight.embedded.sql import schema
from overnight.embedded.sql.database import Transaction
from overnight.embedded.sql.statement import Statement
from overnight.errors import Unavailable

__all__ = ["STEPS", "VERSION", "migrate"]

VERSION = 1
"""The version of the tables in `schema`."""

STEPS: Mapping[int, Sequence[str]] = {}
"""For each version but the first, the statements that make it of the one before. What is released never changes."""

_versions = MetaData()
_schema_version = Table("schema_version", _versions, Column("version", BigInteger, nullable=False))

_CREATE = "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)"
_READ = Statement(select(_schema_version.c.version))
_BEGIN = Statement(insert(_schema_version).values(version=bindparam("version")))
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
        for sql in STEPS[step]:
            transaction.run_sql(sql)
    if version < VERSION:
        transaction.run(_MOVE, version=VERSION)
