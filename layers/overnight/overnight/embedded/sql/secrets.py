"""Secrets in a table, each encrypted by itself: AES-256-GCM under a key derived from the deployment's master key."""

import os
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import bindparam, delete, select

from overnight.embedded import references
from overnight.embedded.master_key import KEY_VARIABLE, MasterKey
from overnight.embedded.sql.database import Database
from overnight.embedded.sql.schema import secrets
from overnight.embedded.sql.statement import Insert, Statement, Upsert, binds
from overnight.errors import NotFound, Unavailable

__all__ = ["SqlSecretStore"]

_NONCE_BYTES = 12
_FORMAT = b"overnight secret 1\n"


def _set(insert: Upsert) -> Insert:
    secret = insert(secrets).values(binds(secrets))
    return secret.on_conflict_do_update(index_elements=[secrets.c.name], set_={"value": secret.excluded.value})


_SET = Statement(_set)
_READ = Statement(select(secrets.c.value).where(secrets.c.name == bindparam("name")))
_NAMES = Statement(select(secrets.c.name))
_DELETE = Statement(delete(secrets).where(secrets.c.name == bindparam("name")))


class SqlSecretStore:
    """The secrets of all engines on one database.

    Args:
        database: where the table is.
        key: the master key that the engines agree on.
        environ: what `env:NAME` refers to; each engine has its own.
    """

    def __init__(self, database: Database, key: MasterKey, environ: Mapping[str, str]) -> None:
        self._database = database
        self._master = key
        self._environ = environ
        self._cipher = AESGCM(self.derive("secrets table"))

    def resolve(self, reference: str) -> str:
        """The value behind `secret:name` or `env:NAME`. Raises NotFound, which says how to set it; Unavailable."""
        return references.resolved(reference, self._get, self._environ)

    def set(self, name: str, value: str) -> None:
        """Keep a secret, in place of any former one. Raises Invalid."""
        references.check(name, value)
        nonce = os.urandom(_NONCE_BYTES)
        encrypted = nonce + self._cipher.encrypt(nonce, value.encode(), _authenticated(name))
        self._database.write(lambda transaction: transaction.run(_SET, name=name, value=encrypted))

    def names(self) -> Sequence[str]:
        """The names of the secrets, sorted."""
        return sorted(row[0] for row in self._database.read(lambda reading: reading.all(_NAMES)))

    def delete(self, name: str) -> None:
        """Forget a secret. Raises NotFound."""
        if not self._database.write(lambda transaction: transaction.run(_DELETE, name=name)):
            raise NotFound(f"there is no secret {name!r}")

    def derive(self, purpose: str) -> bytes:
        """A 32-byte key for that purpose; the same each time, on every engine."""
        return self._master.derive(purpose)

    def _get(self, name: str) -> str | None:
        row = self._database.read(lambda reading: reading.one(_READ, name=name))
        if row is None:
            return None
        value = bytes(row[0])
        try:
            return self._cipher.decrypt(value[:_NONCE_BYTES], value[_NONCE_BYTES:], _authenticated(name)).decode()
        except (InvalidTag, ValueError) as error:
            raise Unavailable(
                f"the secret {name!r} can't be decrypted: it is damaged, or was written under another master key "
                f"({KEY_VARIABLE}); set it again with: overnight secrets set {name}"
            ) from error


def _authenticated(name: str) -> bytes:
    """Of which secret it is the value: no row can be put in another's place."""
    return _FORMAT + name.encode()
