"""Secrets in an encrypted file: AES-256-GCM under a key derived from the deployment's master key.

Both lie in one folder, readable by their owner only. The file is replaced as a whole, so a crash leaves the old one or
the new one; a lock keeps two processes (a server, and `overnight secrets set`) from losing each other's changes; and
whoever reads looks whether the file is still the one it knows, so a new value holds from the next run on.
"""

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from overnight.embedded import files, references
from overnight.embedded.master_key import KEY_FILE, KEY_VARIABLE, MasterKey
from overnight.errors import NotFound, Unavailable

__all__ = ["FileSecretStore"]

SECRETS_FILE = "secrets.enc"
LOCK_FILE = "secrets.lock"

_NONCE_BYTES = 12
_FORMAT = b"overnight secrets 1\n"
"""Begins the file, and is authenticated with it."""


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
        self._master = MasterKey.given(environ) or MasterKey.made(folder)
        self._cipher = AESGCM(self.derive("secrets file"))
        self._lock = threading.Lock()
        self._known: tuple[object, dict[str, str]] = (None, {})

    # The port

    def resolve(self, reference: str) -> str:
        """The value behind `secret:name` or `env:NAME`. Raises NotFound, which says how to set it; Unavailable."""
        return references.resolved(reference, lambda name: self._read().get(name), self._environ)

    def set(self, name: str, value: str) -> None:
        """Keep a secret, in place of any former one. Raises Invalid."""
        references.check(name, value)
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
        """A 32-byte key for that purpose; the same each time."""
        return self._master.derive(purpose)

    # Behind it

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
