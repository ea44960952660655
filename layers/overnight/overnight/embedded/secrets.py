"""Secrets in an encrypted file: AES-256-GCM under a key derived from the deployment's master key.

Both lie in one folder, readable by their owner only. The file is replaced as a whole, so a crash leaves the old one or
the new one; a lock keeps two processes (a server, and `overnight secrets set`) from losing each other's changes; and
whoever reads looks whether the file is still the one it knows, so a new value holds from the next run on.
"""

import base64
import binascii
import fcntl
import json
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from overnight.embedded import files
from overnight.errors import Invalid, NotFound, Unavailable

__all__ = ["FileSecretStore"]

KEY_FILE = "master.key"
KEY_VARIABLE = "OVERNIGHT_MASTER_KEY"
SECRETS_FILE = "secrets.enc"
LOCK_FILE = "secrets.lock"

_KEY_BYTES = 32
_NONCE_BYTES = 12
_FORMAT = b"overnight secrets 1\n"
"""Begins the file, and is authenticated with it."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_OWN_VARIABLES = "OVERNIGHT_"
_AWS = ("ssm", "secretsmanager")
_NOBODY_ELSE = stat.S_IRWXG | stat.S_IRWXO


class FileSecretStore:
    """The secrets of an embedded engine.

    Args:
        folder: where key and secrets are kept; made if it is missing.
        environ: what `env:NAME` refers to. OVERNIGHT_MASTER_KEY in it, 32 bytes in base64, is the master key of a
            deployment that keeps it elsewhere; otherwise one is made and kept in `master.key`.

    Raises:
        Invalid: OVERNIGHT_MASTER_KEY is no key.
        Unavailable: the key file is damaged, or others can read it.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = environ
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        given = environ.get(KEY_VARIABLE)
        self._master = _given(given) if given else _kept(folder / KEY_FILE)
        self._cipher = AESGCM(self.derive("secrets file"))
        self._lock = threading.Lock()
        self._known: tuple[object, dict[str, str]] = (None, {})

    # The port

    def resolve(self, reference: str) -> str:
        """The value behind `secret:name` or `env:NAME`. Raises NotFound, which says how to set it; Unavailable."""
        scheme, _, name = reference.partition(":")
        if scheme == "secret":
            value = self._read().get(name)
            if value is None:
                raise NotFound(f"there is no secret {name!r}; set it with: overnight secrets set {name}")
            return value
        if scheme == "env":
            return self._variable(name)
        if scheme in _AWS:
            raise NotFound(
                f"{reference} is resolved on AWS only; here, keep the value with: overnight secrets set NAME, "
                "and refer to it as secret:NAME"
            )
        raise NotFound(f"{scheme}: refers to nothing; use secret:NAME, and set it with: overnight secrets set NAME")

    def set(self, name: str, value: str) -> None:
        """Keep a secret, in place of any former one. Raises Invalid."""
        if not _NAME.fullmatch(name):
            raise Invalid.field("name", "must be 1 to 64 letters, digits, '_' and '-', a letter or digit first")
        if not value:
            raise Invalid.field("value", "must not be empty")
        self._change(lambda secrets: secrets | {name: value})

    def names(self) -> Sequence[str]:
        """The names of the secrets, sorted."""
        return sorted(self._read())

    def delete(self, name: str) -> None:
        """Forget a secret. Raises NotFound."""

        def without(secrets: dict[str, str]) -> dict[str, str]:
            if name not in secrets:
                raise NotFound(f"there is no secret {name!r}")
            return {other: value for other, value in secrets.items() if other != name}

        self._change(without)

    def derive(self, purpose: str) -> bytes:
        """A 32-byte key for that purpose (HKDF with SHA-256, RFC 5869); the same each time."""
        return HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"overnight/" + purpose.encode()).derive(self._master)

    # Behind it

    def _variable(self, name: str) -> str:
        if name.startswith(_OWN_VARIABLES):
            raise NotFound(f"env:{name} is Overnight's own and not given to flows; use: overnight secrets set NAME")
        value = self._environ.get(name)
        if value is None:
            raise NotFound(
                f"the environment variable {name} is not set where Overnight runs; set it there, or keep the value "
                f"with: overnight secrets set {name}, and refer to it as secret:{name}"
            )
        return value

    def _read(self) -> dict[str, str]:
        """What the file holds, decrypted anew only when it is another one."""
        path = self._folder / SECRETS_FILE
        with self._lock:
            try:
                found = path.stat()
            except FileNotFoundError:
                return {}
            identity = (found.st_ino, found.st_mtime_ns, found.st_size)
            if self._known[0] != identity:
                self._known = (identity, self._decrypt(path.read_bytes()))
            return self._known[1]

    def _change(self, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
        with self._exclusive():
            secrets = change(self._read())
            files.replace(self._folder / SECRETS_FILE, self._encrypt(secrets))

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        descriptor = os.open(self._folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _encrypt(self, secrets: dict[str, str]) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return _FORMAT + nonce + self._cipher.encrypt(nonce, json.dumps(secrets).encode(), _FORMAT)

    def _decrypt(self, content: bytes) -> dict[str, str]:
        begin, end = len(_FORMAT), len(_FORMAT) + _NONCE_BYTES
        if not content.startswith(_FORMAT):
            raise Unavailable(f"{self._folder / SECRETS_FILE} is damaged, or of a newer release of Overnight")
        try:
            plain = self._cipher.decrypt(content[begin:end], content[end:], _FORMAT)
        except (InvalidTag, ValueError) as error:
            raise Unavailable(
                f"{self._folder / SECRETS_FILE} can't be decrypted: it is damaged, or was written under another "
                f"master key ({KEY_FILE}, or {KEY_VARIABLE})"
            ) from error
        secrets: dict[str, str] = json.loads(plain)
        return secrets


def _given(text: str) -> bytes:
    key = _decoded(text)
    if key is None:
        raise Invalid.field(
            "OVERNIGHT_MASTER_KEY", "must be 32 bytes in base64; make them with: openssl rand -base64 32"
        )
    return key


def _kept(path: Path) -> bytes:
    """The key in the file, made where there is none; of two processes that make one, one wins."""
    if not path.exists():
        made = base64.b64encode(os.urandom(_KEY_BYTES)) + b"\n"
        temporary = files.written(path.parent, made)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
        files.sync(path.parent)
    if path.stat().st_mode & _NOBODY_ELSE:
        raise Unavailable(f"others than its owner can read {path}; change that with: chmod 600 {path}")
    key = _decoded(path.read_text("ascii", errors="replace"))
    if key is None:
        raise Unavailable(f"{path} is damaged: it must hold 32 bytes in base64; restore it from a backup")
    return key


def _decoded(text: str) -> bytes | None:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == _KEY_BYTES else None
