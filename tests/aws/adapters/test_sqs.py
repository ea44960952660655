from datetime import UTC, datetime, timedelta

import pytest
from tests.support import aws
from tests.support.faults import faulty, refused

from overnight.aws.messages import Fire
from overnight.aws.sqs import LONGEST_DELAY_SECONDS, FireQueue, SqsWorkQueue
from overnight.errors import Unavailable
from overnight.executions import Message

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Recording:
    """A client that keeps what it is asked to send, and refuses what it is told to, so many times."""

    def __init__(self, refuses=(), code="InternalError"):
        self.batches = []
        self._refuses = list(refuses)
        self._code = code

    def send_message_batch(self, QueueUrl, Entries):  # noqa: N803 - boto3's
        self.batches.append((QueueUrl, Entries))
        bad = self._refuses.pop(0) if self._refuses else set()
        failed = [entry["Id"] for entry in Entries if entry["Id"] in bad]
        return {"Failed": [{"Id": id_, "Code": self._code, "Message": "sorry", "SenderFault": False} for id_ in failed]}

    @property
    def sent(self):
        return [(url, entry) for url, batch in self.batches for entry in batch]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr("overnight.aws.answers.PAUSES_SECONDS", (0, 0, 0))


def message(kind="run", number=1, due=None, agent="agent-1"):
    return Message(kind=kind, execution_id=f"{number:032x}", agent_id=agent, attempt=1, due=due)


def queue(client):
    return SqsWorkQueue(lambda: client, "run", "retry", "fire", lambda: NOW)


def test_messages_go_ten_at_a_time_each_in_its_agents_group():
    client = Recording()
    queue(client).send([message(number=n, agent=f"agent-{n % 3}") for n in range(23)])
    assert [len(batch) for _, batch in client.batches] == [10, 10, 3]
    assert [entry["MessageGroupId"] for _, entry in client.sent] == [f"agent-{n % 3}" for n in range(23)]
    assert all(len({entry["Id"] for entry in batch}) == len(batch) for _, batch in client.batches)
    assert sum(len(entry["MessageBody"]) for _, entry in client.sent) < 23 * 256


@pytest.mark.parametrize(
    ("kind", "seconds", "where"),
    [
        ("run", None, ("run", 0)),
        ("retry", -5, ("retry", 0)),
        ("retry", 0, ("retry", 0)),
        ("retry", 1, ("retry", 1)),
        ("retry", 1.001, ("retry", 2)),  # never early
        ("retry", LONGEST_DELAY_SECONDS, ("retry", LONGEST_DELAY_SECONDS)),
        ("retry", LONGEST_DELAY_SECONDS + 0.5, None),
        ("retry", 86_400, None),
        ("close", None, ("fire", 0)),
        ("close", 60, ("fire", 60)),
        ("close", 3_600, ("fire", LONGEST_DELAY_SECONDS)),  # to be sent on
    ],
)
def test_a_message_goes_to_its_queue_with_its_delay_or_is_left_to_the_watchdog(kind, seconds, where):
    client = Recording()
    due = None if seconds is None else NOW + timedelta(seconds=seconds)
    queue(client).send([message(kind, due=due)])
    assert [(url, entry["DelaySeconds"]) for url, entry in client.sent] == ([where] if where else [])


def test_what_a_batch_leaves_undone_is_sent_again_and_nothing_else():
    client = Recording(refuses=[{"0", "2"}, {"2"}])
    queue(client).send([message(number=n) for n in range(4)])
    assert [[entry["Id"] for entry in batch] for _, batch in client.batches] == [
        ["0", "1", "2", "3"],
        ["0", "2"],
        ["2"],
    ]


def test_what_sqs_keeps_refusing_is_unavailable_and_says_why():
    client = Recording(refuses=[{"0"}] * 9)
    with pytest.raises(Unavailable, match="SQS: InternalError: sorry"):
        queue(client).send([message()])


def test_a_queue_that_is_not_there_is_unavailable():
    client = faulty("sqs", [refused("AWS.SimpleQueueService.NonExistentQueue", "no such queue")])
    with pytest.raises(Unavailable, match="no such queue"):
        queue(client).send([message()])


def test_what_is_sent_comes_back_as_it_was_and_goes_when_it_is_done_with():
    urls = [aws.make_queue(aws.fresh("sqs")) for _ in range(3)]
    with aws.moto_time(lambda: NOW):
        work = SqsWorkQueue(lambda: aws.client("sqs"), *urls, lambda: NOW)
        sent = [message(number=1), message("retry", 2), message("close", 3)]
        work.send(sent)
        received = work.receive(10, NOW)
        assert {one.kind: one for one in received} == {one.kind: one for one in sent}
        for one in received:
            work.done(one)
            work.done(one)
        counts = [
            aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"] for url in urls
        ]
    assert {count["ApproximateNumberOfMessagesNotVisible"] for count in counts} == {"0"}


def test_a_fire_is_held_back_until_its_time_as_far_as_sqs_can():
    client = Recording()
    fires = FireQueue(lambda: client, "fire", lambda: NOW)
    dues = [NOW + timedelta(seconds=seconds) for seconds in (-1, 0.2, 59.9, 900, 5_000)]
    fires.send(Fire(agent_id="a", trigger="t", nominal=NOW, due=due) for due in dues)
    assert [entry["DelaySeconds"] for _, entry in client.sent] == [0, 1, 60, 900, 900]
    assert [Fire.model_validate_json(entry["MessageBody"]).due for _, entry in client.sent] == dues
    assert {entry["MessageGroupId"] for _, entry in client.sent} == {"a"}
