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
from datetime import datetime
from urllib.parse import unquote_plus

from pydantic import JsonValue, ValidationError

from overnight.errors import Invalid
from overnight.executions import Event

__all__ = ["OWN_SOURCE", "parse", "unwrap"]

OWN_SOURCE = "overnight"
"""The `source` of lifecycle events on an EventBridge bus; their `detail` is the event as a whole, depth and all."""

DEEPEST = 4
"""How many envelopes may be around one another: a list of SNS notifications of EventBridge events of lists."""

_NO_NAME = re.compile(r"[^A-Za-z0-9_.:/-]+")
_NOT_OURS = (
    'is no event; send {"name": …, "id": …, "data": …}, a list of these, or what EventBridge, S3 or SNS put around it'
)


def parse(text: str | bytes) -> JsonValue:
    """What a message says in JSON. Raises Invalid."""
    try:
        value: JsonValue = json.loads(text, parse_constant=_refuse)
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
    match message:
        case list():
            for number, each in enumerate(message):
                try:
                    yield from _events(each, f"{id_}:{number}", now, depth - 1)
                except Invalid as error:
                    raise Invalid([problem.under(str(number)) for problem in error.problems]) from error
        case {"detail-type": str(kind), "source": str(source), "detail": detail}:
            yield _of_eventbridge(kind, source, detail, str(message.get("id") or id_), now)
        case {"Type": str(kind), "TopicArn": str(topic)}:
            if kind == "Notification":
                yield from _of_sns(message, topic, id_, now, depth)
        case {"Service": "Amazon S3", "Event": "s3:TestEvent"}:
            return
        case {"Records": [*records]} if records:
            for number, record in enumerate(records):
                yield from _of_record(record, f"{id_}:{number}", now, depth)
        case {"name": _}:
            yield _own(message, id_, now)
        case _:
            raise Invalid.field("body", _NOT_OURS)


def _of_record(record: JsonValue, id_: str, now: datetime, depth: int) -> Iterator[Event]:
    match record:
        case {"eventSource": "aws:s3", "eventName": str(name), "s3": {"bucket": {"name": str(bucket)}, "object": _}}:
            yield _of_s3(record, name, bucket, now)
        case {"EventSource": "aws:sns", "Sns": {"TopicArn": str(topic)} as notification}:
            yield from _of_sns(notification, topic, id_, now, depth)
        case _:
            raise Invalid.field("Records", "are of no service that is known here; S3 and SNS are")


def _own(message: dict[str, JsonValue], id_: str, now: datetime) -> Event:
    if others := sorted(message.keys() - {"name", "id", "data"}):
        raise Invalid.field(others[0], "is not part of an event, which is name, id and data")
    given = message.get("id")
    return _event({"id": id_ if given is None else given, "name": message["name"], "data": message.get("data")}, now)


def _of_eventbridge(kind: str, source: str, detail: JsonValue, id_: str, now: datetime) -> Event:
    if source == OWN_SOURCE and isinstance(detail, dict):
        return _event(detail, now)
    name = _NO_NAME.sub("-", kind).strip("-")
    return _event({"id": id_, "name": f"{source}.{name}" if source.startswith("aws.") else name, "data": detail}, now)


def _of_s3(record: dict[str, JsonValue], name: str, bucket: str, now: datetime) -> Event:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html"""
    s3 = record["s3"]
    stored = s3["object"] if isinstance(s3, dict) else None
    if not isinstance(stored, dict) or not isinstance(key := stored.get("key"), str):
        raise Invalid.field("Records", "lack the key of the object")
    identity = [bucket, key, stored.get("versionId"), stored.get("sequencer"), name, record.get("eventTime")]
    id_ = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    # The key is encoded as in a form; this is the name under which it is known in AWS's own libraries.
    data = record | {"s3": {**(s3 if isinstance(s3, dict) else {}), "object": stored | {"urlDecodedKey": _plain(key)}}}
    return _event({"id": id_, "name": f"s3.{name.removeprefix('s3:').replace(':', '.')}", "data": data}, now)


def _of_sns(message: dict[str, JsonValue], topic: str, id_: str, now: datetime, depth: int) -> Iterator[Event]:
    """https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html"""
    id_ = str(message.get("MessageId") or id_)
    text = message.get("Message")
    inner: JsonValue = text
    if isinstance(text, str):
        try:
            inner = parse(text)
        except Invalid:
            inner = text
    if _is_known(inner):
        yield from _events(inner, id_, now, depth - 1)
    else:
        yield _event({"id": id_, "name": f"sns.{topic.rpartition(':')[2]}", "data": inner}, now)


def _is_known(value: JsonValue) -> bool:
    """Whether it looks like an envelope, or an event of ours."""
    if not isinstance(value, dict):
        return False
    known = ({"detail-type", "source", "detail"}, {"Type", "TopicArn"}, {"Service", "Event"}, {"Records"})
    return any(keys <= value.keys() for keys in known) or {"name"} <= value.keys() <= {"name", "id", "data"}


def _event(fields: dict[str, JsonValue], now: datetime) -> Event:
    try:
        return Event.model_validate({"at": now} | fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise Invalid.field(".".join(map(str, first["loc"])), first["msg"]) from error


def _plain(key: str) -> str:
    return unquote_plus(key)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")
