"""AWS on moto, in this process, as far as the adapters' tests need it; each folder or name is an account of its own.

moto stores and checks conditions, but lets threads write between the two; validates little; knows no time but the
machine's, and never deletes what has a time to live. What is missing is put right here.
"""

import itertools
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from typing import Any

import boto3
import moto.s3.models
import moto.sqs.models
import pytest
from moto import mock_aws

from overnight.aws.dynamodb import DynamoStore, Table, schema
from overnight.aws.dynamodb.gates import LookAt
from overnight.executions import Execution, Message
from overnight.ports import Admitted

__all__ = [
    "REGION",
    "Calls",
    "Fresh",
    "Sending",
    "client",
    "delete",
    "fresh",
    "make_queue",
    "make_table",
    "moto_time",
    "open_store",
    "time_to_live",
]

REGION = "eu-central-1"

_one_at_a_time = threading.RLock()


@cache
def _started() -> Any:
    """moto, until the process ends: what an account keeps outlives the engine that is closed."""
    mock = mock_aws()
    mock.start(reset=False)
    return mock


@cache
def client(service: str) -> Any:
    """A client of that service, on moto."""
    _started()
    with warnings.catch_warnings(action="ignore"):
        made = boto3.client(service, region_name=REGION, aws_access_key_id="testing", aws_secret_access_key="testing")
    call = made._make_api_call

    def alone(operation: str, request: dict[str, Any]) -> Any:
        with _one_at_a_time:
            return call(operation, request)

    made._make_api_call = alone
    return made


def make_table(name: str) -> str:
    """The table as `schema` draws it, if it isn't there yet; its name."""
    dynamodb = client("dynamodb")
    with suppress(dynamodb.exceptions.ResourceNotFoundException):
        dynamodb.describe_table(TableName=name)
        return name
    attributes = {schema.PK, schema.SK, *(key for index in schema.INDEXES for key in (index.pk, index.sk))}
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in sorted(attributes)],
        KeySchema=_keys(schema.PK, schema.SK),
        GlobalSecondaryIndexes=[
            {
                "IndexName": index.name,
                "KeySchema": _keys(index.pk, index.sk),
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
            for index in schema.INDEXES
        ],
    )
    return name


def _keys(pk: str, sk: str) -> list[dict[str, str]]:
    return [{"AttributeName": pk, "KeyType": "HASH"}, {"AttributeName": sk, "KeyType": "RANGE"}]


_numbers = itertools.count(1)


def fresh(prefix: str) -> str:
    """A name that was not there yet."""
    return f"{prefix}-{next(_numbers)}"


def delete(table: str, pk: str, sk: str) -> None:
    """Delete an item behind the store's back."""
    client("dynamodb").delete_item(TableName=table, Key={schema.PK: {"S": pk}, schema.SK: {"S": sk}})


class Calls:
    """A client, with `after` called after each of its calls that leave something behind (`dynamodb.put_item`, …)."""

    _READ = ("get_", "batch_get_", "query", "list_", "describe_")

    def __init__(self, service: str) -> None:
        self._service = service
        self.after: Callable[[str], None] = lambda _: None

    def __getattr__(self, operation: str) -> Any:
        call = getattr(client(self._service), operation)
        if operation.startswith(self._READ):
            return call

        def write(**request: Any) -> Any:
            answer = call(**request)
            self.after(f"{self._service}.{operation}")
            return answer

        return write


def open_store(table: str, look_at: LookAt, now: Callable[[], datetime], connected: Any = None) -> DynamoStore:
    """The store in a table, as a process opens it that starts, by that client or one of its own."""
    connected = connected or client("dynamodb")
    return DynamoStore(Table(lambda: connected, table), look_at, now)


def make_queue(name: str, visibility_seconds: int = 30) -> str:
    """A standard queue, if it isn't there yet; its URL."""
    url: str = client("sqs").create_queue(QueueName=name, Attributes={"VisibilityTimeout": str(visibility_seconds)})[
        "QueueUrl"
    ]
    return url


@contextmanager
def moto_time(now: Callable[[], datetime]) -> Iterator[None]:
    """Let SQS and S3 go by that clock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moto.sqs.models, "unix_time", lambda _=None: now().timestamp())
        patch.setattr(moto.sqs.models, "unix_time_millis", lambda _=None: now().timestamp() * 1_000)
        patch.setattr(moto.s3.models, "utcnow", lambda: now().replace(tzinfo=None))
        yield


def time_to_live(table: str, now: datetime, limit: int, connected: Any = None) -> int:
    """Delete what has outlived its time, the longest first; how many executions and events that were."""
    dynamodb = connected or client("dynamodb")
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=table, FilterExpression="attribute_exists(#t)", ExpressionAttributeNames={"#t": schema.TTL}
    )
    items = [item for page in pages for item in page["Items"] if int(item[schema.TTL]["N"]) <= now.timestamp()]
    items.sort(key=lambda item: int(item[schema.TTL]["N"]))
    gone = 0
    for item in items:
        whole = item[schema.SK]["S"] in {"EXEC", "EVENT"}
        if whole and gone == limit:
            break
        gone += whole
        dynamodb.delete_item(TableName=table, Key={key: item[key] for key in (schema.PK, schema.SK)})
    return gone


class Sending:
    """A store whose callers have nothing to send: what a verb leaves unsent is sent here."""

    def __init__(self, store: Any, send: Callable[[tuple[Message, ...]], object]) -> None:
        self._store = store
        self._send = send

    def __getattr__(self, verb: str) -> Any:
        call = getattr(self._store, verb)
        if verb not in {"admit", "change_agent", "readmit", "revise", "transition"}:
            return call

        def and_send(*args: Any, **kwargs: Any) -> Any:
            result = call(*args, **kwargs)
            if result is None:
                return None
            if isinstance(result, Admitted):
                self._send(result.unsent)
                return result._replace(unsent=())
            self._send(result[-1])
            return (*result[:-1], ())

        return and_send


class Fresh:
    """A queue whose receiver drops what is stale, as the core does: attempts that have started, or can't any more."""

    def __init__(self, queue: Any, find: Callable[[str], Execution]) -> None:
        self._queue = queue
        self._find = find

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._queue, verb)

    def receive(self, limit: int, now: datetime) -> list[Message]:
        """Take up to `limit` messages that are due and not stale."""
        received = []
        for message in self._queue.receive(limit, now):
            execution = self._find(message.execution_id)
            if execution.status.terminal or execution.attempt >= message.attempt:
                self._queue.done(message)
            else:
                received.append(message)
        return received
