"""The work queue on SQS: a run queue, a retry queue and the fire queue, standard ones, fair among agents.

    run                    run queue
    retry, due in 15 min   retry queue, with a delay
    retry, due later       not sent: the execution's row has the due time, and the watchdog sends it then
    close                  fire queue, as it takes no flow to carry it out; one that is due later comes in between, and
                           whoever finds that there is nothing to close yet sends it on

Each message is in its agent's group, so one agent's backlog does not hold up the others
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html). Messages may come
twice and in any order; only the execution's record decides. On Lambda, the event source mapping receives and deletes.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING, Any

from overnight.aws.answers import in_full, unavailable
from overnight.aws.messages import Fire
from overnight.errors import Unavailable
from overnight.executions import Message

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

__all__ = ["LONGEST_DELAY_SECONDS", "DeadLetters", "FireQueue", "SqsWorkQueue"]

LONGEST_DELAY_SECONDS = 900
"""SQS's own limit of DelaySeconds."""

_BATCH = 10
_REASON_CHARACTERS = 1_000


def delay_seconds(due: datetime | None, now: datetime) -> int:
    """In how many seconds a message is to come, so that it is not early: whole ones, from when SQS takes it."""
    return 0 if due is None else max(0, ceil((due - now).total_seconds()))


class SqsWorkQueue:
    """Sends what is to be run.

    Args:
        connect: gives the client.
        run_queue: the URL.
        retry_queue: the URL.
        fire_queue: the URL.
        now: the clock, for delays.
    """

    def __init__(
        self,
        connect: "Callable[[], SQSClient]",
        run_queue: str,
        retry_queue: str,
        fire_queue: str,
        now: Callable[[], datetime],
    ) -> None:
        self._connect = connect
        self._queues = {"run": run_queue, "retry": retry_queue, "close": fire_queue}
        self._now = now
        self._receipts: dict[Message, tuple[str, str]] = {}

    def send(self, messages: Sequence[Message]) -> None:
        """Send; a message with a `due` is not received before then, and one that is due too late is left to its row."""
        now = self._now()
        for kind, url in self._queues.items():
            due = ((message, delay_seconds(message.due, now)) for message in messages if message.kind == kind)
            send(
                self._connect(),
                url,
                (
                    (message.agent_id, message.model_dump_json(exclude_none=True), min(delay, LONGEST_DELAY_SECONDS))
                    for message, delay in due
                    if kind == "close" or delay <= LONGEST_DELAY_SECONDS
                ),
            )

    def receive(self, limit: int, now: datetime) -> Sequence[Message]:  # noqa: ARG002 - SQS has its own clock
        """Take up to `limit` messages; where no event source mapping does."""
        received: list[Message] = []
        for url in self._queues.values():
            while len(received) < limit:
                with unavailable("SQS"):
                    answer = self._connect().receive_message(
                        QueueUrl=url, MaxNumberOfMessages=min(_BATCH, limit - len(received))
                    )
                found = answer.get("Messages", [])
                for raw in found:
                    message = Message.model_validate_json(raw["Body"])
                    self._receipts[message] = (url, raw["ReceiptHandle"])
                    received.append(message)
                if not found:
                    break
        return received

    def done(self, message: Message) -> None:
        """Delete a message that was received here; what a mapping received, it deletes itself."""
        receipt = self._receipts.pop(message, None)
        if receipt is not None:
            with unavailable("SQS"):
                self._connect().delete_message(QueueUrl=receipt[0], ReceiptHandle=receipt[1])


class FireQueue:
    """Holds back ticks that are to be fired within a minute, or after their jitter."""

    def __init__(self, connect: "Callable[[], SQSClient]", queue: str, now: Callable[[], datetime]) -> None:
        self._connect = connect
        self._queue = queue
        self._now = now

    def send(self, fires: Iterable[Fire]) -> None:
        """Send each so that it comes at its time; one that is due later than SQS delays comes sooner, to be sent on."""
        now = self._now()
        delayed = ((fire, min(delay_seconds(fire.due, now), LONGEST_DELAY_SECONDS)) for fire in fires)
        send(self._connect(), self._queue, ((fire.agent_id, fire.model_dump_json(), delay) for fire, delay in delayed))


class DeadLetters:
    """The dead-letter queue, for what SQS itself would put there only after it was received many times."""

    def __init__(self, connect: "Callable[[], SQSClient]", queue: str | None) -> None:
        self._connect = connect
        self._queue = queue

    def send(self, body: str, reason: str) -> None:
        """Keep a message there, with the reason as an attribute. Raises Unavailable."""
        if self._queue is None:
            raise Unavailable("this function has no dead letters: its environment lacks OVERNIGHT_DEAD_LETTERS")
        shown = "".join(each if each.isprintable() else "?" for each in reason[:_REASON_CHARACTERS])
        with unavailable("SQS"):
            self._connect().send_message(
                QueueUrl=self._queue,
                MessageBody=body,
                MessageAttributes={"reason": {"DataType": "String", "StringValue": shown}},
            )


def send(client: "SQSClient", url: str, bodies: Iterable[tuple[str, str, int]]) -> None:
    """Send bodies, each of a group (an agent's id) and after a delay in seconds. Raises Unavailable."""
    rest = iter(bodies)
    while batch := list(islice(rest, _BATCH)):
        entries = [
            {"Id": str(number), "MessageBody": body, "DelaySeconds": delay, "MessageGroupId": group}
            for number, (group, body, delay) in enumerate(batch)
        ]
        in_full("SQS", entries, partial(_sent, client, url))


def _sent(client: "SQSClient", url: str, entries: list[Any]) -> tuple[list[Any], str]:
    """Those that SQS has not taken, and why not."""
    failed = {
        found["Id"]: found for found in client.send_message_batch(QueueUrl=url, Entries=entries).get("Failed", [])
    }
    why = "; ".join({f"{found['Code']}: {found.get('Message', '')}" for found in failed.values()})
    return [entry for entry in entries if entry["Id"] in failed], why
