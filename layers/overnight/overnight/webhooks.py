"""Webhooks: how a trigger's address is protected, and what of a delivery the flow gets."""

import hashlib
import json
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, AliasChoices, Field, JsonValue, StringConstraints, model_validator

from overnight.schedules import Kind, TriggerWords, Words
from overnight.words import Reference

__all__ = ["HeaderName", "PayloadSchema", "Signature", "Webhook", "WebhookTrigger", "hook_id"]

Signature = Literal["standard-webhooks", "github", "stripe", "slack", "langflow", "hmac", "token", "none"]

SCHEMA_BYTES = 16_384
"""How large a trigger's JSON Schema may be; it is part of the agent's record."""

_NEVER_TOLD = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})
_MEANT_FOR: dict[str, frozenset[Signature]] = {
    "header": frozenset({"hmac", "token"}),
    "algorithm": frozenset({"hmac"}),
    "encoding": frozenset({"hmac"}),
    "prefix": frozenset({"hmac"}),
    "timestamp_header": frozenset({"hmac"}),
    "template": frozenset({"hmac"}),
    "query": frozenset({"token"}),
    "id_header": frozenset({"hmac", "token", "none"}),
    "secret": frozenset({"standard-webhooks", "github", "stripe", "slack", "langflow", "hmac", "token"}),
}
"""Which fields mean something to which signatures; the others to all."""


def hook_id(agent_id: str, trigger: str) -> str:
    """The id in a webhook's address: 32 hex digits. The same trigger of the same agent always has the same one."""
    return hashlib.sha256(f"hook\n{agent_id}\n{trigger}".encode()).hexdigest()[:32]


def _schema(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Checked as far as that is possible without a delivery: it is a JSON Schema, small, and refers to itself only."""
    from jsonschema.exceptions import SchemaError  # noqa: PLC0415 - slow to import, and seldom used
    from jsonschema.validators import Draft202012Validator, validator_for  # noqa: PLC0415
    from referencing import Registry, Resource  # noqa: PLC0415
    from referencing.exceptions import Unresolvable  # noqa: PLC0415
    from referencing.jsonschema import DRAFT202012  # noqa: PLC0415

    if len(json.dumps(schema)) > SCHEMA_BYTES:
        raise ValueError(f"may have at most {SCHEMA_BYTES:,} bytes")
    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        where = "/".join(str(part) for part in error.absolute_path) or "its top"
        raise ValueError(f"is no JSON Schema, at {where}: {error.message[:200]}") from error
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    resource: Resource[Any] = Resource.from_contents(schema, default_specification=DRAFT202012)
    resolver = Registry[Any]().with_resource("", resource).resolver()
    for reference in _references(schema):
        if not reference.startswith("#"):
            raise ValueError(f"refers to {reference!r}; only references within the schema (#…) are followed")
        try:
            resolver.lookup(reference)
        except Unresolvable as error:
            raise ValueError(f"refers to {reference!r}, which is not in it") from error
    return schema


def _references(value: JsonValue) -> Iterator[str]:
    if isinstance(value, dict):
        for key, part in value.items():
            if key in {"$ref", "$dynamicRef", "$recursiveRef"} and isinstance(part, str):
                yield part
            else:
                yield from _references(part)
    elif isinstance(value, list):
        for part in value:
            yield from _references(part)


HeaderName = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$")]
ToldHeader = Annotated[HeaderName, StringConstraints(to_lower=True)]
PayloadSchema = Annotated[dict[str, JsonValue], AfterValidator(_schema)]


class Webhook(Words):
    """How a webhook proves who sent it, how often it may come, and what of it the flow gets."""

    signature: Signature = Field(
        default="standard-webhooks", description="The sender's scheme. `none` lets everybody in who knows the address."
    )
    secret: Reference | None = Field(
        default=None,
        description="Where the secret is kept that the sender gave you; if not given, Overnight makes one.",
        examples=["secret:stripe"],
    )
    previous_secret: Reference | None = Field(
        default=None, description="The secret before, still accepted while the sender changes over to `secret`."
    )
    header: HeaderName | None = Field(
        default=None, description="hmac: the header with the signature. token: the header with the token."
    )
    query: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.~-]{1,64}$")] | None = Field(
        default=None, description="token: the query parameter with the token, in place of a header."
    )
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] | None = Field(
        default=None, description="hmac: the hash; sha256 if not given."
    )
    encoding: Literal["hex", "base64"] | None = Field(
        default=None, description="hmac: how the signature is written; hex if not given."
    )
    prefix: str | None = Field(
        default=None, max_length=64, description="hmac: what stands before the signature, such as `sha256=`."
    )
    timestamp_header: HeaderName | None = Field(
        default=None, description="hmac: the header with the time of sending, in Unix seconds; 300 s are tolerated."
    )
    template: str | None = Field(
        default=None,
        max_length=256,
        description="hmac: what is signed, made of {timestamp} and {body}; {body} if not given.",
        examples=["{timestamp}.{body}"],
    )
    id_header: HeaderName | None = Field(
        default=None,
        description="hmac, token, none: the header with the delivery's id, by which a repeated one is known.",
        examples=["X-Shopify-Webhook-Id"],
    )
    headers: Annotated[tuple[ToldHeader, ...], Field(max_length=32)] = Field(
        default=(), description="Headers that the flow gets, beside those that the scheme always gives it."
    )
    payload_schema: PayloadSchema | None = Field(
        default=None,
        validation_alias=AliasChoices("schema", "payload_schema"),
        serialization_alias="schema",
        description="JSON Schema of the body; what does not fit is answered 422.",
    )
    rate_limit_per_minute: int | None = Field(
        default=None, ge=1, le=100_000, description="Verified calls per minute; more are answered 429."
    )

    @model_validator(mode="after")
    def _fits_its_scheme(self) -> Self:
        for name, signatures in _MEANT_FOR.items():
            if getattr(self, name) is not None and self.signature not in signatures:
                raise ValueError(f"{name}: means nothing with signature {self.signature}")
        if self.previous_secret is not None and self.secret is None:
            raise ValueError("previous_secret: needs secret beside it; one that Overnight made is changed by rotation")
        if self.query is not None and self.header is not None:
            raise ValueError("query: give either this or header")
        if told := set(self.headers) & (_NEVER_TOLD | {(self.header or "").lower()}):
            raise ValueError(f"headers: {min(told)} may carry a secret, and no flow gets it")
        if self.signature == "hmac":
            self._check_hmac()
        return self

    def _check_hmac(self) -> None:
        if self.header is None:
            raise ValueError("header: signature hmac needs the name of the header that carries it")
        template = self.template or "{body}"
        if template.count("{body}") != 1:
            raise ValueError("template: must contain {body} once")
        if set(template.replace("{body}", "").replace("{timestamp}", "")) & {"{", "}"}:
            raise ValueError("template: only {timestamp} and {body} are known")
        if ("{timestamp}" in template) != (self.timestamp_header is not None):
            raise ValueError("timestamp_header: must be given where the template contains {timestamp}, and only there")


class WebhookTrigger(TriggerWords):
    """Whenever somebody posts to the trigger's address, with a valid signature."""

    kind: ClassVar[Kind] = "webhook"

    webhook: Webhook
