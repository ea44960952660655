"""The very same routers behind API Gateway: what changes is who carries the request."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from tests.embedded.http.engine import Engine

from overnight.api.app import mount

AGENTS = "/api/v1/background_agents"
AGENT = {"name": "report", "flow": {"python": "a:b"}}


class Gateway:
    """API Gateway's REST API with a Lambda proxy integration, as far as the resolver sees it."""

    def __init__(self, engine: Engine) -> None:
        self.resolver = mount(APIGatewayRestResolver(enable_validation=True, debug=False), engine.ports)

    def __call__(
        self, method: str, path: str, body: object = None, *, raw: bytes | None = None, **headers: str
    ) -> tuple[int, Any, dict[str, list[str]]]:
        path, _, query = path.partition("?")
        content = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        given = {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
        pairs = [part.split("=") for part in query.split("&") if part]
        event = {
            "resource": "/{proxy+}",
            "path": path,
            "httpMethod": method,
            "headers": given,
            "multiValueHeaders": {name: [text] for name, text in given.items()},
            "queryStringParameters": dict(pairs) or None,
            "multiValueQueryStringParameters": {name: [text] for name, text in pairs} or None,
            "requestContext": {"requestId": "r-1", "stage": "prod", "path": f"/prod{path}"},
            "body": base64.b64encode(content).decode() if content is not None else None,
            "isBase64Encoded": True,
        }
        answer = self.resolver.resolve(event, None)
        return answer["statusCode"], json.loads(answer["body"] or "null"), answer["multiValueHeaders"]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    engine = Engine(tmp_path)
    yield Gateway(engine)
    engine.close()


def test_an_agent_lives_the_same_life(gateway: Gateway) -> None:
    status, agent, headers = gateway("POST", AGENTS, AGENT)
    assert (status, headers["ETag"], headers["Location"]) == (201, ['"1"'], [f"{AGENTS}/{agent['id']}"])
    assert gateway("GET", f"{AGENTS}/report")[1] == agent
    assert gateway("PATCH", f"{AGENTS}/report", {"description": "x"}, If_Match='"7"')[0] == 412
    assert gateway("POST", f"{AGENTS}/report/start")[1]["status"] == "ACTIVE"
    status, execution, _ = gateway("POST", f"{AGENTS}/report/trigger", Idempotency_Key="k")
    assert status == 202
    assert gateway("POST", f"{AGENTS}/report/trigger", Idempotency_Key="k")[:2] == (200, execution)
    assert gateway("GET", "/api/v1/executions?status=pending&limit=1")[1]["items"] == [execution]
    assert gateway("DELETE", f"{AGENTS}/report")[:2] == (204, None)


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (("POST", AGENTS, {"name": "!"}), 422, "invalid"),
        (("GET", f"{AGENTS}/nobody"), 404, "agent_not_found"),
        (("GET", "/nothing"), 404, "not_found"),
        (("DELETE", AGENTS), 405, "method_not_allowed"),
    ],
)
def test_it_refuses_in_the_same_words(gateway: Gateway, request_: tuple[Any, ...], status: int, code: str) -> None:
    answered, problem, headers = gateway(*request_)
    assert (answered, problem["code"]) == (status, code)
    assert headers["Content-Type"] == ["application/problem+json"]


def test_a_body_that_is_no_json_or_too_large_is_refused(gateway: Gateway) -> None:
    assert gateway("POST", AGENTS, raw=b"\xff")[0] == 400
    assert gateway("POST", AGENTS, raw=b"a=1", Content_Type="application/x-www-form-urlencoded")[0] == 415
    assert gateway("POST", "/api/v1/events", raw=b" " * (1024 * 1024 + 1))[0] == 413
    hook = f"/api/v1/webhooks/{'0' * 32}"
    assert [gateway("POST", hook, raw=b"x" * (256 * 1024 + more))[0] for more in (0, 1)] == [401, 413]


def test_an_unforeseen_error_carries_the_gateways_request_id(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overnight.embedded.sql.store.SqlStore.read", lambda *_: 1 / 0)
    status, problem, _ = gateway("GET", f"{AGENTS}/report")
    assert (status, problem["instance"]) == (500, "urn:overnight:request:r-1")
