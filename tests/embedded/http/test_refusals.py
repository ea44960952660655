"""Bad input, and the exact problem document (RFC 9457) that it is answered with."""

import json
from collections.abc import Iterator

import httpx
import pytest
from tests.embedded.http.engine import Engine

from overnight.embedded.http import HttpServer

AGENTS = "/api/v1/background_agents"
FLOW = {"python": "a:b"}
PATH = (
    'is a path, which only the command line reads; send the flow itself: {"langflow": {…its JSON…}} '
    'or {"python": "package.module:callable"}'
)
NAME = "must be 1 to 64 letters, digits, - and _, the first a letter or a digit"
NO_FIELD = "is not a field that is known here"
KINDS = "must be an object with exactly one of python, langflow, langflow_api"
REFERENCE = "must say where the value is kept: secret:name, env:NAME; values don't belong here"
CURSOR = "is none that was given out by this listing"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """One server for the whole table: nothing of it changes anything."""
    engine = Engine(tmp_path_factory.mktemp("engine"))
    server = HttpServer(engine.ports, port=0)
    server.start()
    with httpx.Client(base_url=server.url) as client:
        client.post(AGENTS, json={"name": "report", "flow": FLOW, "schedule": {"cron": "0 8 * * *"}})
        yield client
    server.stop(2)
    engine.close()


INVALID_DOCUMENTS = [
    ({}, {"flow": "is required", "name": "is required"}),
    ({"name": "a b", "flow": FLOW}, {"name": NAME}),
    ({"name": "a", "flow": "flows/a.json"}, {"flow": PATH}),
    ({"name": "a", "flow": {}}, {"flow": KINDS}),
    ({"name": "a", "flow": {"python": "a:b", "langflow": {}}}, {"flow": KINDS}),
    ({"name": "a", "flow": [1]}, {"flow": KINDS}),
    (
        {"name": "a", "flow": {"langflow": "0" * 64}},
        {"flow.langflow": "no flow of that digest was sent before; send its JSON"},
    ),
    (
        {"name": "a", "flow": FLOW, "notify": {"url": "sns"}},
        {"notify.url": "'sns' is the topic of a stack on AWS, which this engine has not; give a URL"},
    ),
    (
        {"name": "a", "flow": {"langflow": {"nodes": 1}}},
        {"flow.langflow": 'The flow\'s "nodes" must be a list, not number.'},
    ),
    (
        {"name": "a", "flow": {"langflow_api": {"url": "ftp://x", "flow": "f", "api_key": "sk-1"}}},
        {
            "flow.langflow_api.url": "String should match pattern '^https?://[^\\s]+$'",
            "flow.langflow_api.api_key": REFERENCE,
        },
    ),
    (
        {"name": "a", "flow": FLOW, "schedule": {"cron": "0 25 * * *"}},
        {"schedule.cron": "hour: 25 is out of range; it must be from 0 to 23"},
    ),
    ({"name": "a", "flow": FLOW, "schedule": {"cron": "* * * * *", "timezone": "Mars"}}, {"schedule.timezone": "…"}),
    ({"name": "a", "flow": FLOW, "schedule": "daily"}, {"schedule": "…"}),
    (
        {"name": "a", "flow": FLOW, "schedule": {"date": "2026-11-20"}, "triggers": [{"name": "b", "interval": {}}]},
        {"schedule.date": "…", "triggers.0.interval": "…"},
    ),
    ({"name": "a", "flow": FLOW, "trigger_type": "never", "trigger_config": {}}, {"trigger_config": "…"}),
    ({"name": "a", "flow": FLOW, "input": {}, "input_config": {}}, {"input_config": "…"}),
    (
        {"name": "a", "flow": FLOW, "triggers": [{"name": "t", "webhook": {}}, {"name": "t", "event": {"name": "e"}}]},
        {"triggers": "two triggers are called 't'"},
    ),
    ({"name": "a", "flow": FLOW, "variables": {"KEY": "sk-123"}}, {"variables.KEY": REFERENCE}),
    (
        {"name": "!", "flow": {"python": "nope"}, "retries": {"attempts": 0, "often": 1}, "colour": "blue"},
        {
            "name": NAME,
            "flow.python": "String should match pattern '^[A-Za-z_][\\w.]*:[A-Za-z_][\\w.]*$'",
            "retries.attempts": "Input should be greater than or equal to 1",
            "retries.often": NO_FIELD,
            "colour": NO_FIELD,
        },
    ),
]


@pytest.mark.parametrize(("document", "expected"), INVALID_DOCUMENTS)
def test_every_invalid_field_of_a_document_is_named_as_it_was_spelled(
    client: httpx.Client, document: dict[str, object], expected: dict[str, str]
) -> None:
    answer = client.post(AGENTS, json=document)
    assert answer.status_code == 422, answer.text
    found = {error["field"]: error["message"] for error in answer.json()["errors"]}
    assert found.keys() == expected.keys()
    assert {field: found[field] if message != "…" else "…" for field, message in expected.items()} == expected


FIELDS = [
    ("GET", AGENTS, {"params": {"limit": 0}}, {"limit": "Input should be greater than or equal to 1"}),
    ("GET", AGENTS, {"params": {"limit": 201, "status": "ASLEEP"}}, {"limit": "…", "status": "…"}),
    ("GET", AGENTS, {"params": {"cursor": "garbage"}}, {"cursor": CURSOR}),
    ("GET", "/api/v1/executions", {"params": {"cursor": "é"}}, {"cursor": CURSOR}),
    ("GET", "/api/v1/schedules", {"params": {"cursor": "LTUg"}}, {"cursor": CURSOR}),
    ("GET", "/api/v1/schedules", {"params": {"cursor": "MCBnYXJiYWdl"}}, {"cursor": CURSOR}),
    (
        "GET",
        "/api/v1/executions",
        {"params": {"since": "yesterday", "status": "lost"}},
        {"since": "…", "status.0": "…"},
    ),
    ("GET", "/api/v1/verify", {"params": {"until": "0001-01-01T00:00:00+14:00"}}, {"until": "…"}),
    (
        "GET",
        "/api/v1/verify",
        {"params": {"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}},
        {"until": "must be later than since"},
    ),
    (
        "DELETE",
        f"{AGENTS}/report",
        {"headers": {"If-Match": "3"}},
        {"If-Match": 'must be the ETag of an answer, such as "3", quotes included, or *'},
    ),
    (
        "POST",
        f"{AGENTS}/report/trigger",
        {"headers": {"Idempotency-Key": "x" * 256}},
        {"Idempotency-Key": "must be 1 to 255 printable ASCII characters"},
    ),
    ("POST", f"{AGENTS}/report/trigger", {"headers": {"Idempotency-Key": b"caf\xe9"}}, {"Idempotency-Key": "…"}),
    ("POST", f"{AGENTS}/report/trigger", {"json": {"input": {"colour": 1}}}, {"input.colour": NO_FIELD}),
    ("POST", f"{AGENTS}/report/trigger", {"json": {"test": 1}}, {"test": "…"}),
    (
        "POST",
        f"{AGENTS}/report/trigger",
        {"json": {"input_value": "a", "input": {"input_value": "b"}}},
        {"input_value": "is given twice: here and in input"},
    ),
    ("POST", f"{AGENTS}/report/trigger", {"json": [{}]}, {"": "the body must be a JSON object"}),
    ("POST", f"{AGENTS}/report/backfill", {}, {"": "is required"}),
    ("POST", f"{AGENTS}/report/backfill", {"json": {"since": 5}}, {"since": "…", "until": "is required"}),
    ("POST", f"{AGENTS}/report/pause", {"json": {"why": "x"}}, {"why": NO_FIELD}),
    ("POST", "/api/v1/events", {"json": {"name": "no blanks"}}, {"name": "…"}),
    ("POST", "/api/v1/executions/redrive", {"json": {"status": "succeeded"}}, {"status": "…"}),
    ("PUT", "/api/v1/secrets/a%20b", {"json": {"value": "v"}}, {"name": NAME}),
    ("PUT", "/api/v1/secrets/a", {"json": {"value": ""}}, {"value": "…"}),
]


@pytest.mark.parametrize(("method", "url", "request_", "expected"), FIELDS)
def test_every_invalid_parameter_header_and_field_is_named(
    client: httpx.Client, method: str, url: str, request_: dict[str, object], expected: dict[str, str]
) -> None:
    answer = client.request(method, url, **request_)
    assert answer.status_code == 422, answer.text
    found = {error["field"]: error["message"] for error in answer.json()["errors"]}
    assert found.keys() == expected.keys()
    assert {field: found[field] if message != "…" else "…" for field, message in expected.items()} == expected


JSON = {"Content-Type": "application/json"}
REFUSED = [
    ("POST", AGENTS, {"content": b"{", "headers": JSON}, 400, "malformed"),
    ("POST", AGENTS, {"content": b"\xff\xfe", "headers": JSON}, 400, "malformed"),
    ("POST", AGENTS, {"content": b'{"name": "\\ud800"}', "headers": JSON}, 400, "malformed"),
    ("POST", AGENTS, {"content": b'{"timeout_seconds": NaN}', "headers": JSON}, 400, "malformed"),
    ("POST", AGENTS, {"content": b'{"a": ' + b"9" * 5_000 + b"}", "headers": JSON}, 400, "malformed"),
    ("POST", AGENTS, {"content": b"[" * 200_000, "headers": JSON}, 400, "malformed"),
    ("POST", AGENTS, {"content": b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "headers": JSON}, (400, 422), None),
    ("POST", f"{AGENTS}/report/trigger", {"json": {"payload": json.loads("[" * 500 + "]" * 500)}}, (202, 422), None),
    ("POST", AGENTS, {"data": {"name": "a"}}, 415, "unsupported_media_type"),
    ("POST", AGENTS, {"content": b"name: a", "headers": {"Content-Type": "application/yaml"}}, 415, None),
    ("POST", AGENTS, {"content": b"{}", "headers": {"Content-Type": "application/jsonp"}}, 415, None),
    ("GET", f"{AGENTS}/nobody", {}, 404, "agent_not_found"),
    ("GET", f"{AGENTS}/%F0%9F%A6%89", {}, 404, "not_found"),
    ("GET", f"{AGENTS}/a/b/c", {}, 404, "not_found"),
    ("GET", "/api/v1/executions", {"params": {"agent": "nobody"}}, 404, "agent_not_found"),
    ("GET", "/api/v1/schedules", {"params": {"agent": "nobody"}}, 404, "agent_not_found"),
    ("GET", "/api/v1/verify", {"params": {"agent": "nobody"}}, 404, "agent_not_found"),
    ("GET", "/", {}, 404, "not_found"),
    ("POST", AGENTS, {"json": {"name": "report", "flow": FLOW}}, 409, "agent_exists"),
    ("POST", f"{AGENTS}/report/pause", {}, 409, "agent_stopped"),
    ("PATCH", f"{AGENTS}/report", {"json": {"description": "x"}, "headers": {"If-Match": '"9"'}}, 412, "edit_conflict"),
    ("PUT", f"{AGENTS}/new", {"json": {"flow": FLOW}, "headers": {"If-Match": '"1"'}}, 412, "edit_conflict"),
]


@pytest.mark.parametrize(("method", "url", "request_", "status", "code"), REFUSED)
def test_what_is_refused_is_a_problem_document(
    client: httpx.Client,
    method: str,
    url: str,
    request_: dict[str, object],
    status: int | tuple[int, ...],
    code: str | None,
) -> None:
    answer = client.request(method, url, **request_)
    assert answer.status_code in ((status,) if isinstance(status, int) else status), answer.text
    if answer.is_success:
        return
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["status"], problem["type"]) == (answer.status_code, f"urn:overnight:error:{problem['code']}")
    assert code in {None, problem["code"]}
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("method", "url", "allow"),
    [
        ("DELETE", AGENTS, "GET, POST"),
        ("POST", f"{AGENTS}/report", "DELETE, GET, PATCH, PUT"),
        ("GET", f"{AGENTS}/report/trigger", "POST"),
        ("PUT", "/docs", "GET"),
        ("OPTIONS", "/health", "GET"),
    ],
)
def test_a_method_that_a_path_does_not_take_is_405_with_those_it_takes(
    client: httpx.Client, method: str, url: str, allow: str
) -> None:
    answer = client.request(method, url)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allow)
    assert answer.json()["code"] == "method_not_allowed"


def test_the_whole_problem_document(client: httpx.Client) -> None:
    answer = client.patch(f"{AGENTS}/report", json={"retries": {"attempts": 0}, "colour": "blue"})
    assert answer.json() == {
        "type": "urn:overnight:error:invalid",
        "title": "Invalid",
        "status": 422,
        "detail": (
            "retries.attempts: Input should be greater than or equal to 1; colour: is not a field that is known here"
        ),
        "code": "invalid",
        "errors": [
            {"field": "retries.attempts", "message": "Input should be greater than or equal to 1"},
            {"field": "colour", "message": "is not a field that is known here"},
        ],
    }


def test_an_unforeseen_error_is_a_500_with_an_id_that_the_log_has_too(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("the secret inside")

    monkeypatch.setattr("overnight.embedded.sql.store.SqlStore.read", fail)
    answer = client.get(f"{AGENTS}/report")
    request_id = answer.headers["X-Request-Id"]
    assert answer.status_code == 500
    assert answer.json()["instance"] == f"urn:overnight:request:{request_id}"
    assert "secret inside" not in answer.text
    record = next(record for record in caplog.records if record.name == "overnight.api")
    assert getattr(record, "request_id", None) == request_id
    assert "the secret inside" in caplog.text


def test_an_answer_that_is_not_what_its_route_says_is_an_error_of_the_server(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("overnight.api.agents.agent_answer", lambda _: 7)
    assert client.get(f"{AGENTS}/report").status_code == 500
    assert "the answer is not what the route says" in caplog.text


def test_unknown_query_parameters_are_ignored(client: httpx.Client) -> None:
    assert client.get(AGENTS, params={"colour": "blue"}).status_code == 200
