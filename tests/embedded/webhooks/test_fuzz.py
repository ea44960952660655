"""Whatever is posted: no error of the server, and nothing accepted without a valid signature."""

import os

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overnight.webhooks import Webhook

EXAMPLES = int(os.environ.get("OVERNIGHT_FUZZ_EXAMPLES", "150"))
"""More of them for a longer search: OVERNIGHT_FUZZ_EXAMPLES=20000."""

SCHEMES = {
    "standard-webhooks": {},
    "github": {"signature": "github"},
    "stripe": {"signature": "stripe"},
    "slack": {"signature": "slack"},
    "langflow": {"signature": "langflow"},
    "hmac": {"signature": "hmac", "header": "X-Sig", "timestamp_header": "X-Time", "template": "{timestamp}.{body}"},
    "token": {"signature": "token", "query": "key"},
}
NAMES = [
    *("webhook-id", "webhook-timestamp", "webhook-signature", "x-hub-signature-256", "x-github-event"),
    *("x-github-delivery", "stripe-signature", "x-slack-signature", "x-slack-request-timestamp", "x-sig", "x-time"),
    *("x-langflow-signature", "x-langflow-timestamp", "authorization", "content-type", "content-encoding"),
    *("idempotency-key", "origin", "x-forwarded-for", "transfer-encoding-x", "expect-x"),
]
VALUES = (
    st.binary(max_size=60).map(lambda value: bytes(byte for byte in value if byte >= 32 and byte != 127).strip())
    | st.sampled_from([b"v1,", b"v1,AAAA v1,BBBB", b"t=1795176000,v1=", b"sha256=", b"v0=", b"1795176000", b"ping"])
    | st.sampled_from([b"application/json", b"multipart/form-data; boundary=x", b"gzip", b"Bearer x", b"\xff\xfe"])
)
HEADERS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6)
BODIES = st.binary(max_size=300) | st.sampled_from(
    [
        b"",
        b"{}",
        b"[" * 5_000,
        b'{"type": "url_verification", "challenge": "x"}',
        b'"\\ud800"',
        b"\x00",
        b"1e999",
        b"NaN",
    ]
)
QUERIES = st.text(st.characters(codec="ascii", exclude_characters="#\r\n\t ", min_codepoint=33), max_size=40)

looking = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def senders(sender):
    return {name: sender(f"agent-{name}", **webhook) for name, webhook in SCHEMES.items()}


def test_unsigned_deliveries_are_refused_alike(senders, client, engine):
    paths = [*(sender.path for sender in senders.values()), "/api/v1/webhooks/" + "0" * 32]

    @looking
    @given(headers=HEADERS, body=BODIES, query=QUERIES)
    def look(headers, body, query):
        answers = [_post(client, f"{path}?{query}", body, headers) for path in paths]
        assert {answer.status_code for answer in answers} <= {401, 400, 403}
        told = {(answer.status_code, answer.content, *sorted(_same(answer.headers))) for answer in answers}
        assert len(told) == 1

    look()
    assert engine.store.unfinished().items == ()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_signed_deliveries_are_accepted_or_found_fault_with_but_never_break_anything(senders, scheme):
    sender = senders[scheme]
    secret = sender.secret

    @settings(looking, max_examples=max(EXAMPLES // 3, 30))
    @given(headers=HEADERS, body=BODIES, query=QUERIES)
    def look(headers, body, query):
        request = sender.signed(body, secret=secret)
        signed = {name.lower().encode(): value.encode() for name, value in request["headers"].items()}
        kept = {name.encode(): value for name, value in headers.items() if name != "origin"}
        path = f"{sender.path}?{'&'.join(f'{name}={value}' for name, value in (request['params'] or {}).items())}"
        answer = _post(sender.client, f"{path}&{query}", body, kept | signed)
        assert answer.status_code in {200, 202, 422, 400}, answer.text
        if answer.status_code == 202:
            assert sender.engine.store.execution(answer.json()["execution_id"]).agent_id == sender.agent_id

    look()


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if name != "token"])
def test_signed_deliveries_that_were_tampered_with_are_refused(senders, scheme):
    sender = senders[scheme]
    secret = sender.secret

    @settings(looking, max_examples=max(EXAMPLES // 3, 30))
    @given(data=st.data(), body=st.binary(min_size=1, max_size=100))
    def look(data, body):
        request = sender.signed(body, secret=secret)
        at = data.draw(st.integers(0, len(body) * 8 - 1))
        changed = bytearray(body)
        changed[at // 8] ^= 1 << at % 8
        answer = sender.client.post(sender.path, **request | {"content": bytes(changed)})
        assert answer.status_code == 401

    look()
    assert sender.kept() == []


def _same(headers: httpx.Headers) -> list[tuple[str, str]]:
    """The headers but for those that differ between any two answers."""
    return [(name, value) for name, value in headers.items() if name not in {"x-request-id", "date"}]


def _post(client: httpx.Client, url: str, body: bytes, headers: dict) -> httpx.Response:
    try:
        request = client.build_request("POST", url, content=body)
    except httpx.InvalidURL:
        return httpx.Response(400)
    request.headers = httpx.Headers([*request.headers.raw, *((_bytes(name), value) for name, value in headers.items())])
    return client.send(request)


def _bytes(name: str | bytes) -> bytes:
    return name if isinstance(name, bytes) else name.encode()


def test_the_schemes_here_are_all_there_are():
    known = set(Webhook.model_fields["signature"].annotation.__args__)
    assert {webhook.get("signature", "standard-webhooks") for webhook in SCHEMES.values()} == known - {"none"}
