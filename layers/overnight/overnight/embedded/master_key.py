"""The master key of a deployment: 32 bytes, from which every other key is derived."""

import base64
import binascii
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from overnight.embedded import files
from overnight.errors import Invalid, Unavailable

__all__ = ["KEY_FILE", "KEY_VARIABLE", "MasterKey"]

KEY_FILE = "master.key"
KEY_VARIABLE = "OVERNIGHT_MASTER_KEY"

_KEY_BYTES = 32
_NOBODY_ELSE = stat.S_IRWXG | stat.S_IRWXO


class MasterKey:
    """Given by the environment, or kept in a file that its owner alone can read."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def given(cls, environ: Mapping[str, str]) -> "MasterKey | None":
        """The key in OVERNIGHT_MASTER_KEY, 32 bytes in base64; None where it isn't set. Raises Invalid."""
        text = environ.get(KEY_VARIABLE)
        if not text:
            return None
        key = _decoded(text)
        if key is None:
            raise Invalid.field(KEY_VARIABLE, "must be 32 bytes in base64; make them with: openssl rand -base64 32")
        return cls(key)

    @classmethod
    def kept(cls, folder: Path) -> "MasterKey | None":
        """The key in the folder's `master.key`; None where there is none. Raises Unavailable."""
        path = folder / KEY_FILE
        try:
            others = path.stat().st_mode & _NOBODY_ELSE
        except FileNotFoundError:
            return None
        if others:
            raise Unavailable(f"others than its owner can read {path}; change that with: chmod 600 {path}")
        key = _decoded(path.read_text("ascii", errors="replace"))
        if key is None:
            raise Unavailable(f"{path} is damaged: it must hold 32 bytes in base64; restore it from a backup")
        return cls(key)

    @classmethod
    def made(cls, folder: Path) -> "MasterKey":
        """The key in the folder, made where there is none; of two processes that make one, one wins."""
        path = folder / KEY_FILE
        if not path.exists():
            temporary = files.written(folder, base64.b64encode(os.urandom(_KEY_BYTES)) + b"\n")
            try:
                path.hardlink_to(temporary)
            except FileExistsError:
                pass
            finally:
                temporary.unlink()
            files.sync(folder)
        key = cls.kept(folder)
        if key is None:
            raise Unavailable(f"{path} was removed as soon as it was made")
        return key

    def derive(self, purpose: str) -> bytes:
        """A 32-byte key for that purpose (HKDF with SHA-256, RFC 5869); the same each time."""
        return HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"overnight/" + purpose.encode()).derive(self._key)


def _decoded(text: str) -> bytes | None:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == _KEY_BYTES else None
