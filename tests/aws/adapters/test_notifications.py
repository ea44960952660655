"""Notifications of agents that name `sns`: the stack's topic gets them, each in a form that its reader likes."""

import json
from typing import Any

import pytest
from tests.support import aws

from overnight.agents import AgentDocument
from overnight.api.documents import accept
from overnight.core import fire
from overnight.errors import Invalid


@pytest.fixture
def topic(stack) -> str:
    """A topic, to which a queue subscribes."""
    arn: str = aws.client("sns").create_topic(Name=stack.name)["TopicArn"]
    queue = f"arn:aws:sqs:{aws.REGION}:123456789012:{stack.name}-events"
    aws.client("sns").subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue)
    stack.environ["OVERNIGHT_TOPIC"] = arn
    return arn


def fails(stack, invocation, url: str = "sns"):
    """An execution that fails for good, and the round of the watchdog after it."""
    agent = stack.agent("daily", flow={"python": "nowhere:gone"}, notify={"on": ["failed"], "url": url})
    engine = stack.open_runner()
    engine.ensure_master_key()
    execution = fire.trigger(engine.ports, agent.id).execution
    for message in stack.messages():
        engine.run(message, invocation)
    engine.watch(invocation)
    return execution


def deliveries(stack):
    store = stack.open().ports.store
    return [(each.status, each.error) for each in store.deliveries(store.agent("daily").id)]


def test_a_failure_is_told_to_the_topic_once(stack, topic, invocation):
    execution = fails(stack, invocation)
    stack.open().watch(invocation)
    (told,) = map(json.loads, stack.bodies("events"))
    said = json.loads(told["Message"])
    assert (said["type"], said["data"]["execution_id"]) == ("overnight.execution.failed", execution.id)
    assert told["Subject"] == "daily failed"
    assert told["MessageAttributes"]["agent"]["Value"] == "daily"
    assert deliveries(stack) == [("delivered", None)]


def test_who_reads_mail_gets_text(stack, topic, invocation, monkeypatch):
    said: list[dict[str, Any]] = []
    sns = aws.client("sns")
    monkeypatch.setattr(sns, "publish", lambda **message: said.append(message) or {}, raising=False)
    execution = fails(stack, invocation)
    mail = json.loads(said[0]["Message"])["email"].splitlines()
    assert mail[0] == "The agent daily failed at attempt 1."
    assert "nowhere" in mail[1]
    assert mail[-1] == f"overnight executions show {execution.id}"


def test_without_a_topic_the_delivery_says_so_and_is_not_tried_again(stack, invocation):
    fails(stack, invocation)
    ((status, error),) = deliveries(stack)
    assert status == "failed"
    assert "OVERNIGHT_TOPIC" in error


def test_a_topic_that_is_gone_is_tried_again_later(stack, topic, invocation):
    aws.client("sns").delete_topic(TopicArn=topic)
    fails(stack, invocation)
    ((status, error),) = deliveries(stack)
    assert status == "pending"
    assert "SNS" in error


@pytest.mark.parametrize("url", ["sns:other", "SNS", "ftp://example.com", "sns "])
def test_nothing_but_the_topic_and_urls_can_be_named(url):
    document = {"name": "x", "flow": {"python": "a:b"}, "notify": {"url": url}}
    with pytest.raises(ValueError, match=r"notify\.url"):
        AgentDocument.model_validate(document)


def test_an_agent_may_name_the_topic_where_there_is_one(stack, topic):
    raw = {"name": "a", "flow": {"python": "a:b"}, "notify": {"url": "sns"}}
    assert accept(stack.open().ports, raw).notify.url == "sns"
    del stack.environ["OVERNIGHT_TOPIC"]
    with pytest.raises(Invalid, match="OVERNIGHT_TOPIC"):
        accept(stack.open().ports, raw)
