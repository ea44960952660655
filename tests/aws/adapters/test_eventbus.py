from datetime import UTC, datetime

import pytest
from tests.support.faults import faulty, throttled

from overnight.aws.eventbus import EventBridgeBus
from overnight.aws.messages import event_of_bus, event_of_queue
from overnight.errors import Invalid, Unavailable
from overnight.executions import Event

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVENT = Event(id="x.1.succeeded", name="overnight.execution.succeeded", data={"text": "fine"}, at=NOW, depth=3)


class Bus:
    """Answers as EventBridge does; refuses so many times first, within an answer that is otherwise fine."""

    def __init__(self, refusals=0):
        self.entries = []
        self._refusals = refusals

    def put_events(self, Entries):  # noqa: N803 - boto3's
        self.entries += Entries
        if len(self.entries) <= self._refusals:
            return {
                "FailedEntryCount": 1,
                "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}],
            }
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr("overnight.aws.answers.PAUSES_SECONDS", (0, 0, 0))
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)


def brought(entry):
    """What a rule brings of an entry."""
    return {
        "id": "of the bus",
        "source": entry["Source"],
        "detail-type": entry["DetailType"],
        "time": entry["Time"].isoformat(),
        "detail": EVENT.model_dump(mode="json"),
    }


def test_an_event_comes_from_the_bus_as_it_was_published():
    bus = Bus()
    EventBridgeBus(lambda: bus, "bus").publish(EVENT)
    (entry,) = bus.entries
    assert entry["EventBusName"] == "bus"
    assert entry["Detail"] == EVENT.model_dump_json()
    assert event_of_bus(brought(entry)) == EVENT
    assert event_of_queue(brought(entry), "message", NOW) == EVENT


def test_an_entry_that_fails_within_an_answer_is_put_again():
    bus = Bus(refusals=2)
    EventBridgeBus(lambda: bus, "bus").publish(EVENT)
    assert len(bus.entries) == 3


@pytest.mark.parametrize("client", [Bus(refusals=9), faulty("events", [throttled()] * 40)], ids=["entry", "call"])
def test_what_the_bus_keeps_refusing_is_unavailable(client):
    with pytest.raises(Unavailable, match=r"EventBridge: .*ThrottlingException"):
        EventBridgeBus(lambda: client, "bus").publish(EVENT)


@pytest.mark.parametrize(
    ("source", "kind", "name"),
    [
        ("aws.s3", "Object Created", "aws.s3.Object-Created"),
        ("my.shop", "order/paid", "my.shop.order-paid"),
        ("partner", "x", "partner.x"),
    ],
)
def test_another_event_of_the_bus_has_the_name_of_its_source_and_type(source, kind, name):
    body = {"id": "1", "source": source, "detail-type": kind, "time": "2026-03-01T12:00:00Z", "detail": {"key": "k"}}
    assert event_of_bus(body) == Event(id="1", name=name, data={"key": "k"}, at=NOW)


def test_a_message_of_the_events_queue_is_an_event_with_the_messages_id_unless_it_has_one():
    assert event_of_queue({"name": "a.b", "data": 1}, "m1", NOW) == Event(id="m1", name="a.b", data=1, at=NOW)
    assert event_of_queue({"name": "a.b", "id": "e1"}, "m1", NOW).id == "e1"
    assert event_of_queue({"name": "a.b", "depth": 7}, "m1", NOW).depth == 0, "only our own may say how deep they are"


@pytest.mark.parametrize("body", [{}, {"name": "a b"}, {"name": "a", "id": ""}, {"source": "s", "detail-type": "t"}])
def test_what_is_no_event_is_refused_and_says_what_is_wrong(body):
    with pytest.raises(Invalid):
        event_of_queue(body, "m1", NOW)
