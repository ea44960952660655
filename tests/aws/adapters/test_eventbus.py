from datetime import UTC, datetime

import pytest
from tests.support.faults import faulty, throttled

from overnight.aws.eventbus import EventBridgeBus
from overnight.core.envelopes import unwrap
from overnight.errors import Unavailable
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
    assert unwrap(brought(entry), "message", NOW) == (EVENT,)


def test_an_entry_that_fails_within_an_answer_is_put_again():
    bus = Bus(refusals=2)
    EventBridgeBus(lambda: bus, "bus").publish(EVENT)
    assert len(bus.entries) == 3


@pytest.mark.parametrize("client", [Bus(refusals=9), faulty("events", [throttled()] * 40)], ids=["entry", "call"])
def test_what_the_bus_keeps_refusing_is_unavailable(client):
    with pytest.raises(Unavailable, match=r"EventBridge: .*ThrottlingException"):
        EventBridgeBus(lambda: client, "bus").publish(EVENT)
