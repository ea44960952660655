"""Blobs in a folder, each in a file named by its SHA-256, spread over 256 folders."""

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from pathlib import Path

from overnight.embedded import files
from overnight.errors import NotFound, Unavailable

__all__ = ["FolderBlobStore"]

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LEFT_OVER_SECONDS = 3_600
"""A file that is still unfinished after this was left by a crash."""


_FOLDERS_A_SWEEP = 16
_CHUNK = 500

Used = Callable[[Sequence[str]], Collection[str]]
"""Which of these blobs anybody needs."""


class FolderBlobStore:
    """Bytes by their digest; what is there never changes.

    A blob appears under its name only when all of it is on disk, so a crash leaves no half of one. One engine has the
    folder at a time.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sweeping = threading.Lock()
        self._swept = 0
        self._unfinished = folder / "unfinished"
        self._unfinished.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._clear()

    def put(self, content: bytes, owner: str | None = None) -> str:  # noqa: ARG002 - the store knows who refers to it
        """Keep it, durably; the digest (hex)."""
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        if not self._holds(path, len(content)):
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

    def sweep(self, before: datetime, used: Used) -> int:
        """Remove what nobody needs, and was put before that time; a part of all, each time the next. How many."""
        removed = 0
        for number in range(self._swept, self._swept + _FOLDERS_A_SWEEP):
            folder = self._folder / f"{number % 256:02x}"
            old = [path for path in _files(folder) if _put_at(path) < before.timestamp()]
            for start in range(0, len(old), _CHUNK):
                paths = {folder.name + path.name: path for path in old[start : start + _CHUNK]}
                for digest in paths.keys() - set(used(tuple(paths))):
                    removed += self._remove(paths[digest], before)
        self._swept = (self._swept + _FOLDERS_A_SWEEP) % 256
        return removed

    def _remove(self, path: Path, before: datetime) -> bool:
        """Remove a blob, unless it was put again since we looked."""
        with self._sweeping:
            if _put_at(path) >= before.timestamp():
                return False
            path.unlink(missing_ok=True)
            return True

    def _holds(self, path: Path, size_bytes: int) -> bool:
        """Whether the blob is there; then it is as new, for whoever is about to refer to it."""
        with self._sweeping:
            try:
                if path.stat().st_size != size_bytes:
                    return False
                os.utime(path)
            except FileNotFoundError:
                return False
            return True

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


def _files(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _put_at(path: Path) -> float:
    """When it was put the last time; in the distant future, where it is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
