"""What fires agents, each by its own way in: signed webhooks, events by API, queue and bus, and a flow's own nodes."""

import gzip
import json
from datetime import timedelta
from typing import Any

import pytest
from tests.aws.harness.functions import Fuse
from tests.aws.harness.stack import Stack, statuses
from tests.support import canvas

from overnight.core.webhooks.schemes import Signed, sign
from overnight.webhooks import Webhook, hook_id

pytestmark = pytest.mark.timeout(300)

SUPPLIED = "whsec_c3VwcGxpZWQ="
SCHEMES: dict[str, dict[str, Any]] = {
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


class Sender:
    """Signs and posts to an agent's webhook."""

    def __init__(self, stack: Stack, agent: dict[str, Any], trigger: str = "in") -> None:
        self.stack = stack
        self.id = hook_id(agent["id"], trigger)
        said = next(each for each in agent["triggers"] if each["name"] == trigger)["webhook"]
        self.webhook = Webhook.model_validate(said)

    @property
    def secret(self) -> str:
        if self.webhook.signature == "none":
            return ""
        return SUPPLIED if self.webhook.secret else self.stack.client.webhook_secret(self.id)["secret"]

    def signed(self, body: bytes, delivery_id: str = "d-1", secret: str | None = None) -> Signed:
        return sign(self.webhook, secret or self.secret, body, self.stack.now, delivery_id)

    def post(self, body: bytes, signed: Signed | None = None, **headers: str) -> Any:
        made = signed or self.signed(body)
        return self.stack.deliver(self.id, body, {**made.headers, **headers}, params=dict(made.query) or None)


def hooked(stack: Stack, name: str = "agent", **webhook: Any) -> Sender:
    stack.client.set_secret("supplied", SUPPLIED)
    return Sender(stack, stack.agent(name, triggers=[{"name": "in", "webhook": webhook}]))


# Webhooks


def test_a_signed_delivery_of_every_scheme_runs_once_however_often_it_comes(stack):
    body = '{"order": "Ünïcode", "n": 1}'.encode()
    for number, (name, webhook) in enumerate(SCHEMES.items()):
        sender = hooked(stack, f"agent-{number}", **webhook)
        signed = sender.signed(body)
        first = sender.post(body, signed)
        again = sender.post(body, signed)
        assert (first.status_code, again.status_code) == (202, 200), name
        assert first.json() == again.json(), name
    stack.live(seconds=5)
    for number, name in enumerate(SCHEMES):
        assert statuses(stack.rows(f"agent-{number}")) == ["succeeded"], name
    assert len(stack.stage.played) == len(SCHEMES)
    assert {context.firing.payload["body"]["order"] for context in stack.stage.played} == {"Ünïcode"}
    stack.check()


def test_bytes_that_are_no_text_are_verified_as_they_were_sent(stack):
    sender = hooked(stack, signature="github")
    body = gzip.compress(b'{"order": 1}')
    assert sender.post(body, **{"Content-Type": "application/octet-stream"}).status_code in {202, 400, 422}
    tampered = bytes([*body[:-1], body[-1] ^ 1])
    assert sender.post(tampered, sender.signed(body)).status_code == 401


def test_every_refusal_is_the_same(stack):
    sender = hooked(stack)
    body = b'{"order": 1}'
    wrong = sender.post(body, sender.signed(body, secret="whsec_" + "d3Jvbmc="))
    old = sender.signed(body)
    stack.account.clock.at += timedelta(seconds=301)
    late = sender.post(body, old)
    unknown = stack.deliver("0" * 32, body, {})
    unsigned = stack.deliver(sender.id, body, {})
    answers = {(answer.status_code, answer.content) for answer in (wrong, late, unknown, unsigned)}
    assert len(answers) == 1
    assert wrong.status_code == 401
    assert stack.rows() == []


def test_a_rotated_secret_holds_beside_the_new_one_for_a_while(stack):
    sender = hooked(stack)
    before = sender.secret
    stack.client.rotate_webhook_secret(sender.id, overlap_seconds=3_600)
    stack.function("webhook").processes.clear()
    body = b'{"order": 1}'
    assert sender.post(body, sender.signed(body, "d-1", before)).status_code == 202
    assert sender.post(body, sender.signed(body, "d-2")).status_code == 202
    stack.account.clock.at += timedelta(seconds=3_601)
    assert sender.post(body, sender.signed(body, "d-3", before)).status_code == 401


def test_a_body_that_is_too_large_is_refused_and_the_largest_is_kept_whole(stack):
    sender = hooked(stack)
    largest = b'"' + b"x" * (256 * 1024 - 2) + b'"'
    assert sender.post(largest, **{"Content-Type": "application/json"}).status_code == 202
    assert sender.post(largest + b" ").status_code == 413
    stack.live(seconds=5)
    (context,) = stack.stage.played
    assert len(context.firing.payload["body"]) == 256 * 1024 - 2
    stack.check()


def test_a_sender_that_gets_no_answer_sends_again_and_one_execution_runs(stack):
    """The function dies after each of its calls that write."""
    sender = hooked(stack, "agent")
    body = b'{"order": 1}'
    for writes in range(1, 20):
        signed = sender.signed(body, f"d-{writes}")
        fuse = Fuse(writes)
        with stack.watched(fuse):
            answer = sender.post(body, signed)
        if not fuse.blown:
            break
        assert answer.status_code == 502
        assert sender.post(body, signed).status_code in {200, 202}
    else:
        pytest.fail("the function writes without end")
    assert writes > 2
    stack.live(minutes=4)
    assert statuses(stack.rows()) == ["succeeded"] * writes
    stack.check()


def test_what_comes_while_an_agent_is_paused_is_kept_and_can_be_replayed(stack):
    sender = hooked(stack)
    stack.client.pause("agent")
    assert sender.post(b'{"order": 1}').status_code == 202
    stack.live(seconds=5)
    (row,) = stack.rows()
    assert (row["status"], row["reason"]) == ("skipped", "paused")
    stack.client.resume("agent")
    stack.client.replay(row["id"])
    stack.live(seconds=5)
    assert statuses(stack.rows()) == ["skipped (paused)", "succeeded"]
    assert stack.stage.played[0].firing.payload["body"] == {"order": 1}


# Who is let in to the management API


def test_the_management_api_lets_in_by_iam_alone(stack):
    stack.agent()
    agents = "/api/v1/background_agents"
    with stack.http(None) as public, stack.http("Reader") as reader, stack.http("Operator") as operator:
        assert public.get(agents).status_code == 403
        assert reader.get(agents).status_code == operator.get(agents).status_code == 200
        assert reader.post(f"{agents}/agent/trigger").status_code == 403
        assert operator.post(f"{agents}/agent/trigger").status_code == 202


# Events


def test_one_event_reaches_all_who_subscribe_by_api_queue_and_bus(stack):
    for name, event in {"exact": "dataset.new", "prefix": "dataset.*", "other": "order.*"}.items():
        stack.agent(name, triggers=[{"name": "on", "event": {"name": event}}], concurrency={"max_parallel": None})
    foreign = {"name": "aws.s3.*", "input": "{input_value: bucket.name}"}
    stack.agent("objects", triggers=[{"name": "on", "event": foreign}])
    sent = stack.client.send_event("dataset.new", data={"n": 1}, event_id="e1")
    stack.put_on_events_queue({"name": "dataset.new", "id": "e1", "data": {"n": 1}})  # the same once more
    stack.put_on_events_queue({"name": "dataset.new", "id": "e2", "data": {"n": 2}})
    stack.put_on_bus("aws.s3", "Object Created", {"bucket": {"name": "inbox"}})
    stack.live(seconds=10)
    assert len(sent["execution_ids"]) == 2
    assert [statuses(stack.rows(name)) for name in ("exact", "prefix", "other")] == [["succeeded"] * 2] * 2 + [[]]
    assert [context.input_value for context in stack.stage.played if context.agent == "objects"] == ["inbox"]
    stack.check()


def test_agents_follow_agents_over_the_bus(stack):
    follow = {"name": "overnight.execution.succeeded", "filter": "agent == 'first'"}
    stack.agent("first")
    stack.agent("second", triggers=[{"name": "on", "event": follow}])
    stack.client.trigger("first")
    stack.live(seconds=10)
    assert statuses(stack.rows("second")) == ["succeeded"]
    stack.check()


def test_a_chain_of_followers_ends_and_lambda_lets_it_be(stack):
    """Each one follows itself: after eight of them nothing follows."""
    stack.agent(triggers=[{"name": "on", "event": {"name": "overnight.execution.succeeded"}}])
    stack.client.trigger("agent")
    stack.live(minutes=2)
    rows = stack.rows()
    assert statuses(rows) == [*["succeeded"] * (len(rows) - 1), "skipped (depth)"]
    assert 8 <= len(rows) <= 10
    stack.check()


def test_a_batch_is_run_when_it_is_full_and_when_its_window_is_over(stack):
    batch = {"name": "x", "batch": {"size": 3, "window_seconds": 60}}
    stack.agent(triggers=[{"name": "on", "event": batch}], concurrency={"max_parallel": None})
    for number in range(4):
        stack.client.send_event("x", data={"n": number}, event_id=f"e{number}")
    stack.live(seconds=10)
    told = [[event["data"]["n"] for event in context.firing.payload["events"]] for context in stack.stage.played]
    assert told == [[0, 1, 2]]
    stack.live(seconds=170)
    told = [[event["data"]["n"] for event in context.firing.payload["events"]] for context in stack.stage.played]
    assert told == [[0, 1, 2], [3]]
    stack.check()


def test_a_debounce_waits_for_quiet(stack):
    debounce = {"name": "x", "debounce": {"delay_seconds": 30, "max_delay_seconds": 300}}
    stack.agent(triggers=[{"name": "on", "event": debounce}])
    for number in range(3):
        stack.client.send_event("x", data={"n": number}, event_id=f"e{number}")
        stack.live(seconds=20)
    assert stack.stage.played == []
    stack.live(minutes=3)
    (context,) = stack.stage.played
    assert [event["data"]["n"] for event in context.firing.payload["events"]] == [0, 1, 2]
    stack.check()


# A flow's own nodes


@pytest.mark.slow
def test_an_exported_flow_is_deployed_by_its_own_trigger_nodes_and_runs(stack, monkeypatch, tmp_path):
    """Its schedule node is armed on EventBridge; its webhook node has an address; lfx runs it in the runner."""
    pytest.importorskip("lfx")
    monkeypatch.setenv("LANGFLOW_CONFIG_DIR", str(tmp_path))
    nodes = [
        canvas.node("ScheduleTrigger", "ScheduleTrigger-s1", cron_expression="2 8 * * *"),
        canvas.node("InboundWebhookTrigger", "InboundWebhookTrigger-w1"),
    ]
    outputs = [canvas.node("ChatOutput", f"ChatOutput-{number}") for number in range(2)]
    edges = [
        canvas.edge(node, node["data"]["node"]["outputs"][0]["name"], output, "input_value")
        for node, output in zip(nodes, outputs, strict=True)
    ]
    agent = stack.agent(flow={"langflow": json.loads(canvas.flow([*nodes, *outputs], edges))})
    assert [trigger["name"] for trigger in agent["triggers"]] == ["ScheduleTrigger-s1", "InboundWebhookTrigger-w1"]
    body = b'{"order": 42}'
    sender = Sender(stack, agent, "InboundWebhookTrigger-w1")
    assert sender.post(body, **{"Content-Type": "application/json"}).status_code == 202
    stack.live(minutes=5)
    rows = stack.rows()
    assert statuses(rows) == ["succeeded"] * 2, [stack.client.execution(row["id"]) for row in rows]
    texts = [json.dumps(stack.client.execution(row["id"])["output"]) for row in rows]
    assert "42" in texts[0]
    assert "2026-03-02T08:02:00" in texts[1]
    stack.check()
