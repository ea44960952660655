"""Secrets on AWS: the stack's own are SecureString parameters under its path in SSM; others' are referred to.

    secret:name             <path>/secrets/<name>
    ssm:/any/parameter      a parameter of the account, if the runner may read it
    secretsmanager:id       a secret of Secrets Manager; `secretsmanager:id#key` is a field of one that is JSON

A value is kept in memory for five minutes at most, and never anywhere else.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from overnight.aws.answers import code_of, unavailable
from overnight.errors import Invalid, NotFound, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient

__all__ = ["CACHED_SECONDS", "MASTER_KEY", "SsmSecretStore"]

CACHED_SECONDS = 300.0

MASTER_KEY = "master-key"
"""The parameter, under the stack's path, that all derived keys come from: 32 bytes in base64."""

_SECRETS = "secrets"
_KEY_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_MOST_BYTES = 8_192
_NO_PARAMETER = frozenset({"ParameterNotFound", "ParameterVersionNotFound"})
_NO_SECRET = "ResourceNotFoundException"  # noqa: S105 - a code


class SsmSecretStore:
    """The secrets of a stack.

    Args:
        ssm: gives the client of SSM.
        secrets_manager: gives the client of Secrets Manager.
        path: under which the stack's parameters are, without a slash at its end.
        key: the KMS key of its SecureStrings; None for `alias/aws/ssm`.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        ssm: "Callable[[], SSMClient]",
        secrets_manager: "Callable[[], SecretsManagerClient]",
        path: str,
        key: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ssm = ssm
        self._secrets_manager = secrets_manager
        self._path = path
        self._key = key
        self._clock = clock
        self._known: dict[str, tuple[float, str]] = {}
        self._lock = threading.Lock()

    # The port

    def resolve(self, reference: str) -> str:
        """The value behind a reference. Raises NotFound, which says how to set it; Unavailable."""
        scheme, _, name = reference.partition(":")
        match scheme:
            case "secret" if _NAME.fullmatch(name):
                missing = f"there is no secret {name!r}; set it with: overnight secrets set {name}"
                return self._cached(reference, lambda: self._parameter(self._parameter_of(name), missing))
            case "ssm" if f"{self._path}/{MASTER_KEY}" in name:
                raise NotFound(f"{reference} is Overnight's own, and no flow is given it")
            case "ssm":
                missing = f"there is no parameter {name!r} in SSM, in this account and region"
                return self._cached(reference, lambda: self._parameter(name, missing))
            case "secretsmanager":
                return self._cached(reference, lambda: self._managed(name))
            case "env":
                raise NotFound(
                    f"{reference} is resolved on one's own machine only; on AWS, keep the value with: "
                    f"overnight secrets set {name}, and refer to it as secret:{name}"
                )
        raise NotFound(f"{reference!r} refers to nothing; use secret:NAME, and set it with: overnight secrets set NAME")

    def set(self, name: str, value: str) -> None:
        """Keep a secret, in place of any former one. Raises Invalid, Unavailable."""
        if not _NAME.fullmatch(name):
            raise Invalid.field("name", "must be 1 to 64 letters, digits, '_' and '-', a letter or digit first")
        if not value:
            raise Invalid.field("value", "must not be empty")
        size = len(value.encode())
        if size > _MOST_BYTES:
            raise Invalid.field("value", f"has {size:,} bytes; SSM keeps {_MOST_BYTES:,}. Use secretsmanager:ID")
        with unavailable("SSM"):
            self._ssm().put_parameter(
                Name=self._parameter_of(name),
                Value=value,
                Type="SecureString",
                Overwrite=True,
                Tier="Intelligent-Tiering",  # standard, and free, up to 4 KB; one that was larger before stays advanced
                **self._with_key(),
            )
        self._forget(name)

    def names(self) -> Sequence[str]:
        """The names of the stack's secrets, sorted. Raises Unavailable."""
        path = f"{self._path}/{_SECRETS}"
        with unavailable("SSM"):
            pages = self._ssm().get_paginator("get_parameters_by_path").paginate(Path=path, WithDecryption=False)
            return sorted(found["Name"].removeprefix(f"{path}/") for page in pages for found in page["Parameters"])

    def delete(self, name: str) -> None:
        """Forget a secret. Raises NotFound, Unavailable."""
        self._forget(name)
        with unavailable("SSM"):
            try:
                self._ssm().delete_parameter(Name=self._parameter_of(name))
            except ClientError as error:
                if code_of(error) in _NO_PARAMETER:
                    raise NotFound(f"there is no secret {name!r}") from None
                raise

    def derive(self, purpose: str) -> bytes:
        """A 32-byte key for that purpose (HKDF with SHA-256, RFC 5869); the same each time. Raises Unavailable."""
        name = f"{self._path}/{MASTER_KEY}"
        try:
            text = self._cached(MASTER_KEY, lambda: self._parameter(name, name))
        except NotFound:
            raise Unavailable(f"the stack has no master key: SSM has no parameter {name}; deploy it again") from None
        return _hkdf(base64.b64decode(text), b"overnight/" + purpose.encode())

    # At deployment

    def ensure_master_key(self) -> None:
        """Make the master key, unless there is one; of two deployments that make one, one wins. Raises Unavailable."""
        with unavailable("SSM"):
            try:
                self._ssm().put_parameter(
                    Name=f"{self._path}/{MASTER_KEY}",
                    Description="All keys of this stack of Overnight are derived from it. Never change it.",
                    Value=base64.b64encode(os.urandom(_KEY_BYTES)).decode(),
                    Type="SecureString",
                    Overwrite=False,
                    **self._with_key(),
                )
            except ClientError as error:
                if code_of(error) != "ParameterAlreadyExists":
                    raise

    # Behind it

    def _cached(self, reference: str, read: Callable[[], str]) -> str:
        with self._lock:
            read_at, value = self._known.get(reference, (0.0, None))
            if value is not None and self._clock() - read_at < CACHED_SECONDS:
                return value
        value = read()
        with self._lock:
            self._known[reference] = (self._clock(), value)
        return value

    def _forget(self, name: str) -> None:
        with self._lock:
            self._known.pop(f"secret:{name}", None)

    def _parameter_of(self, name: str) -> str:
        return f"{self._path}/{_SECRETS}/{name}"

    def _with_key(self) -> Any:
        return {"KeyId": self._key} if self._key else {}

    def _parameter(self, name: str, missing: str) -> str:
        with unavailable("SSM"):
            try:
                return self._ssm().get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
            except ClientError as error:
                if code_of(error) in _NO_PARAMETER:
                    raise NotFound(missing) from None
                raise

    def _managed(self, name: str) -> str:
        secret_id, _, key = name.partition("#")
        with unavailable("Secrets Manager"):
            try:
                value = self._secrets_manager().get_secret_value(SecretId=secret_id).get("SecretString", "")
            except ClientError as error:
                if code_of(error) == _NO_SECRET:
                    raise NotFound(f"there is no secret {secret_id!r} in Secrets Manager, in this account") from None
                raise
        return _field(value, key, secret_id) if key else value


def _hkdf(master: bytes, info: bytes) -> bytes:
    """HKDF with SHA-256, no salt, one block (RFC 5869); spares the light functions the package cryptography."""
    key = hmac.new(bytes(_KEY_BYTES), master, hashlib.sha256).digest()
    return hmac.new(key, info + b"\x01", hashlib.sha256).digest()


def _field(value: str, key: str, secret_id: str) -> str:
    try:
        fields = json.loads(value)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or not isinstance(fields.get(key), str):
        raise NotFound(f"secret {secret_id!r} in Secrets Manager has no field {key!r} with text in it")
    found: str = fields[key]
    return found
