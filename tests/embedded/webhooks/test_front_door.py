"""The front door over HTTP: who gets in, what is kept of it, and what everybody else is told."""

import statistics
import time

import httpx
import pytest

from overnight.agents import AgentDocument
from overnight.core import lifecycle
from overnight.core.payloads import opened
from overnight.embedded.http import HttpServer
from overnight.embedded.secrets import FileSecretStore
from overnight.executions import FiringKind, Reason, Status

UNKNOWN = "/api/v1/webhooks/" + "0" * 32
SCHEMES = {
    "standard-webhooks": {},
    "github": {"signature": "github"},
    "stripe": {"signature": "stripe"},
    "slack": {"signature": "slack"},
    "langflow": {"signature": "langflow"},
    "hmac": {"signature": "hmac", "header": "X-Sig", "timestamp_header": "X-Time", "template": "{timestamp}.{body}"},
    "token": {"signature": "token"},
    "token in the query": {"signature": "token", "query": "key"},
    "none": {"signature": "none"},
    "supplied": {"secret": "secret:supplied"},
}
schemes = pytest.mark.parametrize("webhook", SCHEMES.values(), ids=SCHEMES)
SIGNING = {name: webhook for name, webhook in SCHEMES.items() if name not in {"none", "supplied"}}
signing = pytest.mark.parametrize("webhook", SIGNING.values(), ids=SIGNING)


def seen(response: httpx.Response) -> tuple[object, ...]:
    """All that a sender sees of an answer, but the request's own id and the time."""
    headers = {name: value for name, value in response.headers.items() if name not in {"x-request-id", "date"}}
    return response.status_code, headers, response.content


# What is let in


@schemes
def test_a_signed_delivery_is_durable_when_it_is_answered_and_runs(sender, engine, webhook):
    orders = sender(**webhook)
    answer = orders.post()
    assert answer.status_code == 202
    [execution] = orders.kept()
    assert answer.json() == {"execution_id": execution.id}
    assert (execution.kind, execution.trigger, execution.status) == (FiringKind.WEBHOOK, "in", Status.PENDING)
    engine.work()
    assert engine.store.execution(execution.id).status is Status.SUCCEEDED


@schemes
def test_a_repeated_delivery_is_answered_200_and_runs_no_second_time(sender, engine, webhook):
    orders = sender(**webhook)
    request = orders.signed()
    first = orders.client.post(orders.path, **request)
    for _ in range(2):
        again = orders.client.post(orders.path, **request)
        assert (again.status_code, again.json()) == (200, first.json())
        engine.work()
    assert len(orders.kept()) == 1


def test_the_same_delivery_signed_anew_is_the_same_delivery(sender, engine):
    orders = sender()
    first = orders.post(delivery_id="msg_1")
    engine.after(120)
    again = orders.post(delivery_id="msg_1")
    assert (again.status_code, again.json()) == (200, first.json())


def test_the_same_id_at_two_webhooks_is_two_deliveries(sender):
    orders = sender(agent={"triggers": [{"name": "in", "webhook": {}}, {"name": "other", "webhook": {}}]})
    first = orders.post(delivery_id="msg_1")
    orders.trigger = "other"
    assert orders.post(delivery_id="msg_1").status_code == 202
    assert [execution.trigger for execution in orders.kept()] == ["in", "other"]
    assert first.status_code == 202


def test_the_flow_gets_headers_query_and_body(sender, engine):
    orders = sender(headers=["X-Tenant"])
    request = orders.signed(b'["a", {"b": 1}]')
    request["headers"] |= {"X-Tenant": "acme", "Cookie": "s3cret", "User-Agent": "tests"}
    orders.client.post(orders.path + "?page=2&tag=x&tag=y", **{**request, "params": None})
    [execution] = orders.kept()
    assert opened(engine.ports.blobs, execution.payload) == {
        "headers": {
            "content-type": "application/json",
            "user-agent": "tests",
            "webhook-id": "d-1",
            "webhook-timestamp": "1795176000",
            "x-tenant": "acme",
        },
        "query": {"page": "2", "tag": ["x", "y"]},
        "body": ["a", {"b": 1}],
    }


@pytest.mark.parametrize("content", [b"plain \xc3\xbc text", b"", b'"quoted"'])
def test_text_is_let_in_as_text(sender, engine, content):
    orders = sender()
    assert orders.post(content, headers={"Content-Type": "text/plain"}).status_code == 202
    [execution] = orders.kept()
    assert opened(engine.ports.blobs, execution.payload)["body"] == (content.decode() or None)


def test_a_body_of_256_kib_is_let_in_and_one_byte_more_is_not(sender, engine):
    orders = sender()
    largest = b'"' + b"x" * (256 * 1024 - 2) + b'"'
    assert orders.post(largest).status_code == 202
    too_large = [orders.post(largest + b" "), orders.client.post(UNKNOWN, content=largest + b" ")]
    assert [answer.status_code for answer in too_large] == [413, 413]
    assert seen(too_large[0]) == seen(too_large[1])
    assert len(orders.kept()) == 1


# What is not


def test_every_refusal_is_the_same_whether_the_webhook_exists_or_not(sender, engine, client):
    gone, without = sender("gone"), sender("without")
    lifecycle.delete(engine.ports, gone.agent_id)
    lifecycle.edit(
        engine.ports, without.agent_id, AgentDocument.model_validate({"name": "without", "flow": {"python": "m:f"}})
    )
    missing = sender("missing", secret="secret:supplied")
    engine.ports.secrets.delete("supplied")
    orders = sender("orders")
    refusals = {
        "no such webhook": client.post(UNKNOWN, json={}),
        "no webhook's id": client.post("/api/v1/webhooks/orders", json={}),
        "an id with NUL": client.post("/api/v1/webhooks/%00", json={}),
        "an id in no alphabet": client.post("/api/v1/webhooks/%F3%B6%8C%9E%C3%87-", json={}),
        "another one's id": client.post("/api/v1/webhooks/" + "'" * 32, json={}),
        "not signed": client.post(orders.path, json={}),
        "signed by another": orders.post(secret="whsec_b3RoZXI="),
        "too old": client.post(orders.path, **_signed_at(orders, -301)),
        "another scheme": client.post(orders.path, json={}, headers={"X-Hub-Signature-256": "sha256=00"}),
        "its agent is deleted": client.post(gone.path, **gone.signed(secret="whsec_b3RoZXI=")),
        "its trigger is gone": client.post(without.path, **without.signed(secret="whsec_b3RoZXI=")),
        "its secret is missing": missing.post(),
    }
    for scheme, webhook in SIGNING.items():
        other = sender(f"agent-{scheme.replace(' ', '-')}", **webhook)
        refusals[scheme] = client.post(other.path, content=b"\xff", headers={"Content-Type": "text/plain"})
    expected = seen(refusals["no such webhook"])
    assert expected[0] == 401
    assert {why: seen(answer) for why, answer in refusals.items() if seen(answer) != expected} == {}
    assert refusals["not signed"].json() == {
        "type": "urn:overnight:error:unverified",
        "title": "Unverified",
        "status": 401,
        "detail": "the delivery is not signed as this address asks for",
        "code": "unverified",
        "errors": [],
    }
    assert refusals["not signed"].headers["WWW-Authenticate"] == "Signature"


def test_a_refusal_takes_as_long_whether_the_webhook_exists_or_not(sender, client):
    took = {path: [] for path in (sender().path, UNKNOWN)}
    for _ in range(100):
        for path, times in took.items():
            began = time.perf_counter()
            assert client.post(path, json={"order": 42}).status_code == 401
            times.append(time.perf_counter() - began)
    existing, unknown = (statistics.median(times) for times in took.values())
    assert 0.7 < existing / unknown < 1.4


def _signed_at(orders, seconds):
    orders.engine.after(seconds)
    request = orders.signed()
    orders.engine.after(-seconds)
    return request


def test_a_deleted_agents_webhook_lets_nobody_in_who_once_had_its_secret(sender, engine):
    gone = sender()
    request = gone.signed()
    lifecycle.delete(engine.ports, gone.agent_id)
    assert gone.client.post(gone.path, **request).status_code == 401


@pytest.mark.parametrize(
    ("content", "headers", "problem"),
    [
        (b'{"order": "x"}', {}, {"field": "body.order", "message": "'x' is not of type 'integer'"}),
        (b"[1", {}, {"field": "body", "message": "is not JSON: Expecting ',' delimiter at line 1, column 3"}),
        (b"\xff", {"Content-Type": "text/plain"}, {"field": "body", "message": "must be UTF-8 text"}),
    ],
)  # fmt: skip
def test_a_genuine_delivery_that_does_not_fit_is_told_where_and_not_kept(sender, content, headers, problem):
    orders = sender(schema={"properties": {"order": {"type": "integer"}}})
    answer = orders.post(content, headers=headers)
    assert (answer.status_code, answer.json()["errors"]) == (422, [problem])
    assert orders.client.post(orders.path, content=content, headers=headers).status_code == 401
    assert orders.kept() == []


# Where the agent stands


def test_a_stopped_agent_answers_409_and_keeps_nothing_so_that_a_retry_can_succeed(sender, engine):
    orders = sender(enabled=False)
    request = orders.signed()
    refused = orders.client.post(orders.path, **request)
    assert (refused.status_code, refused.json()["code"]) == (409, "agent_stopped")
    assert orders.kept() == []
    lifecycle.start(engine.ports, orders.agent_id)
    assert orders.client.post(orders.path, **request).status_code == 202
    lifecycle.stop(engine.ports, orders.agent_id)
    assert orders.client.post(orders.path, **request).status_code == 200


def test_a_paused_agent_keeps_what_comes_as_skipped(sender, engine):
    orders = sender()
    lifecycle.pause(engine.ports, orders.agent_id)
    assert orders.post().status_code == 202
    [execution] = orders.kept()
    assert (execution.status, execution.reason) == (Status.SKIPPED, Reason.PAUSED)


def test_a_full_line_answers_429_and_keeps_nothing(sender, engine):
    orders = sender(agent={"concurrency": {"max_parallel": 1, "queue_limit": 1}})
    accepted = [orders.signed(), orders.signed()]
    assert [orders.client.post(orders.path, **request).status_code for request in accepted] == [202, 202]
    request = orders.signed()
    refused = orders.client.post(orders.path, **request)
    assert (refused.status_code, refused.json()["code"]) == (429, "line_full")
    assert int(refused.headers["Retry-After"]) > 0
    assert len(orders.kept()) == 2
    assert orders.client.post(orders.path, **accepted[1]).status_code == 200
    engine.work()
    assert orders.client.post(orders.path, **request).status_code == 202


def test_the_rate_limit_counts_what_is_verified_and_new(sender, engine):
    orders = sender(rate_limit_per_minute=2)
    for _ in range(5):
        assert orders.client.post(orders.path, json={}).status_code == 401
    first = orders.signed()
    assert orders.client.post(orders.path, **first).status_code == 202
    assert [orders.client.post(orders.path, **first).status_code for _ in range(3)] == [200] * 3
    engine.after(20.5)
    assert orders.post().status_code == 202
    third = orders.signed()
    refused = orders.client.post(orders.path, **third)
    assert (refused.status_code, refused.json()["code"], refused.headers["Retry-After"]) == (429, "rate_limited", "40")
    assert orders.client.post(orders.path, **first).status_code == 200
    engine.after(39.5)
    assert orders.client.post(orders.path, **third).status_code == 202
    assert len(orders.kept()) == 3


# Handshakes


def test_githubs_ping_is_answered_and_runs_nothing(sender):
    orders = sender(signature="github")
    answer = orders.post(b'{"zen": "Keep it logically awesome."}', headers={"X-GitHub-Event": "ping"})
    assert (answer.status_code, answer.json()) == (200, {"pong": True})
    assert orders.client.post(orders.path, json={}, headers={"X-GitHub-Event": "ping"}).status_code == 401
    assert orders.kept() == []


def test_slacks_url_verification_is_answered_and_runs_nothing(sender, engine):
    orders = sender(signature="slack")
    lifecycle.stop(engine.ports, orders.agent_id)
    question = b'{"token": "Jhj5dZrVaK7ZwHHjRyZWjbDl", "challenge": "3eZbrw1aBm2rZgRNFd", "type": "url_verification"}'
    answer = orders.post(question)
    assert (answer.status_code, answer.json()) == (
        200,
        {"challenge": "3eZbrw1aBm2rZgRNFd"},
    )
    assert orders.client.post(orders.path, content=question).status_code == 401
    assert orders.kept() == []


# The server's own gate


def test_a_delivery_needs_no_token_of_the_server_and_all_else_does(sender, engine, registry):
    orders = sender()
    request = orders.signed()
    server = HttpServer(engine.ports, port=0, token="t0ken", registry=registry)
    server.start()
    try:
        with httpx.Client(base_url=server.url) as client:
            assert client.post(orders.path, **request).status_code == 202
            unverified = client.post(orders.path, json={})
            assert (unverified.status_code, unverified.json()["code"]) == (401, "unverified")
            for method, path in [
                ("GET", "/api/v1/webhooks"),
                ("GET", orders.path),
                ("PUT", orders.path),
                ("GET", f"{orders.path}/secret"),
                ("POST", f"{orders.path}/rotate-secret"),
                ("POST", f"/api/v1/webhooks/{orders.hook_id}%2Frotate-secret"),
                ("POST", "/api/v1/webhooks/"),
                ("POST", "/api/v1/webhooks"),
            ]:
                answer = client.request(method, path)
                assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), path
    finally:
        server.stop(grace_seconds=2)


def test_senders_may_come_by_any_name_of_the_server_and_web_pages_may_not(sender):
    orders = sender()
    assert orders.post(headers={"Host": "hooks.example.com"}).status_code == 202
    assert orders.client.get(orders.path, headers={"Host": "hooks.example.com"}).status_code == 403
    for path in (orders.path, UNKNOWN):
        answer = orders.client.post(path, **orders.signed() | {"headers": {"Origin": "https://example.com"}})
        assert answer.status_code == 403


# Secrets


@signing
def test_after_a_rotation_both_secrets_are_accepted_for_the_overlap(sender, engine, webhook):
    orders = sender(**webhook)
    old = orders.secret
    rotated = orders.client.post(f"{orders.path}/rotate-secret", json={"overlap_seconds": 100}).json()
    new = orders.secret
    assert rotated == {"secret": new, "version": 2, "previous_until": "2026-11-20T12:01:40Z"}
    assert new != old
    assert orders.post(secret=old).status_code == 202
    assert orders.post(secret=new).status_code == 202
    engine.after(100)
    assert orders.post(secret=old).status_code == 401
    assert orders.post(secret=new).status_code == 202
    assert orders.client.get(orders.path).json()["previous_secret_until"] is None


def test_a_second_rotation_ends_the_overlap_of_the_first_and_begins_its_own(sender, engine):
    orders = sender()
    secrets = [orders.secret]
    for _ in range(2):
        engine.after(50)
        rotated = orders.client.post(f"{orders.path}/rotate-secret", json={"overlap_seconds": 100})
        secrets.append(rotated.json()["secret"])
    for passes, accepted in ((0, [401, 202, 202]), (99, [401, 202, 202]), (1, [401, 401, 202])):
        engine.after(passes)
        assert [orders.post(secret=secret).status_code for secret in secrets] == accepted


@signing
def test_each_webhook_has_a_secret_of_its_own(sender, webhook):
    triggers = [{"name": name, "webhook": webhook} for name in ("in", "other")]
    one, another = (sender(name, agent={"triggers": triggers}, **webhook) for name in ("one", "another"))
    secrets = [one.secret, another.secret]
    one.trigger = "other"
    secrets.append(one.secret)
    assert len(set(secrets)) == 3
    assert [one.post(secret=secret).status_code for secret in secrets] == [401, 401, 202]


def test_an_overlap_is_a_day_unless_it_is_said_and_thirty_days_at_most(sender):
    orders = sender()
    path, days = f"{orders.path}/rotate-secret", 86_400
    assert orders.client.post(path).json()["previous_until"] == "2026-11-21T12:00:00Z"
    for seconds, status in ((30 * days, 200), (30 * days + 1, 422), (-1, 422)):
        assert orders.client.post(path, json={"overlap_seconds": seconds}).status_code == status


def test_a_rotation_without_overlap_ends_the_old_secret_at_once(sender):
    orders = sender()
    old = orders.secret
    orders.client.post(f"{orders.path}/rotate-secret", json={"overlap_seconds": 0})
    assert orders.post(secret=old).status_code == 401


def test_a_secret_that_was_supplied_is_never_shown_and_changes_where_it_is_kept(sender, engine):
    orders = sender(signature="stripe", secret="secret:supplied", previous_secret="secret:before")
    for answer in (
        orders.client.get(f"{orders.path}/secret"),
        orders.client.post(f"{orders.path}/rotate-secret"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "secret_supplied")
        assert "secret:supplied" in answer.json()["detail"]
    assert orders.post(b'{"id": "evt_1"}').status_code == 202
    engine.ports.secrets.set("before", "whsec_before")
    assert orders.post(b'{"id": "evt_2"}', secret="whsec_before").status_code == 202
    engine.ports.secrets.set("supplied", "whsec_new")
    assert orders.post(b'{"id": "evt_3"}').status_code == 401
    assert orders.post(b'{"id": "evt_3"}', secret="whsec_new").status_code == 202


@pytest.mark.parametrize("signature", ["github", "stripe", "slack", "langflow"])
def test_a_secret_that_is_empty_lets_nobody_in(sender, monkeypatch, signature):
    orders = sender(signature=signature, secret="env:EMPTY")
    monkeypatch.setattr(FileSecretStore, "resolve", lambda *_: "")
    assert orders.post(secret="").status_code == 401


def test_no_secret_is_in_any_record(sender, engine):
    orders = sender()
    engine.ports.secrets.set("supplied", "whsec_supplied")
    dump = "\n".join(engine.database._connection.iterdump())
    assert orders.secret not in dump
    assert "whsec_supplied" not in dump


def test_secrets_of_unknown_webhooks_and_of_deleted_agents_are_not_there(sender, engine, client):
    gone = sender()
    lifecycle.delete(engine.ports, gone.agent_id)
    for hook in (UNKNOWN, gone.path):
        for method, path in [("GET", hook), ("GET", f"{hook}/secret"), ("POST", f"{hook}/rotate-secret")]:
            answer = client.request(method, path)
            assert (answer.status_code, answer.json()["code"]) == (404, "webhook_not_found")


# Lists


def test_webhooks_are_listed_by_agent_in_pages(sender, client):
    many = {"triggers": [{"name": f"hook-{n}", "webhook": {"signature": "github"}} for n in range(3)]}
    sender("b", agent=many)
    only = sender("a", signature="none")
    found, cursor = [], None
    while True:
        page = client.get("/api/v1/webhooks", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        found += page["items"]
        if (cursor := page["cursor"]) is None:
            break
    assert [(view["agent"], view["trigger"]) for view in found] == [
        ("a", "in"),
        *(("b", f"hook-{n}") for n in range(3)),
    ]
    assert found[0] == {
        "hook_id": only.hook_id,
        "agent": "a",
        "agent_id": only.agent_id,
        "trigger": "in",
        "signature": "none",
        "path": only.path,
        "secret_source": "none",
        "status": "ACTIVE",
        "rate_limit_per_minute": None,
    }
    assert client.get("/api/v1/webhooks", params={"agent": "a"}).json()["items"] == found[:1]
    assert client.get("/api/v1/webhooks", params={"agent": "nobody"}).status_code == 404
    assert client.get(only.path).json() == {**found[0], "secret_version": 1, "previous_secret_until": None}


def test_an_edit_of_one_trigger_touches_no_other(sender, engine):
    orders = sender(agent={"triggers": [{"name": "in", "webhook": {}}, {"name": "other", "webhook": {}}]})
    before = (orders.path, orders.secret)
    document = AgentDocument.model_validate(
        {
            "name": "renamed",
            "flow": {"python": "m:f"},
            "triggers": [{"name": "new", "webhook": {}}, {"name": "in", "webhook": {}}],
        }
    )
    lifecycle.edit(engine.ports, orders.agent_id, document)
    assert (orders.path, orders.secret) == before
    assert orders.post().status_code == 202
