"""A stack on moto: its resources, its functions' environment, and a clock that stands still until it is moved."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support import aws
from tests.support.meter import Meter

from overnight.agents import Agent, AgentDocument
from overnight.aws.clients import Clients
from overnight.aws.engine import Engine
from overnight.aws.wiring import open_engine, open_runner
from overnight.core import lifecycle
from overnight.executions import Message


class Invocation:
    """A Lambda invocation that has so many seconds left."""

    def __init__(self, seconds: float = 900, request_id: str = "request-1") -> None:
        self.seconds = seconds
        self.aws_request_id = request_id

    def get_remaining_time_in_millis(self) -> int:
        return round(self.seconds * 1_000)


class Stack:
    """The resources, and what the tests do with them again and again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.at = datetime(2026, 3, 2, 8, tzinfo=UTC)
        self.queues = {kind: aws.make_queue(f"{name}-{kind}") for kind in ("run", "retry", "fire", "events", "dead")}
        self.environ = {
            "OVERNIGHT_STACK": name,
            "OVERNIGHT_TABLE": aws.make_table(name),
            "OVERNIGHT_BUCKET": name,
            "OVERNIGHT_BUS": name,
            "OVERNIGHT_RUN_QUEUE": self.queues["run"],
            "OVERNIGHT_RETRY_QUEUE": self.queues["retry"],
            "OVERNIGHT_FIRE_QUEUE": self.queues["fire"],
            "OVERNIGHT_DEAD_LETTERS": self.queues["dead"],
            "OVERNIGHT_SCHEDULE_GROUP": name,
            "OVERNIGHT_TICK_ARN": f"arn:aws:lambda:{aws.REGION}:123456789012:function:{name}-tick",
            "OVERNIGHT_SCHEDULER_ROLE_ARN": f"arn:aws:iam::123456789012:role/{name}-scheduler",
            "OVERNIGHT_PACKAGES": "tests",
        }
        aws.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": aws.REGION})
        aws.client("s3").put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        aws.client("events").create_event_bus(Name=name)
        aws.client("scheduler").create_schedule_group(Name=name)
        self.ended: list[int] = []
        self.meter = Meter(aws.client)
        """Counts what engines call, and what that costs."""

    @property
    def clients(self) -> Clients:
        return Clients(self.meter.client)

    def now(self) -> datetime:
        return self.at

    def pass_(self, **duration: float) -> None:
        self.at += timedelta(**duration)

    def open(self) -> Engine:
        """A light function that starts cold."""
        return open_engine(self.environ, clients=self.clients, now=self.now)

    def open_runner(self) -> Engine:
        """The runner that starts cold."""
        return open_runner(self.environ, clients=self.clients, now=self.now, end=self.ended.append)

    def agent(self, name: str = "agent", **fields: Any) -> Agent:
        """Create an agent, active, of a Python flow."""
        given = {"name": name, "flow": {"python": "tests.support.lambdas:hello"}, "enabled": True} | fields
        return lifecycle.create(self.open().ports, AgentDocument.model_validate(given))[0]

    def schedules(self) -> list[dict[str, Any]]:
        """What EventBridge Scheduler has in the stack's group."""
        scheduler = aws.client("scheduler")
        names = [one["Name"] for one in scheduler.list_schedules(GroupName=self.name)["Schedules"]]
        return [scheduler.get_schedule(GroupName=self.name, Name=name) for name in sorted(names)]

    def bodies(self, kind: str) -> list[str]:
        """Take what is visible in a queue, and delete it."""
        sqs, url, bodies = aws.client("sqs"), self.queues[kind], []
        while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            for message in found:
                bodies.append(message["Body"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    def messages(self, kind: str = "run") -> list[Message]:
        """The same as messages."""
        return [Message.model_validate_json(body) for body in self.bodies(kind)]


@pytest.fixture
def stack() -> Iterator[Stack]:
    made = Stack(aws.fresh("stack"))
    with aws.moto_time(made.now):
        yield made


@pytest.fixture
def invocation() -> Invocation:
    return Invocation()
