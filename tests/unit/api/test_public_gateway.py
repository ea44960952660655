"""The public API Gateway: the front door, and nothing else; bytes come in as they were signed."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.embedded.http.engine import Engine

from overnight.agents import AgentDocument
from overnight.api import front_door
from overnight.api.app import ROUTERS, mount
from overnight.api.serving import serve
from overnight.core import lifecycle
from overnight.core.payloads import opened
from overnight.core.webhooks import keys
from overnight.core.webhooks.schemes import sign
from overnight.webhooks import Webhook, hook_id

SCHEMES: dict[str, dict[str, Any]] = {
    "standard-webhooks": {},
    "github": {"signature": "github"},
    "stripe": {"signature": "stripe"},
    "slack": {"signature": "slack"},
    "langflow": {"signature": "langflow"},
    "hmac": {"signature": "hmac", "header": "X-Sig", "timestamp_header": "X-Time", "template": "{timestamp}.{body}"},
    "token": {"signature": "token", "query": "key"},
}
NOBODY = f"/api/v1/webhooks/{'0' * 32}"


@dataclass
class Door:
    """The webhooks' REST API with `*/*` binary, as far as its function sees it."""

    engine: Engine

    def __post_init__(self) -> None:
        resolver = APIGatewayRestResolver(enable_validation=True)
        self._resolver = serve(resolver, self.engine.ports, [front_door.router])

    def __call__(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, **query: str
    ) -> tuple[int, Any]:
        event = {
            "resource": "/api/v1/webhooks/{hook_id}",
            "path": path,
            "httpMethod": method,
            "headers": headers or {},
            "multiValueHeaders": {name: [value] for name, value in (headers or {}).items()},
            "queryStringParameters": query or None,
            "multiValueQueryStringParameters": {name: [value] for name, value in query.items()} or None,
            "pathParameters": {"hook_id": path.rsplit("/", 1)[1]},
            "requestContext": {"requestId": "r-1", "stage": "prod", "path": f"/prod{path}", "httpMethod": method},
            "body": base64.b64encode(body).decode() or None,
            "isBase64Encoded": bool(body),
        }
        answer = self._resolver.resolve(event, None)
        assert "Traceback" not in (answer["body"] or "")
        return answer["statusCode"], json.loads(answer["body"] or "null")


@dataclass
class Sender:
    """Signs for one webhook, and posts."""

    door: Door
    id: str
    webhook: Webhook
    secret: str

    @property
    def path(self) -> str:
        return f"/api/v1/webhooks/{self.id}"

    def post(self, body: bytes, *, sent: bytes | None = None, number: int = 0, **headers: str) -> tuple[int, Any]:
        """Sign the body, and post it, or what is `sent` instead."""
        signed = sign(self.webhook, self.secret, body, self.door.engine.time, f"d-{number}")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.door("POST", self.path, body if sent is None else sent, named | signed.headers, **signed.query)


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    engine = Engine(tmp_path)
    yield Door(engine)
    engine.close()


@pytest.fixture
def sender(door, request) -> Sender:
    """One whose agent is active, for the scheme that the test names."""
    ports, said = door.engine.ports, SCHEMES[getattr(request, "param", "standard-webhooks")]
    document = {"name": "orders", "flow": {"python": "m:f"}, "enabled": True, "concurrency": {"max_parallel": None}}
    triggers = [{"name": "in", "webhook": said}]
    agent, _ = lifecycle.create(ports, AgentDocument.model_validate(document | {"triggers": triggers}))
    webhook, id_ = Webhook.model_validate(said), hook_id(agent.id, "in")
    hook = ports.store.hook(id_)
    assert hook is not None
    return Sender(door, id_, webhook, keys.secret(ports, hook, webhook))


@pytest.mark.parametrize("sender", SCHEMES, indirect=True)
def test_each_scheme_verifies_the_very_bytes_that_were_sent(sender):
    body = '{"order":  42,\r\n "name": "Zoë \\u00eb"}\r\n'.encode()
    status, answer = sender.post(body, content_type="application/json")
    assert status == 202
    kept = sender.door.engine.store.execution(answer["execution_id"])
    assert opened(sender.door.engine.ports.blobs, kept.payload)["body"] == {"order": 42, "name": "Zoë ë"}


@pytest.mark.parametrize("sender", [name for name in SCHEMES if name != "token"], indirect=True)
def test_the_same_json_in_other_bytes_is_not_what_was_signed(sender):
    assert sender.post(b'{"order": 42}', sent=b'{"order":42}')[0] == 401


@pytest.mark.parametrize("sender", SCHEMES, indirect=True)
def test_whatever_is_signed_breaks_nothing(sender):
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        body=st.binary(max_size=200), number=st.integers(0, 5), media_type=st.sampled_from(["a/b", "", "text/plain"])
    )
    def look(body, number, media_type):
        assert sender.post(body, number=number, content_type=media_type)[0] in {200, 202, 422}

    look()


def test_bytes_that_are_no_text_are_verified_before_they_are_found_fault_with(sender):
    assert sender.post(b"\xff\x00\xfe")[0] == 422
    assert sender.post(b"\xff\x00\xfe", sent=b"\xff\x00\xff")[0] == 401


def test_a_refusal_does_not_tell_whether_the_webhook_exists(sender):
    there = sender.door("POST", sender.path, b"{}")
    assert there == sender.door("POST", NOBODY, b"{}") == sender.door("POST", "/api/v1/webhooks/!", b"{}")
    assert there[0] == 401


def test_a_body_of_more_than_256_kib_is_refused_signed_or_not(sender):
    largest = b"x" * 256 * 1024
    assert sender.post(largest)[0] == 202
    assert sender.post(largest + b"x")[0] == 413
    assert sender.door("POST", NOBODY, largest + b"x")[0] == 413


def test_nothing_of_the_management_api_is_there(sender):
    whole = mount(APIGatewayRestResolver(enable_validation=True), sender.door.engine.ports)
    routes = [(route.method, route.path) for route in (*whole._static_routes, *whole._dynamic_routes)]
    assert len(routes) > len(ROUTERS)
    for method, path in routes:
        if path == front_door.FRONT_DOOR:
            continue
        plain = path.replace("<hook_id>", sender.id).replace("<", "").replace(">", "")
        assert sender.door(method, plain)[0] in {404, 405}, f"{method} {path}"
    assert sender.door("GET", sender.path)[0] == 405


def test_what_nobody_foresaw_is_told_by_its_number_alone(sender, monkeypatch):
    monkeypatch.setattr("overnight.embedded.sql.store.SqlStore.admit", lambda *_, **__: 1 / 0)
    status, problem = sender.post(b"{}")
    assert (status, problem["instance"]) == (500, "urn:overnight:request:r-1")
    assert "division" not in json.dumps(problem)
