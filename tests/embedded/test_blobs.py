import hashlib
import os
import threading

import pytest

from overnight.embedded.blobs import FolderBlobStore
from overnight.errors import NotFound, Unavailable


def test_a_blob_comes_back_by_its_sha256(tmp_path):
    blobs = FolderBlobStore(tmp_path)
    digest = blobs.put(b"flow")
    assert digest == hashlib.sha256(b"flow").hexdigest()
    assert blobs.get(digest) == b"flow"
    assert FolderBlobStore(tmp_path).get(digest) == b"flow"


def test_putting_it_again_changes_nothing(tmp_path):
    blobs = FolderBlobStore(tmp_path)
    digest = blobs.put(b"flow")
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    before = file.stat().st_ino
    assert blobs.put(b"flow") == digest
    assert file.stat().st_ino == before


def test_the_empty_blob_is_one(tmp_path):
    blobs = FolderBlobStore(tmp_path)
    assert blobs.get(blobs.put(b"")) == b""


@pytest.mark.parametrize("digest", ["0" * 64, "", "..", "../../etc/passwd", "A" * 64, "0" * 63 + "\n"])
def test_what_is_not_there_is_not_found(tmp_path, digest):
    with pytest.raises(NotFound):
        FolderBlobStore(tmp_path).get(digest)


def test_a_damaged_blob_is_not_given_out_and_is_mended_by_putting_it_again(tmp_path):
    blobs = FolderBlobStore(tmp_path)
    digest = blobs.put(b"flow")
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    file.write_bytes(b"fl")
    with pytest.raises(Unavailable, match="damaged"):
        blobs.get(digest)
    blobs.put(b"flow")
    assert blobs.get(digest) == b"flow"


def test_a_crash_while_writing_leaves_no_blob_and_is_cleared_up(tmp_path, monkeypatch):
    blobs = FolderBlobStore(tmp_path)

    def crash(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        blobs.put(b"flow")
    monkeypatch.undo()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    left = tmp_path / "unfinished" / "left"
    left.write_bytes(b"fl")
    os.utime(left, (0, 0))
    fresh = tmp_path / "unfinished" / "fresh"
    fresh.write_bytes(b"fl")
    FolderBlobStore(tmp_path)
    assert not left.exists()
    assert fresh.exists()


def test_many_threads_put_the_same_blob_at_once(tmp_path):
    blobs = FolderBlobStore(tmp_path)
    digests = []
    threads = [threading.Thread(target=lambda: digests.append(blobs.put(b"flow" * 1000))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(digests) == 8
    assert len(set(digests)) == 1
    assert blobs.get(digests[0]) == b"flow" * 1000
