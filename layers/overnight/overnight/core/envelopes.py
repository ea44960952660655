"""Envelopes: the events in a message of a queue, or in a file, whoever put them there.

    {"name": …, "id": …, "data": …}             an event
    a list                                      of any of these
    EventBridge                                 `detail-type`; of an AWS service `aws.s3.Object-Created`
    S3 event notification                       `s3.ObjectCreated.Put`, one event a record
    SNS                                         what the message holds; what is none of these is `sns.<topic>`

The id is the sender's own where there is one, so that what is delivered twice is one event.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import TypeAlias
from urllib.parse import unquote_plus

from pydantic import JsonValue, ValidationError

from overnight.errors import Invalid, Problem
from overnight.executions import Event

__all__ = ["OWN_SOURCE", "parse", "unwrap"]

OWN_SOURCE = "overnight"
"""The `source` of lifecycle events on an EventBridge bus; their `detail` is the event as a whole, depth and all."""

DEEPEST = 4
"""How many envelopes may be around one another: a list of SNS notifications of EventBridge events of lists."""

Fields: TypeAlias = "dict[str, JsonValue]"

_EVENTBRIDGE = {"detail-type", "source", "detail"}
_SNS = {"Type", "TopicArn"}
_NO_NAME = re.compile(r"[^A-Za-z0-9_.:/-]+")
_NOT_OURS = (
    'is no event; send {"name": …, "id": …, "data": …}, a list of these, or what EventBridge, S3 or SNS put around it'
)


def parse(text: str | bytes) -> JsonValue:
    """What a message says in JSON. Raises Invalid."""
    try:
        value: JsonValue = json.loads(text, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise Invalid.field("body", "is nested too deeply") from error
    except ValueError as error:
        raise Invalid.field("body", f"is not JSON: {error}") from error
    return value


def unwrap(message: JsonValue, message_id: str, now: datetime) -> tuple[Event, ...]:
    """The events in a message; none in one that only tests or confirms a connection.

    Args:
        message: what was sent.
        message_id: the id of an event that has none of its own; the same each time the message is delivered.
        now: the time, UTC.

    Raises:
        Invalid: it is none of these, or an event in it has no proper name or id.
    """
    return tuple(_events(message, message_id, now, DEEPEST))


def _events(message: JsonValue, id_: str, now: datetime, depth: int) -> Iterator[Event]:
    if depth == 0:
        raise Invalid.field("body", "has too many envelopes around one another")
    if isinstance(message, list):
        for number, each in enumerate(message):
            try:
                yield from _events(each, f"{id_}:{number}", now, depth - 1)
            except Invalid as error:
                raise Invalid(
                    Problem(f"{number}.{problem.field}", problem.message) for problem in error.problems
                ) from error
    elif isinstance(message, dict):
        yield from _opened(message, id_, now, depth)
    else:
        raise Invalid.field("body", _NOT_OURS)


def _opened(message: Fields, id_: str, now: datetime, depth: int) -> Iterator[Event]:
    keys = message.keys()
    if keys >= _EVENTBRIDGE:
        yield _of_eventbridge(message, id_, now)
    elif keys >= _SNS:
        yield from _of_sns(message, id_, now, depth)
    elif isinstance(records := message.get("Records"), list):
        for number, record in enumerate(records):
            yield from _of_record(record, f"{id_}:{number}", now, depth)
    elif "name" in keys:
        yield _own(message, id_, now)
    elif message.get("Event") != "s3:TestEvent":
        raise Invalid.field("body", _NOT_OURS)


def _of_record(record: JsonValue, id_: str, now: datetime, depth: int) -> Iterator[Event]:
    fields = record if isinstance(record, dict) else {}
    notification = fields.get("Sns")
    if fields.get("eventSource") == "aws:s3":
        yield _of_s3(fields, now)
    elif isinstance(notification, dict):
        yield from _of_sns(notification, id_, now, depth)
    else:
        raise Invalid.field("Records", "are of no service that is known here; S3 and SNS are")


def _own(message: Fields, id_: str, now: datetime) -> Event:
    if others := sorted(message.keys() - {"name", "id", "data"}):
        raise Invalid.field(others[0], "is not part of an event, which is name, id and data")
    given = message.get("id")
    return _event({"id": id_ if given is None else given, "name": message["name"], "data": message.get("data")}, now)


def _of_eventbridge(message: Fields, id_: str, now: datetime) -> Event:
    source, detail = str(message["source"]), message["detail"]
    if source == OWN_SOURCE and isinstance(detail, dict):
        return _event(detail, now)
    name = _NO_NAME.sub("-", str(message["detail-type"])).strip("-")
    name = f"{source}.{name}" if source.startswith("aws.") else name
    return _event({"id": message.get("id") or id_, "name": name, "data": detail}, now)


def _of_s3(record: Fields, now: datetime) -> Event:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html"""
    s3 = _object(record.get("s3"))
    bucket, stored = _object(s3.get("bucket")).get("name"), _object(s3.get("object"))
    key, name = stored.get("key"), record.get("eventName")
    if not isinstance(key, str) or not isinstance(name, str):
        raise Invalid.field("Records", "lack the name of the event, or the key of the object")
    identity = [bucket, key, stored.get("versionId"), stored.get("sequencer"), name, record.get("eventTime")]
    id_ = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    # The key is encoded as in a form; AWS's own libraries call it so when it is not.
    plain: Fields = {**s3, "object": {**stored, "urlDecodedKey": unquote_plus(key)}}
    dotted = name.removeprefix("s3:").replace(":", ".")
    return _event({"id": id_, "name": f"s3.{dotted}", "data": {**record, "s3": plain}}, now)


def _of_sns(message: Fields, id_: str, now: datetime, depth: int) -> Iterator[Event]:
    """https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html"""
    if message.get("Type") != "Notification":
        return
    id_ = str(message.get("MessageId") or id_)
    content = message.get("Message")
    if isinstance(content, str):
        with suppress(Invalid):
            content = parse(content)
    if isinstance(content, dict) and _is_known(content):
        yield from _events(content, id_, now, depth - 1)
    else:
        topic = str(message["TopicArn"]).rpartition(":")[2]
        yield _event({"id": id_, "name": f"sns.{topic}", "data": content}, now)


def _is_known(message: Fields) -> bool:
    """Whether it is an envelope, or an event of ours."""
    keys = message.keys()
    if keys >= _EVENTBRIDGE or keys >= _SNS or message.get("Event") == "s3:TestEvent":
        return True
    return isinstance(message.get("Records"), list) or {"name"} <= keys <= {"name", "id", "data"}


def _object(value: JsonValue) -> Fields:
    return value if isinstance(value, dict) else {}


def _event(fields: Fields, now: datetime) -> Event:
    try:
        return Event.model_validate({"at": now} | fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise Invalid.field(".".join(map(str, first["loc"])), first["msg"]) from error


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")
