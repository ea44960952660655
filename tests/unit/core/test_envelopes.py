"""Envelopes: events are found whatever stands around them; examples are those of the services' documentation."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.core.envelopes import parse, unwrap
from overnight.errors import Invalid
from overnight.executions import Event

NOW = datetime(2026, 1, 5, tzinfo=UTC)

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
S3 = {
    "Records": [
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-west-2",
            "eventTime": "1970-01-01T00:00:00.000Z",
            "eventName": "ObjectCreated:Put",
            "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
            "requestParameters": {"sourceIPAddress": "172.16.0.1"},
            "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcI"},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "testConfigRule",
                "bucket": {
                    "name": "amzn-s3-demo-bucket",
                    "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                    "arn": "arn:aws:s3:::amzn-s3-demo-bucket",
                },
                "object": {
                    "key": "red+flower%C3%A4.jpg",
                    "size": 1024,
                    "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                    "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
                    "sequencer": "0055AED6DCD90281E5",
                },
            },
        }
    ]
}
S3_TEST = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2014-10-13T15:57:02.089Z",
    "Bucket": "amzn-s3-demo-bucket",
    "RequestId": "5582815E1AEA5ADF",
    "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE",
}
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
EVENTBRIDGE = {
    "version": "0",
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "account": "111122223333",
    "time": "2021-11-12T00:00:00Z",
    "region": "ca-central-1",
    "resources": ["arn:aws:s3:::amzn-s3-demo-bucket1"],
    "detail": {"version": "0", "bucket": {"name": "amzn-s3-demo-bucket1"}, "object": {"key": "example-key", "size": 5}},
}
ARN = "arn:aws:sns:us-west-2:123456789012:MyTopic"


def sns(message: Any) -> dict[str, Any]:
    """https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html"""
    return {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": ARN,
        "Subject": "My First Message",
        "Message": message if isinstance(message, str) else json.dumps(message),
        "Timestamp": "2012-05-02T00:54:06.655Z",
        "SignatureVersion": "1",
    }


OWN = {"name": "dataset.created", "id": "d-1", "data": {"size": 3}}
LIFECYCLE = Event(id="e.1.succeeded", name="overnight.execution.succeeded", data={"agent": "a"}, at=NOW, depth=3)


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (OWN, [("dataset.created", "d-1", {"size": 3})]),
        ({"name": "x"}, [("x", "message", None)]),
        ([OWN, {"name": "x"}], [("dataset.created", "d-1", {"size": 3}), ("x", "message:1", None)]),
        ([], []),
        (EVENTBRIDGE, [("aws.s3.Object-Created", EVENTBRIDGE["id"], EVENTBRIDGE["detail"])]),
        (EVENTBRIDGE | {"source": "shop", "detail-type": "order.paid"}, [("order.paid", EVENTBRIDGE["id"], ...)]),
        (sns(OWN), [("dataset.created", "d-1", {"size": 3})]),
        (sns({"name": "x"}), [("x", "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", None)]),
        (sns("Hello world!"), [("sns.MyTopic", "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "Hello world!")]),
        (sns({"order": 7}), [("sns.MyTopic", ..., {"order": 7})]),
        (sns({"name": "Ann", "age": 7}), [("sns.MyTopic", ..., {"name": "Ann", "age": 7})]),
        (sns(EVENTBRIDGE), [("aws.s3.Object-Created", EVENTBRIDGE["id"], ...)]),
        (sns(S3), [("s3.ObjectCreated.Put", ..., ...)]),
        ({"Records": [{"EventSource": "aws:sns", "Sns": sns(OWN)}]}, [("dataset.created", "d-1", ...)]),
        (S3_TEST, []),
        (sns(S3_TEST), []),
        (sns(OWN) | {"Type": "SubscriptionConfirmation"}, []),
    ],
)
def test_what_is_in_an_envelope_is_an_event(message: Any, found: list[Any]):
    events = [(event.name, event.id, event.data) for event in unwrap(message, "message", NOW)]
    assert len(events) == len(found)
    for event, expected in zip(events, found, strict=True):
        assert all(wanted in (..., part) for part, wanted in zip(event, expected, strict=True)), event


def test_a_notification_of_s3_says_the_record_and_its_plain_key():
    (event,) = unwrap(S3, "message", NOW)
    assert event.name == "s3.ObjectCreated.Put"
    assert event.data["s3"]["object"]["urlDecodedKey"] == "red flowerä.jpg"  # type: ignore[index,call-overload]
    assert event.data["awsRegion"] == "us-west-2"  # type: ignore[index,call-overload]
    again = unwrap(S3, "another message", NOW)
    assert again == (event,), "the same change is the same event, however often it is told"


def test_a_lifecycle_event_from_the_bus_is_as_it_was_published():
    detail = json.loads(LIFECYCLE.model_dump_json())
    message = EVENTBRIDGE | {"source": "overnight", "detail-type": LIFECYCLE.name, "detail": detail}
    assert unwrap(message, "message", NOW) == (LIFECYCLE,)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (7, "is no event"),
        ({}, "is no event"),
        ({"hello": 1}, "is no event"),
        ({"name": "a b"}, "name"),
        ({"name": 7}, "name"),
        ({"name": "x", "id": ""}, "id"),
        ({"name": "x", "more": 1}, "more"),
        ([OWN, {"name": ""}], "1.name"),
        ({"Records": [{"eventSource": "aws:dynamodb"}]}, "Records"),
        ({"Records": [{"eventSource": "aws:s3"}]}, "Records"),
        (EVENTBRIDGE | {"detail-type": "..."}, "name"),
        ([[[[[OWN]]]]], "too many"),
    ],
)
def test_what_is_no_event_is_named(message: Any, why: str):
    with pytest.raises(Invalid, match=why):
        unwrap(message, "message", NOW)


@pytest.mark.parametrize("text", ["", "{", "NaN", b"\xff", '"\\ud800"', "[" * 100_000])
def test_what_is_no_json_is_named(text: str | bytes):
    with pytest.raises(Invalid):
        parse(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "id",
                    "data",
                    "Records",
                    "Type",
                    "TopicArn",
                    "Message",
                    "detail-type",
                    "source",
                    "detail",
                    "s3",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_nothing_else_than_invalid_is_ever_raised(message: Any):
    with suppress(Invalid):
        assert all(isinstance(event, Event) for event in unwrap(message, "message", NOW))
