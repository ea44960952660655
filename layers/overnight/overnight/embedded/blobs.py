"""Blobs in a folder, each in a file named by its SHA-256, spread over 256 folders."""

import hashlib
import re
import time
from pathlib import Path

from overnight.embedded import files
from overnight.errors import NotFound, Unavailable

__all__ = ["FolderBlobStore"]

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LEFT_OVER_SECONDS = 3_600
"""A file that is still unfinished after this was left by a crash."""


class FolderBlobStore:
    """Bytes by their digest; what is there never changes.

    A blob appears under its name only when all of it is on disk, so a crash leaves no half of one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unfinished = folder / "unfinished"
        self._unfinished.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._clear()

    def put(self, content: bytes) -> str:
        """Keep it, durably; the digest (hex)."""
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        if not _holds(path, len(content)):
            if not path.parent.exists():
                path.parent.mkdir(mode=0o700, exist_ok=True)
                files.sync(self._folder)
            files.written(self._unfinished, content).replace(path)
        files.sync(path.parent)  # also where somebody else wrote it a moment ago
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes. Raises NotFound; Unavailable when they are not what was kept."""
        if not _DIGEST.fullmatch(digest):
            raise NotFound(f"there is no blob {digest!r}")
        try:
            content = self._path(digest).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"there is no blob {digest!r}") from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise Unavailable(f"blob {digest} is damaged; restore {self._path(digest)} from a backup")
        return content

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest[2:]

    def _clear(self) -> None:
        oldest = time.time() - _LEFT_OVER_SECONDS
        for path in self._unfinished.iterdir():
            try:
                if path.stat().st_mtime < oldest:
                    path.unlink(missing_ok=True)
            except FileNotFoundError:
                continue  # finished in between


def _holds(path: Path, size_bytes: int) -> bool:
    try:
        return path.stat().st_size == size_bytes
    except FileNotFoundError:
        return False
