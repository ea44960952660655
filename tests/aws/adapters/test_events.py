"""The events queue, which the bus feeds, and what gathers events: batches are closed over the fire queue."""

import json
from typing import Any

import pytest
from tests.support import aws

from overnight.aws.messages import held
from overnight.core.payloads import opened
from overnight.executions import Message
from overnight.ports import ExecutionFilter


def rows(stack):
    """The executions, oldest first, each with what it was told."""
    ports = stack.open().ports
    found = reversed(ports.store.executions(ExecutionFilter()).items)
    return [(row, opened(ports.blobs, row.payload)) for row in found]


def subscriber(stack, name: str, **event: Any):
    return stack.agent(name, triggers=[{"name": "on", "event": {"name": f"{name}.*", **event}}])


def dead_letters(stack) -> list[tuple[str, str]]:
    answer = aws.client("sqs").receive_message(
        QueueUrl=stack.environ["OVERNIGHT_DEAD_LETTERS"], MaxNumberOfMessages=10, MessageAttributeNames=["reason"]
    )
    return [(each["Body"], each["MessageAttributes"]["reason"]["StringValue"]) for each in answer.get("Messages", [])]


OURS = {"name": "s3.own", "id": "7", "data": {"rows": 7}}
OF_S3 = {
    "Records": [
        {
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "eventTime": "2026-03-02T08:00:00Z",
            "s3": {"bucket": {"name": "in"}, "object": {"key": "a+b.csv", "sequencer": "1"}},
        }
    ]
}
OF_SNS = {"Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:x:1:t", "Message": json.dumps(OF_S3)}
OF_BUS = {
    "version": "0",
    "id": "b",
    "source": "aws.s3",
    "detail-type": "Object Created",
    "time": "2026-03-02T08:00:00Z",
    "detail": {"bucket": {"name": "in"}},
}


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (OURS, "s3.own"),
        (OF_S3, "s3.ObjectCreated.Put"),
        (OF_SNS, "s3.ObjectCreated.Put"),
        (OF_BUS, "aws.s3.Object-Created"),
    ],
    ids=["an event", "S3", "S3 by SNS", "the bus"],
)
def test_a_message_is_unwrapped_and_reaches_its_subscribers_once_however_often_it_comes(stack, message, name):
    subscriber(stack, name.partition(".")[0])
    engine, body = stack.open(), json.dumps(message)
    (reached,) = engine.take(body, "message-1")
    assert engine.take(body, "message-2") == ()
    ((row, told),) = rows(stack)
    assert (row.id, told["name"]) == (reached, name)
    assert [message.execution_id for message in stack.messages()] == [row.id]


def test_several_events_in_one_message_are_several(stack):
    subscriber(stack, "dataset")
    events = [{"name": "dataset.new", "data": number} for number in range(3)]
    assert len(stack.open().take(json.dumps(events), "message-1")) == 3
    assert [told["data"] for _, told in rows(stack)] == [0, 1, 2]


@pytest.mark.parametrize("body", ["no JSON", "[]]", '{"rows": 7}', '{"name": "a b"}', '{"name": "x", "\\u0000": 1}'])
def test_what_can_not_be_read_is_put_aside_at_once_with_the_reason(stack, body):
    assert stack.open().take(body, "message-1") == ()
    ((kept, reason),) = dead_letters(stack)
    assert kept == body
    assert reason


def test_a_lifecycle_event_from_the_bus_keeps_its_depth(stack):
    subscriber(stack, "overnight")
    detail = {"id": "e", "name": "overnight.execution.succeeded", "at": "2026-03-02T08:00:00Z", "depth": 3}
    stack.open().take(json.dumps(OF_BUS | {"source": "overnight", "detail": detail}), "message-1")
    ((row, _),) = rows(stack)
    assert row.depth == 3


def closing(stack) -> list[Message]:
    """What the fire queue brings now, carried out."""
    found = [held.validate_json(body) for body in stack.bodies("fire")]
    for one in found:
        stack.open().fire(one)
    return found


def test_a_batch_is_closed_over_the_fire_queue_when_its_window_ends(stack):
    subscriber(stack, "page", batch={"size": 50, "window_seconds": 60})
    for number in range(3):
        stack.open().take(json.dumps({"name": "page.changed", "id": str(number)}), "m")
    stack.pass_(seconds=59)
    assert closing(stack) == []
    assert stack.messages() == []
    stack.pass_(seconds=1)
    (message,) = closing(stack)
    assert message.kind == "close"
    (run,) = stack.messages()
    assert run.execution_id == message.execution_id
    told = next(told for row, told in rows(stack) if row.id == run.execution_id)
    assert [event["id"] for event in told["events"]] == ["0", "1", "2"]


def test_a_window_longer_than_sqs_delays_ends_on_time_too(stack):
    subscriber(stack, "page", batch={"size": 50, "window_seconds": 2_000})
    stack.open().take(json.dumps({"name": "page.changed", "id": "1"}), "m")
    for seconds in (900, 900, 199):
        stack.pass_(seconds=seconds)
        closing(stack)
        assert stack.messages() == []
    stack.pass_(seconds=1)
    closing(stack)
    assert len(stack.messages()) == 1


def test_a_full_batch_is_closed_at_once(stack):
    subscriber(stack, "page", batch={"size": 2, "window_seconds": 3_600})
    for number in range(2):
        stack.open().take(json.dumps({"name": "page.changed", "id": str(number)}), "m")
    closing(stack)
    assert len(stack.messages()) == 1
