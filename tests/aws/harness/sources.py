"""What calls the functions: EventBridge Scheduler for the minute, Lambda's pollers for the queues."""

import json
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.aws.harness.account import REGION
from tests.aws.harness.cloudformation import Cloud
from tests.aws.harness.functions import Function, Invocation, Lambda
from tests.aws.harness.iam import Need
from tests.support.eventbridge import Scheduler as Expression

if TYPE_CHECKING:
    from random import Random

__all__ = ["Pollers", "Scheduler"]

MINUTE = timedelta(minutes=1)
MOST_ROUNDS = 10_000
"""Of one queue at one moment; more is a message that is sent again and again."""


class Scheduler:
    """EventBridge Scheduler: once a minute, it calls the targets of the schedules that fire in it.

    It calls at some time within the minute: `late` after its beginning.
    """

    def __init__(self, cloud: Cloud, world: Lambda, functions: Mapping[str, Function]) -> None:
        self._cloud = cloud
        self._world = world
        self._functions = functions
        self._next = _floor(world.account.clock.at)
        self.late = timedelta(seconds=5)
        self.twice = False
        """Whether every call is made twice, as may happen with at-least-once delivery."""
        self.rang: list[tuple[datetime, str, str]] = []
        """Minute, schedule, and function of each call."""

    def next_ring(self) -> datetime:
        """When it next calls what there is to call."""
        return self._next + self.late

    def skip(self) -> None:
        """Whatever was to be called up to now was not."""
        now = self._world.account.clock.at
        while self.next_ring() <= now:
            self._next += MINUTE

    def ring(self) -> None:
        """Call what is to be called now."""
        while self.next_ring() <= self._world.account.clock.at:
            minute, self._next = self._next, self._next + MINUTE
            for schedule in self._world.account.schedules():
                if schedule.state != "ENABLED" or not fires(schedule, minute):
                    continue
                for _ in range(2 if self.twice else 1):
                    self._call(schedule, minute)
                if schedule.action_after_completion == "DELETE" and schedule.schedule_expression.startswith("at("):
                    where = {"GroupName": schedule.group_name, "Name": schedule.name}
                    self._world.account.client("scheduler").delete_schedule(**where)

    def _call(self, schedule: Any, minute: datetime) -> None:
        target = schedule.target
        self._world.asked_by_service(target["RoleArn"], Need("lambda:InvokeFunction", target["Arn"]))
        function = self._functions[target["Arn"]]
        self.rang.append((minute, schedule.name, function.name))
        self.invoke(function, _input(schedule, minute, self._world.account.id))

    def invoke(self, function: Function, event: Any) -> Invocation:
        """Call a function without waiting for its answer; what fails goes where the function's configuration says."""
        invocation = function.begin(event)
        assert invocation.done, "a function that nobody waits for is under way; the harness has no use for that"
        if invocation.error is not None:
            self._failed(function, invocation)
        return invocation

    def _failed(self, function: Function, invocation: Invocation) -> None:
        configured = self._cloud.of("AWS::Lambda::EventInvokeConfig").values()
        for config in (each.properties for each in configured if each.properties["FunctionName"] == function.name):
            assert config["MaximumRetryAttempts"] == 0, "the harness does not retry for Lambda"
            queue = config["DestinationConfig"]["OnFailure"]["Destination"]
            url = next(
                each.made.ref
                for each in self._cloud.of("AWS::SQS::Queue").values()
                if each.made.attributes["Arn"] == queue
            )
            self._world.asked(function, "sqs", "SendMessage", {"QueueUrl": url})
            record = {
                "version": "1.0",
                "requestContext": {"functionArn": function.arn, "condition": "RetriesExhausted"},
                "requestPayload": invocation.event,
                "responsePayload": {"errorMessage": str(invocation.error)},
            }
            self._world.account.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(record))


def _floor(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def fires(schedule: Any, minute: datetime) -> bool:
    """Whether a schedule fires in that minute."""
    if schedule.schedule_expression == "rate(1 minute)":
        return True
    expression = _expression(schedule.schedule_expression, schedule.schedule_expression_timezone)
    fired: bool = expression.fires_in_the_minute_of(minute)
    return fired


@cache
def _expression(expression: str, timezone: str) -> Any:
    return Expression(SimpleNamespace(expression=expression, timezone=timezone))


def _input(schedule: Any, minute: datetime, account: str) -> Any:
    at = f"{minute:%Y-%m-%dT%H:%M:%SZ}"
    if given := schedule.target.get("Input"):
        known = {"scheduled-time": at, "schedule-arn": schedule.arn, "execution-id": str(uuid.uuid4())}
        for name, value in known.items():
            given = given.replace(f"<aws.scheduler.{name}>", value)
        return json.loads(given)
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": account,
        "time": at,
        "region": REGION,
        "resources": [schedule.arn],
        "detail": "{}",
    }


@dataclass
class Source:
    """An event source mapping: which queue's messages go to which function, and how."""

    queue: str
    url: str
    function: Function
    batch: int
    reports: bool
    most: int | None


@dataclass
class Delivery:
    """A batch on its way through a function."""

    mapping: Source
    messages: list[dict[str, Any]]
    invocation: Invocation
    again: bool = field(default=False)
    """Whether it came before, and its messages are deleted already."""


class Pollers:
    """Lambda's pollers: batches of what is visible go to the functions; what these handled is deleted."""

    def __init__(self, cloud: Cloud, world: Lambda, functions: Mapping[str, Function]) -> None:
        self._cloud = cloud
        self._world = world
        self._functions = functions
        self.under: list[Delivery] = []
        """What is under way: its function waits for something."""
        self.disorder: Random | None = None
        """With it, messages that are there at the same time come in any order."""
        self.twice = False
        """Whether every batch comes twice, as may happen with at-least-once delivery."""
        self.delivered: list[tuple[str, Any]] = []
        """Function and event of each delivery."""

    def mappings(self) -> list[Source]:
        """As the template says."""
        urls = {each.made.attributes["Arn"]: each.made.ref for each in self._cloud.of("AWS::SQS::Queue").values()}
        return [
            Source(
                queue=said["EventSourceArn"],
                url=urls[said["EventSourceArn"]],
                function=self._named(said["FunctionName"]),
                batch=said["BatchSize"],
                reports="ReportBatchItemFailures" in said.get("FunctionResponseTypes", []),
                most=said.get("ScalingConfig", {}).get("MaximumConcurrency"),
            )
            for said in (each.properties for each in self._cloud.of("AWS::Lambda::EventSourceMapping").values())
        ]

    def _named(self, name: str) -> Function:
        return next(function for function in self._functions.values() if name in (function.name, function.arn))

    def next_message(self) -> datetime | None:
        """When the next message can be received."""
        moments = [
            self._world.account.next_message(mapping.queue) for mapping in self.mappings() if self._free(mapping)
        ]
        return min((moment for moment in moments if moment), default=None)

    def poll(self, *only: str) -> int:
        """Deliver everything that is there now, and what that brings, to all functions or only these.

        Returns how many rounds that took.
        """
        rounds = 0
        mappings = [mapping for mapping in self.mappings() if not only or mapping.function.name in only]
        while sum(self._poll(mapping) for mapping in mappings):
            rounds += 1
            assert rounds < MOST_ROUNDS, "messages are sent round and round"
        return rounds

    def _poll(self, mapping: Source) -> int:
        batches: list[list[dict[str, Any]]] = []
        while self._free(mapping, len(batches)) and (messages := self._receive(mapping)):
            batches.append(messages)
            if self.disorder is None:
                break
        if self.disorder is not None:
            several = [message for batch in batches for message in batch]
            self.disorder.shuffle(several)
            batches = [several[start : start + mapping.batch] for start in range(0, len(several), mapping.batch)]
        for messages in batches:
            self._deliver(mapping, messages)
        return len(batches)

    def _free(self, mapping: Source, more: int = 0) -> bool:
        under = sum(1 for delivery in self.under if delivery.mapping.queue == mapping.queue)
        return mapping.most is None or under + more < mapping.most

    def _receive(self, mapping: Source) -> list[dict[str, Any]]:
        due = self._world.account.next_message(mapping.queue)
        if due is None or due > self._world.account.clock.at:
            return []
        self._world.asked(mapping.function, "sqs", "ReceiveMessage", {"QueueUrl": mapping.url})
        answer = self._world.account.client("sqs").receive_message(
            QueueUrl=mapping.url,
            MaxNumberOfMessages=mapping.batch,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def _deliver(self, mapping: Source, messages: list[dict[str, Any]]) -> None:
        event = {"Records": [_record(mapping, message) for message in messages]}
        chain = Counter[str]()
        for message in messages:
            chain |= self._world.chains.get(message["MessageId"], Counter())
        for again in (False, True) if self.twice else (False,):
            self.delivered.append((mapping.function.name, event))
            self.under.append(Delivery(mapping, messages, mapping.function.begin(event, chain), again))
            self.reap()

    def reap(self) -> None:
        """Delete what the functions that are done have handled."""
        for delivery in [each for each in self.under if each.invocation.done]:
            self.under.remove(delivery)
            if delivery.again or delivery.invocation.error is not None:
                continue
            failed = self._failed(delivery)
            sqs = self._world.account.client("sqs")
            for message in delivery.messages:
                if message["MessageId"] not in failed:
                    self._world.asked(
                        delivery.mapping.function, "sqs", "DeleteMessage", {"QueueUrl": delivery.mapping.url}
                    )
                    sqs.delete_message(QueueUrl=delivery.mapping.url, ReceiptHandle=message["ReceiptHandle"])

    @staticmethod
    def _failed(delivery: Delivery) -> set[str]:
        """Which messages come again; all, where the function's report is not what Lambda expects."""
        if not delivery.mapping.reports:
            return set()
        report = delivery.invocation.result or {}
        ids = {failure.get("itemIdentifier") for failure in report.get("batchItemFailures") or []}
        known = {message["MessageId"] for message in delivery.messages}
        return known if ids - known else ids


def _record(mapping: Source, message: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": mapping.queue,
        "awsRegion": REGION,
    }
