"""Every scheme: what its provider publishes verifies, and nothing that differs from it by a bit."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
import standardwebhooks
import stripe
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import SignatureVerifier
from tests.support.published_webhooks import PUBLISHED, Published

from overnight.core.webhooks.schemes import Delivery, Refused, handshake, sign, verify
from overnight.webhooks import Webhook

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
STANDARD = "whsec_" + base64.b64encode(b"k" * 32).decode()

published = pytest.mark.parametrize("example", PUBLISHED.values(), ids=PUBLISHED)


def webhook(**fields):
    return Webhook.model_validate(fields)


CONFIGURED = {
    "standard-webhooks": (webhook(), STANDARD),
    "github": (webhook(signature="github"), "s3cret"),
    "stripe": (webhook(signature="stripe"), "whsec_abc"),
    "slack": (webhook(signature="slack"), "s3cret"),
    "langflow": (webhook(signature="langflow"), "whsec_abc"),
    "hmac": (webhook(signature="hmac", header="X-Sig"), "s3cret"),
    "hmac, Shopify": (
        webhook(signature="hmac", header="X-Shopify-Hmac-SHA256", encoding="base64", id_header="X-Shopify-Webhook-Id"),
        "s3cret",
    ),
    "hmac, with a time": (
        webhook(
            signature="hmac",
            header="X-Signature",
            algorithm="sha512",
            prefix="sha512=",
            timestamp_header="X-Time",
            template="v1|{timestamp}|{body}|end",
        ),
        "s3cret",
    ),
    "token": (webhook(signature="token"), "s3cret"),
    "token in a header": (webhook(signature="token", header="X-Gitlab-Token"), "s3cret"),
    "token in the query": (webhook(signature="token", query="key"), "s3cret"),
}
configured = pytest.mark.parametrize(("hook", "secret"), CONFIGURED.values(), ids=CONFIGURED)


def signed(hook, secret, body=b'{"order": 42}', now=NOW, delivery_id="d-1"):
    """A delivery as it comes in after a sender signed it."""
    made = sign(hook, secret, body, now, delivery_id)
    headers = {name.lower(): value for name, value in made.headers.items()}
    return Delivery(headers, body, {name: [value] for name, value in made.query.items()})


def refused(hook, delivery, secrets, now=NOW) -> str:
    with pytest.raises(Refused) as caught:
        verify(hook, delivery, secrets, now)
    return str(caught.value)


# What the providers publish


@published
def test_what_the_provider_publishes_verifies(example: Published):
    assert verify(example.webhook, example.delivery, [example.secret], example.now)


@published
def test_one_flipped_bit_of_the_body_does_not(example: Published):
    for bit in range(8 * len(example.body)):
        body = bytearray(example.body)
        body[bit // 8] ^= 1 << bit % 8
        refused(example.webhook, example.changed(body=bytes(body)), [example.secret], example.now)


@published
def test_one_flipped_bit_of_the_signature_does_not(example: Published):
    text = example.headers[example.signature].partition(",v0=")[0]
    begin = text.rindex("v1=") if example.signature == "stripe-signature" else 0
    for bit in range(8 * begin, 8 * len(text)):
        changed = bytearray(text.encode())
        changed[bit // 8] ^= 1 << bit % 8
        delivery = example.changed(**{example.signature: changed.decode("latin-1")})
        refused(example.webhook, delivery, [example.secret], example.now)


@published
def test_another_secret_does_not(example: Published):
    refused(example.webhook, example.delivery, [STANDARD], example.now)
    refused(example.webhook, example.delivery, [], example.now)


@published
def test_a_body_that_was_read_and_written_again_does_not(example: Published):
    text = example.body.decode()
    again = json.dumps(json.loads(text), separators=(",", ":")) if text.startswith("{") else text + "\n"
    refused(example.webhook, example.changed(body=again.encode()), [example.secret], example.now)


@published
@pytest.mark.parametrize("off", [-301, 301])
def test_an_old_or_a_future_timestamp_does_not(example: Published, off):
    now = example.now - timedelta(seconds=off)
    if "timestamp" not in " ".join(example.headers) and example.signature != "stripe-signature":
        assert verify(example.webhook, example.delivery, [example.secret], now)  # GitHub signs no time
        return
    why = refused(example.webhook, example.delivery, [example.secret], now)
    assert why == f"the timestamp is 301 s {'behind' if off < 0 else 'ahead of'} this clock"
    assert verify(example.webhook, example.delivery, [example.secret], now + timedelta(seconds=off / 301))


@published
def test_nothing_verifies_without_its_headers(example: Published):
    for name in example.headers:
        if name == "x-github-delivery":
            continue  # it is not signed; the hash of the body takes its place
        refused(example.webhook, example.changed(**{name: None}), [example.secret], example.now)
        refused(example.webhook, example.changed(**{name: ""}), [example.secret], example.now)


@pytest.mark.parametrize(
    "at", ["", "0", "01614265330", "1614265330.0", "-1", "+1614265330", "1e9", "\u0661614265330", "9" * 40]
)
def test_a_timestamp_that_is_no_number_of_seconds_is_refused(at):
    example = PUBLISHED["standard-webhooks"]
    content = b".".join((b"msg_1", at.encode(), example.body))
    mac = hmac.digest(base64.b64decode(example.secret.removeprefix("whsec_")), content, "sha256")
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": at,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }
    refused(example.webhook, Delivery(headers, example.body), [example.secret], example.now)


# What their own libraries sign and verify


def test_what_standardwebhooks_signs_verifies_and_what_we_sign_does_there():
    now, body = datetime.now(UTC), '{"a": "ü"}'
    library = standardwebhooks.Webhook(STANDARD)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": library.sign("msg_1", now, body),
    }
    assert verify(webhook(), Delivery(headers, body.encode()), [STANDARD], now) == "msg_1"
    assert library.verify(body, dict(sign(webhook(), STANDARD, body.encode(), now, "msg_2").headers)) == {"a": "ü"}


def test_what_stripe_signs_verifies_and_what_we_sign_does_there():
    now, body, secret = datetime.now(UTC), '{"id": "evt_1", "object": "event"}', "whsec_abc"
    at, hook = str(int(now.timestamp())), webhook(signature="stripe")
    header = f"t={at},v1={stripe.WebhookSignature._compute_signature(f'{at}.{body}', secret)}"
    assert verify(hook, Delivery({"stripe-signature": header}, body.encode()), [secret], now) == "evt_1"
    ours = sign(hook, secret, body.encode(), now, "ignored").headers["Stripe-Signature"]
    assert stripe.Webhook.construct_event(body, ours, secret)["id"] == "evt_1"


def test_what_slack_signs_verifies_and_what_we_sign_does_there():
    now, body, secret = datetime.now(UTC), b'{"event_id": "Ev1"}', "8f742231b10e8888abcd99yyyzzz85a5"
    at, hook, library = str(int(now.timestamp())), webhook(signature="slack"), SignatureVerifier(secret)
    signature = library.generate_signature(timestamp=at, body=body)
    headers = {"x-slack-request-timestamp": at, "x-slack-signature": signature}
    assert verify(hook, Delivery(headers, body), [secret], now) == "Ev1"
    assert library.is_valid_request(body, dict(sign(hook, secret, body, now, "ignored").headers))


# What is configured


@configured
@given(body=st.binary(max_size=200))
def test_what_is_signed_verifies(hook, secret, body):
    verify(hook, signed(hook, secret, body), [secret], NOW)


@configured
@given(data=st.data(), body=st.binary(min_size=1, max_size=60))
def test_what_is_changed_afterwards_does_not(hook, secret, data, body):
    delivery = signed(hook, secret, body)
    other = data.draw(st.binary(max_size=60).filter(lambda other: other != body))
    changed = Delivery(delivery.headers, other, delivery.query)
    if hook.signature == "token":
        verify(hook, changed, [secret], NOW)  # a token says nothing about the body
    else:
        refused(hook, changed, [secret])


@configured
def test_both_live_secrets_are_accepted_while_they_are_rotated(hook, secret):
    new = STANDARD.replace("a", "b") if hook.signature == "standard-webhooks" else "new"
    assert verify(hook, signed(hook, secret), [new, secret], NOW) == verify(hook, signed(hook, secret), [secret], NOW)
    verify(hook, signed(hook, new), [new, secret], NOW)
    refused(hook, signed(hook, secret), [new])


@configured
def test_a_secret_that_is_none_of_the_scheme_spoils_no_other(hook, secret):
    verify(hook, signed(hook, secret), ["whsec_!", secret], NOW)


def test_a_secret_that_standard_webhooks_can_not_read_is_said_to_be_so():
    assert "not whsec_ and base64" in refused(webhook(), signed(webhook(), STANDARD), ["whsec_!"])


HEADERS = [
    *("webhook-id", "webhook-timestamp", "webhook-signature", "x-hub-signature-256", "stripe-signature"),
    *("x-slack-signature", "x-slack-request-timestamp", "x-langflow-signature", "x-langflow-timestamp"),
    *("authorization", "x-time", "x-signature", "x-sig", "x-gitlab-token"),
]
LATIN = st.text(st.characters(codec="latin-1"), max_size=40)


@given(
    header=st.dictionaries(
        st.sampled_from(HEADERS), LATIN | st.sampled_from(["v1,", "t=1,v1=", "sha256=", "Bearer ", "1795176000"])
    ),
    body=st.binary(max_size=50),
)
@configured
def test_whatever_comes_is_refused_and_raises_nothing_else(hook, secret, header, body):
    refused(hook, Delivery(header, body), [secret])


def test_a_standard_webhook_may_bring_several_signatures():
    delivery = signed(webhook(), STANDARD)
    right = delivery.headers["webhook-signature"]
    for text in (f"v1,AAAA {right}", f"v1a,AAAA {right} v1,BBBB", f"{right} "):
        verify(webhook(), Delivery({**delivery.headers, "webhook-signature": text}, delivery.body), [STANDARD], NOW)
    asymmetric = right.replace("v1,", "v1a,")
    refused(webhook(), Delivery({**delivery.headers, "webhook-signature": asymmetric}, delivery.body), [STANDARD])


def test_an_id_can_not_borrow_from_the_timestamp_behind_it():
    """`a.1795176000` + `.5` would be the signed content of id `a`, time 1795176000 and body `5`, too."""
    at = str(int(NOW.timestamp()))
    taken = signed(webhook(), STANDARD, f"{at}.5".encode(), delivery_id="a")
    shifted = {**taken.headers, "webhook-id": f"a.{at}"}
    assert "webhook-id" in refused(webhook(), Delivery(shifted, b"5"), [STANDARD])


def test_an_hmac_in_hex_may_be_written_in_capitals_but_not_in_both():
    hook = webhook(signature="hmac", header="X-Sig", prefix="v1=")
    delivery = signed(hook, "s")
    text = delivery.headers["x-sig"].removeprefix("v1=")
    verify(hook, Delivery({"x-sig": f"v1={text.upper()}"}, delivery.body), ["s"], NOW)
    mixed = next(text.replace(letter, letter.upper(), 1) for letter in text if letter.isalpha())
    for wrong in (f"v1={mixed}", f"V1={text}", text, text.upper()):
        refused(hook, Delivery({"x-sig": wrong}, delivery.body), ["s"])


# Ids


@pytest.mark.parametrize(
    ("hook", "secret", "body", "expected"),
    [
        (webhook(), STANDARD, b"{}", "d-1"),
        (webhook(signature="github"), "s", b"{}", "d-1"),
        (webhook(signature="stripe"), "s", b'{"id": "evt_1"}', "evt_1"),
        (webhook(signature="slack"), "s", b'{"event_id": "Ev1"}', "Ev1"),
        (webhook(signature="hmac", header="X-Sig", id_header="X-Id"), "s", b"{}", "d-1"),
        (webhook(signature="token"), "s", b"{}", "d-1"),
        (webhook(signature="none"), "", b"{}", "d-1"),
        (webhook(signature="none", id_header="X-Id"), "", b"{}", "d-1"),
        (webhook(signature="hmac", header="X-Sig"), "s", b"{}", hashlib.sha256(b"{}").hexdigest()[:32]),
        (webhook(signature="stripe"), "s", b"{}", hashlib.sha256(b"1795176000.{}").hexdigest()[:32]),
        (webhook(signature="langflow"), "s", b"{}", hashlib.sha256(b"v1:1795176000:{}").hexdigest()[:32]),
    ],
)
def test_a_delivery_has_its_senders_id_else_the_hash_of_what_was_signed(hook, secret, body, expected):
    assert verify(hook, signed(hook, secret, body), [secret], NOW) == expected


@pytest.mark.parametrize("hook", [webhook(signature="token", query="k"), webhook(signature="none")])
def test_where_nothing_is_signed_and_no_id_sent_each_delivery_is_a_new_one(hook):
    assert verify(hook, Delivery({}, b"{}", {"k": ["s"]}), ["s"], NOW) is None


@pytest.mark.parametrize("id_", ["", " ", "x" * 257, "a b", "ü", "\x00"])
def test_an_id_that_is_none_is_not_taken_for_one(id_):
    hook = webhook(signature="github")
    delivery = signed(hook, "s")
    changed = Delivery({**delivery.headers, "x-github-delivery": id_}, delivery.body)
    assert verify(hook, changed, ["s"], NOW) == hashlib.sha256(delivery.body).hexdigest()[:32]


# Handshakes


def test_a_ping_of_github_and_a_verification_of_slack_are_answered():
    ping = Delivery({"x-github-event": "ping"}, b'{"zen": "Speak like a human."}')
    assert handshake(webhook(signature="github"), ping) == {"pong": True}
    assert handshake(webhook(signature="github"), Delivery({"x-github-event": "push"}, b"{}")) is None
    question = Delivery({}, b'{"type": "url_verification", "challenge": "3eZbrw1a", "token": "x"}')
    assert handshake(webhook(signature="slack"), question) == {"challenge": "3eZbrw1a"}
    assert handshake(webhook(signature="slack"), Delivery({}, b'{"type": "event_callback"}')) is None
    assert handshake(webhook(signature="slack"), Delivery({}, b"[" * 100_000)) is None
    assert handshake(webhook(), ping) is None
