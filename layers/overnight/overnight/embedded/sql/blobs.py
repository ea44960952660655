"""Blobs in a table, where the hosts of several engines share nothing but the database."""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, exists, select

from overnight.embedded.sql.database import Database, Transaction
from overnight.embedded.sql.instants import to_us
from overnight.embedded.sql.schema import blobs, uses
from overnight.embedded.sql.statement import Insert, Statement, Upsert, binds
from overnight.errors import NotFound, Unavailable

__all__ = ["SqlBlobStore"]

FRESH = timedelta(hours=1)
"""A blob that is put again is noted as new, unless it was put so short a time ago."""

PAGE = 2_000
"""How many blobs one round of the sweep looks at."""


def _put(insert: Upsert) -> Insert:
    blob = insert(blobs).values(binds(blobs))
    return blob.on_conflict_do_update(
        index_elements=[blobs.c.digest],
        set_={"put_at": blob.excluded.put_at},
        where=blobs.c.put_at < bindparam("fresh"),
    )


_PUT = Statement(_put)
_GET = Statement(select(blobs.c.content).where(blobs.c.digest == bindparam("digest")))
_PAGE = Statement(
    select(blobs.c.digest)
    .where(blobs.c.digest > bindparam("after"))
    .order_by(blobs.c.digest)
    .limit(1)
    .offset(bindparam("most"))
)
_UNUSED = (
    blobs.c.digest > bindparam("after"),
    blobs.c.digest <= bindparam("until"),
    blobs.c.put_at < bindparam("before"),
    ~exists(select(uses.c.digest).where(uses.c.digest == blobs.c.digest)),
)
_SWEEP = Statement(delete(blobs).where(*_UNUSED))


class SqlBlobStore:
    """Bytes by their digest; what is there never changes.

    Args:
        database: where the table is.
        now: the clock, for how long a blob has been there.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._swept = ""

    def put(self, content: bytes, owner: str | None = None) -> str:  # noqa: ARG002 - the store knows who refers to it
        """Keep it, durably; the digest (hex)."""
        digest = hashlib.sha256(content).hexdigest()
        now = self._now()

        def work(transaction: Transaction) -> None:
            transaction.run(_PUT, digest=digest, content=content, put_at=to_us(now), fresh=to_us(now - FRESH))

        self._database.write(work)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes. Raises NotFound; Unavailable when they are not what was kept."""
        row = self._database.read(lambda reading: reading.one(_GET, digest=digest))
        if row is None:
            raise NotFound(f"there is no blob {digest!r}")
        content = bytes(row[0])
        if hashlib.sha256(content).hexdigest() != digest:
            raise Unavailable(f"blob {digest} is damaged; restore it from a backup")
        return content

    def sweep(self, before: datetime) -> int:
        """Remove what nobody needs, and was put before that time; a part of all, each time the next. How many."""

        def work(transaction: Transaction) -> tuple[int, str]:
            end = transaction.one(_PAGE, after=self._swept, most=PAGE)
            until = end[0] if end else "g"  # behind every digest
            removed = transaction.run(_SWEEP, after=self._swept, until=until, before=to_us(before))
            return removed, end[0] if end else ""

        removed, self._swept = self._database.write(work)
        return removed
