# ruff: noqa: ARG002 - a scheme is given whatever any of them needs
"""How senders prove who they are: each scheme in a few lines, all verified in one place.

A scheme reads from a delivery what it claims (which bytes were signed, by which signatures, when), and says what the
signature would be under a secret. `verify` compares: always all of it, in constant time, so that what is wrong with a
delivery shows neither in the answer nor in how long it takes.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from pydantic import JsonValue

from overnight.webhooks import Signature, Webhook

__all__ = ["TOLERANCE", "Delivery", "Refused", "Signed", "handshake", "sign", "verify"]

TOLERANCE = timedelta(seconds=300)
"""How far a delivery's timestamp may be from now, before or after."""

_TIMESTAMP = re.compile(r"[1-9]\d{0,11}", re.ASCII)
_ID = re.compile(r"[\x21-\x7e]{1,256}")
STANDARD_PREFIX = "whsec_"


class Refused(Exception):
    """The delivery proves nothing. The text says why, for the log only."""


class Delivery(NamedTuple):
    """What was posted: headers (names in lower case), query parameters, and the body's bytes as they came."""

    headers: Mapping[str, str]
    body: bytes
    query: Mapping[str, Sequence[str]] = {}

    def header(self, name: str | None) -> str:
        """The header of that name, whatever its case; empty if there is none."""
        return self.headers.get(name.lower(), "").strip() if name else ""


class Claim(NamedTuple):
    """What a delivery claims: the bytes that were signed, the signatures it brings, and when they were made."""

    signed: bytes
    signatures: Sequence[str]
    at: str | None = None
    """Unix seconds, as the sender wrote them; None where the scheme knows no time."""
    flaw: str | None = None


class Signed(NamedTuple):
    """What a sender adds to a body."""

    headers: Mapping[str, str]
    query: Mapping[str, str] = {}


class Scheme(Protocol):
    """One way of signing."""

    def claim(self, webhook: Webhook, delivery: Delivery) -> Claim:
        """What the delivery claims, believed or not."""

    def signature(self, webhook: Webhook, secret: str, signed: bytes) -> str:
        """What the signature must be. Raises ValueError when the secret can't be one of this scheme."""

    def delivery_id(self, webhook: Webhook, delivery: Delivery) -> str | None:
        """The delivery's own id, once it is verified; the same when the sender repeats it."""

    def sign(self, webhook: Webhook, secret: str, body: bytes, at: str, delivery_id: str) -> Signed:
        """What a sender would add."""


def verify(webhook: Webhook, delivery: Delivery, secrets: Sequence[str], now: datetime) -> str | None:
    """The id of a delivery that proves who sent it; None where it has none by which a repeated one would be known.

    Any one of the secrets will do. Raises Refused.
    """
    if webhook.signature == "none":
        return _id(delivery.header(webhook.id_header or "Idempotency-Key"))
    scheme = _SCHEMES[webhook.signature]
    claim = scheme.claim(webhook, delivery)
    proven, why = False, "no signature matches" if claim.signatures else "there is no signature"
    for secret in secrets:
        try:
            expected = scheme.signature(webhook, secret, claim.signed).encode()
        except ValueError as error:
            why = str(error)
            continue
        for signature in claim.signatures:
            proven |= hmac.compare_digest(expected, _bytes(signature))
    flaw = claim.flaw or (None if claim.at is None else _untimely(claim.at, now))
    if not proven or flaw is not None:
        raise Refused(flaw or why)
    own = scheme.delivery_id(webhook, delivery)
    if own is not None or webhook.signature == "token":
        return own
    return hashlib.sha256(claim.signed).hexdigest()[:32]


def sign(webhook: Webhook, secret: str, body: bytes, now: datetime, delivery_id: str) -> Signed:
    """What a sender adds to a body so that `verify` accepts it. Raises ValueError when the secret is of no use."""
    if webhook.signature == "none":
        return Signed({webhook.id_header or "Idempotency-Key": delivery_id})
    return _SCHEMES[webhook.signature].sign(webhook, secret, body, str(int(now.timestamp())), delivery_id)


def handshake(webhook: Webhook, delivery: Delivery) -> dict[str, JsonValue] | None:
    """The answer to a verified delivery that only asks whether somebody is there; None for all others."""
    match webhook.signature:
        case "github" if delivery.header("X-GitHub-Event") == "ping":
            return {"pong": True}
        case "slack":
            said = _object(delivery.body)
            if said.get("type") == "url_verification" and isinstance(said.get("challenge"), str):
                return {"challenge": said["challenge"]}
    return None


# The schemes


class _StandardWebhooks:
    """https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md"""

    def claim(self, webhook: Webhook, delivery: Delivery) -> Claim:
        id_, at = delivery.header("webhook-id"), delivery.header("webhook-timestamp")
        versioned = (signature.partition(",") for signature in delivery.header("webhook-signature").split(" "))
        # An id with a full stop could borrow from the timestamp behind it: the specification forbids it.
        flaw = None if _id(id_) and "." not in id_ else "webhook-id is missing, or no id"
        return Claim(
            b".".join((_bytes(id_), _bytes(at), delivery.body)),
            [signature for version, _, signature in versioned if version == "v1"],
            at,
            flaw,
        )

    def signature(self, webhook: Webhook, secret: str, signed: bytes) -> str:
        return _base64(_mac(standard_key(secret), signed))

    def delivery_id(self, webhook: Webhook, delivery: Delivery) -> str | None:
        return delivery.header("webhook-id")

    def sign(self, webhook: Webhook, secret: str, body: bytes, at: str, delivery_id: str) -> Signed:
        signature = self.signature(webhook, secret, b".".join((delivery_id.encode(), at.encode(), body)))
        headers = {"webhook-id": delivery_id, "webhook-timestamp": at, "webhook-signature": f"v1,{signature}"}
        return Signed(headers)


class _GitHub:
    """https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries"""

    def claim(self, webhook: Webhook, delivery: Delivery) -> Claim:
        return Claim(delivery.body, _given(delivery.header("X-Hub-Signature-256")))

    def signature(self, webhook: Webhook, secret: str, signed: bytes) -> str:
        return f"sha256={_mac(secret.encode(), signed).hex()}"

    def delivery_id(self, webhook: Webhook, delivery: Delivery) -> str | None:
        return _id(delivery.header("X-GitHub-Delivery"))

    def sign(self, webhook: Webhook, secret: str, body: bytes, at: str, delivery_id: str) -> Signed:
        signature = self.signature(webhook, secret, body)
        return Signed({"X-Hub-Signature-256": signature, "X-GitHub-Delivery": delivery_id})


class _Stripe:
    """https://docs.stripe.com/webhooks#verify-manually"""

    def claim(self, webhook: Webhook, delivery: Delivery) -> Claim:
        items = [item.strip().partition("=") for item in delivery.header("Stripe-Signature").split(",")]
        at = next((value for key, _, value in items if key == "t"), "")
        return Claim(_bytes(at) + b"." + delivery.body, [value for key, _, value in items if key == "v1"], at)

    def signature(self, webhook: Webhook, secret: str, signed: bytes) -> str:
        return _mac(secret.encode(), signed).hex()

    def delivery_id(self, webhook: Webhook, delivery: Delivery) -> str | None:
        # When Stripe repeats an event, it signs it anew; the event's id stays.
        return _id(_object(delivery.body).get("id"))

    def sign(self, webhook: Webhook, secret: str, body: bytes, at: str, delivery_id: str) -> Signed:
        return Signed({"Stripe-Signature": f"t={at},v1={self.signature(webhook, secret, at.encode() + b'.' + body)}"})


class _Versioned(NamedTuple):
    """`v0=…` over `v0:{timestamp}:{body}`.

    Slack: https://docs.slack.dev/authentication/verifying-requests-from-slack; Langflow 1.13 does it alike.
    """

    version: str
    header: str
    timestamp_header: str
    id_field: str | None = None
    """Of the body: when the sender repeats an event, it signs it anew, and this stays."""

    def claim(self, webhook: Webhook, delivery: Delivery) -> Claim:
        at = delivery.header(self.timestamp_header)
        return Claim(self._content(delivery.body, at), _given(delivery.header(self.header)), at)

    def signature(self, webhook: Webhook, secret: str, signed: bytes) -> str:
        return f"{self.version}={_mac(secret.encode(), signed).hex()}"

    def delivery_id(self, webhook: Webhook, delivery: Delivery) -> str | None:
        return _id(_object(delivery.body).get(self.id_field)) if self.id_field else None

    def sign(self, webhook: Webhook, secret: str, body: bytes, at: str, delivery_id: str) -> Signed:
        signature = self.signature(webhook, secret, self._content(body, at))
        return Signed({self.timestamp_header: at, self.header: signature})

    def _content(self, body: bytes, at: str) -> bytes:
        return b":".join((self.version.encode(), _bytes(at), body))


class _Hmac:
    """Whatever else signs with an HMAC: Shopify, in-house senders."""

    def claim(self, webhook: Webhook, delivery: Delivery) -> Claim:
        at = delivery.header(webhook.timestamp_header) if webhook.timestamp_header else None
        given, prefix = delivery.header(webhook.header), webhook.prefix or ""
        signature = given.removeprefix(prefix)
        if webhook.encoding != "base64" and given.startswith(prefix) and signature.isupper():
            given = prefix + signature.lower()
        return Claim(self._content(webhook, delivery.body, at or ""), _given(given), at)

    def signature(self, webhook: Webhook, secret: str, signed: bytes) -> str:
        mac = _mac(secret.encode(), signed, webhook.algorithm or "sha256")
        return (webhook.prefix or "") + (_base64(mac) if webhook.encoding == "base64" else mac.hex())

    def delivery_id(self, webhook: Webhook, delivery: Delivery) -> str | None:
        return _id(delivery.header(webhook.id_header))

    def sign(self, webhook: Webhook, secret: str, body: bytes, at: str, delivery_id: str) -> Signed:
        headers = {webhook.header or "": self.signature(webhook, secret, self._content(webhook, body, at))}
        if webhook.timestamp_header:
            headers[webhook.timestamp_header] = at
        if webhook.id_header:
            headers[webhook.id_header] = delivery_id
        return Signed(headers)

    def _content(self, webhook: Webhook, body: bytes, at: str) -> bytes:
        before, _, after = (webhook.template or "{body}").partition("{body}")
        return _bytes(before.replace("{timestamp}", at)) + body + _bytes(after.replace("{timestamp}", at))


class _Token:
    """A secret that is sent as it is: `Authorization: Bearer …`, a header or a query parameter."""

    def claim(self, webhook: Webhook, delivery: Delivery) -> Claim:
        if webhook.query is not None:
            token = "".join(delivery.query.get(webhook.query, ())[:1])
        elif webhook.header is not None:
            token = delivery.header(webhook.header)
        else:
            scheme, _, credential = delivery.header("Authorization").partition(" ")
            token = credential.strip() if scheme.lower() == "bearer" else ""
        return Claim(delivery.body, [_blinded(token)] if token else [])

    def signature(self, webhook: Webhook, secret: str, signed: bytes) -> str:
        _mac(_bytes(secret), signed)  # costs what a signature costs, so that time tells no scheme from another
        return _blinded(secret)

    def delivery_id(self, webhook: Webhook, delivery: Delivery) -> str | None:
        return _id(delivery.header(webhook.id_header or "Idempotency-Key"))

    def sign(self, webhook: Webhook, secret: str, body: bytes, at: str, delivery_id: str) -> Signed:
        id_ = {webhook.id_header or "Idempotency-Key": delivery_id}
        if webhook.query is not None:
            return Signed(id_, {webhook.query: secret})
        if webhook.header is not None:
            return Signed({webhook.header: secret} | id_)
        return Signed({"Authorization": f"Bearer {secret}"} | id_)


_SCHEMES: Mapping[Signature, Scheme] = {
    "standard-webhooks": _StandardWebhooks(),
    "github": _GitHub(),
    "stripe": _Stripe(),
    "slack": _Versioned("v0", "X-Slack-Signature", "X-Slack-Request-Timestamp", "event_id"),
    "langflow": _Versioned("v1", "X-Langflow-Signature", "X-Langflow-Timestamp"),
    "hmac": _Hmac(),
    "token": _Token(),
}


# What they are made of


def standard_key(secret: str) -> bytes:
    """The key in a secret of Standard Webhooks, `whsec_` and base64. Raises ValueError."""
    try:
        text = secret.removeprefix(STANDARD_PREFIX)
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("the secret is not whsec_ and base64, as Standard Webhooks write it") from error
    if not key:
        raise ValueError("the secret is empty")
    return key


def _mac(key: bytes, content: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.digest(key, content, algorithm)


def _blinded(token: str) -> str:
    """What is compared in place of a token, so that not even its length shows."""
    return hashlib.sha256(_bytes(token)).hexdigest()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _given(signature: str) -> list[str]:
    return [signature] if signature else []


def _id(text: object) -> str | None:
    return text if isinstance(text, str) and _ID.fullmatch(text) else None


def _object(body: bytes) -> dict[str, JsonValue]:
    """The JSON object that the body is; empty where it is none."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _untimely(at: str, now: datetime) -> str | None:
    """What is wrong with a timestamp (Unix seconds)."""
    if not _TIMESTAMP.fullmatch(at):
        return "the timestamp is missing, or not in Unix seconds"
    off = int(at) - now.timestamp()
    if abs(off) > TOLERANCE.total_seconds():
        return f"the timestamp is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} this clock"
    return None
