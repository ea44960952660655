"""What every blob store of the embedded engine does, whether it is a folder or a table."""

import hashlib
import os
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support import postgresql

from overnight.embedded.blobs import FolderBlobStore
from overnight.embedded.sql import open_database
from overnight.embedded.sql.blobs import SqlBlobStore
from overnight.embedded.sql.schema import uses
from overnight.embedded.sql.statement import Statement, binds
from overnight.errors import NotFound, Unavailable

USE = Statement(lambda insert: insert(uses).values(binds(uses)))


@dataclass
class Kept:
    """A store, with what a test does to it behind its back."""

    store: Any
    use: Callable[[str], object]
    damage: Callable[[], object]
    grow_old: Callable[[str, timedelta], object]
    sweep: Callable[[datetime], int]
    close: Callable[[], object] = lambda: None

    def swept(self) -> int:
        """Sweep all of it, as an engine does in the course of time; how many went."""
        return sum(self.sweep(datetime.now(UTC) - timedelta(days=1)) for _ in range(16))


def in_folder(folder: Path) -> Kept:
    store = FolderBlobStore(folder)
    used: set[str] = set()

    def path(digest: str) -> Path:
        return folder / digest[:2] / digest[2:]

    def grow_old(digest: str, age: timedelta) -> None:
        at = (datetime.now(UTC) - age).timestamp()
        os.utime(path(digest), (at, at))

    def damage() -> None:
        for file in folder.glob("??/*"):
            file.write_bytes(b"fl")

    def among(digests: Sequence[str]) -> Collection[str]:
        return used & set(digests)

    return Kept(store, used.add, damage, grow_old, lambda before: store.sweep(before, among))


def in_table(url: str) -> Kept:
    database = open_database(url)
    store = SqlBlobStore(database, lambda: datetime.now(UTC))

    def use(digest: str) -> None:
        database.write(lambda transaction: transaction.run(USE, owner="execution", digest=digest))

    def execute(sql: str) -> None:
        database.write(lambda transaction: transaction.run_sql(sql))

    def grow_old(digest: str, age: timedelta) -> None:
        execute(f"UPDATE blobs SET put_at = put_at - {round(age.total_seconds() * 1e6)} WHERE digest = '{digest}'")

    none = "''::bytea" if database.shared else "x''"
    return Kept(
        store, use, lambda: execute(f"UPDATE blobs SET content = {none}"), grow_old, store.sweep, database.close
    )


KINDS: dict[str, Callable[[Path], Kept]] = {
    "folder": in_folder,
    "sqlite": lambda _: in_table("sqlite://"),
    "postgresql": lambda folder: in_table(postgresql.namespace(folder)),
}


@pytest.fixture(params=KINDS)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    made = KINDS[request.param](tmp_path / "blobs")
    yield made
    made.close()


def test_a_blob_comes_back_by_its_sha256(kept):
    for content in (b"flow", b"", bytes(range(256)) * 4_000):
        digest = kept.store.put(content)
        assert digest == hashlib.sha256(content).hexdigest()
        assert kept.store.get(digest) == content
        assert kept.store.put(content) == digest


@pytest.mark.parametrize("digest", ["0" * 64, "", "..", "../../etc/passwd", "A" * 64])
def test_what_is_not_there_is_not_found(kept, digest):
    with pytest.raises(NotFound):
        kept.store.get(digest)


def test_a_damaged_blob_is_not_given_out(kept):
    digest = kept.store.put(b"flow")
    kept.damage()
    with pytest.raises(Unavailable, match="damaged"):
        kept.store.get(digest)


def test_many_put_the_same_blob_at_once(kept):
    digests = []
    threads = [threading.Thread(target=lambda: digests.append(kept.store.put(b"flow" * 1000))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(digests) == 8
    assert len(set(digests)) == 1


def test_what_nobody_needs_goes_after_a_day(kept):
    contents = [str(number).encode() for number in range(60)]
    digests = [kept.store.put(content) for content in contents]
    needed, fresh = set(digests[:20]), set(digests[20:40])
    for digest in needed:
        kept.use(digest)
    for digest in set(digests) - fresh:
        kept.grow_old(digest, timedelta(hours=25))
    assert kept.swept() == 20
    left = set()
    for digest in digests:
        try:
            kept.store.get(digest)
        except NotFound:
            continue
        left.add(digest)
    assert left == needed | fresh
    assert kept.swept() == 0


def test_what_is_put_again_is_as_new(kept):
    digest = kept.store.put(b"flow")
    kept.grow_old(digest, timedelta(days=30))
    kept.store.put(b"flow")
    assert kept.swept() == 0
    assert kept.store.get(digest) == b"flow"


def test_nothing_that_is_being_put_is_swept_away(kept):
    digest = kept.store.put(b"flow")
    for _ in range(10):
        kept.grow_old(digest, timedelta(days=2))
        sweeping = threading.Thread(target=kept.swept)
        sweeping.start()
        kept.store.put(b"flow")
        sweeping.join(30)
        assert kept.store.get(digest) == b"flow"
