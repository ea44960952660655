"""How values stand in items: instants that sort, JSON that is packed when it is long, and DynamoDB's own notation."""

import itertools
import time
import zlib
from datetime import UTC, datetime
from math import ceil
from typing import Any

__all__ = ["Item", "Value", "epoch", "instant", "marshalled", "packed", "place", "stamp", "unmarshalled", "unpacked"]

Value = str | int | bool | bytes
Item = dict[str, Value]
"""An item, or some of its attributes."""

PACKED_BYTES = 1_024
"""Longer text is compressed: a write unit is a kilobyte, and a long line of ids shrinks to less than half."""

_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


def stamp(moment: datetime) -> str:
    """An instant as text of fixed width, so that it sorts: RFC 3339 in UTC with microseconds."""
    return moment.astimezone(UTC).strftime(_FORMAT)


def instant(text: str) -> datetime:
    """The instant at the beginning of a text."""
    return datetime.strptime(text[:27], _FORMAT).replace(tzinfo=UTC)


_nanoseconds = itertools.count(time.time_ns())


def place(moment: datetime) -> str:
    """A place in order of time that nobody else has: the instant, and what tells it from others of the same one."""
    return f"{stamp(moment)}#{max(next(_nanoseconds), 0):016x}"


def epoch(moment: datetime) -> int:
    """Whole Unix seconds, not before that moment; what DynamoDB's time to live is in."""
    return ceil(moment.timestamp())


def packed(text: str) -> str | bytes:
    """Text as it is stored."""
    return zlib.compress(text.encode()) if len(text) > PACKED_BYTES else text


def unpacked(value: Value) -> str:
    """The text again."""
    return zlib.decompress(value).decode() if isinstance(value, bytes) else str(value)


def marshalled(item: Item) -> dict[str, Any]:
    """An item in DynamoDB's notation."""
    return {name: _marshalled(value) for name, value in item.items()}


def _marshalled(value: Value) -> dict[str, Any]:
    match value:
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case bytes():
            return {"B": value}
        case _:
            return {"S": value}


def unmarshalled(item: dict[str, Any]) -> Item:
    """An item out of DynamoDB's notation."""
    return {name: _unmarshalled(value) for name, value in item.items()}


def _unmarshalled(value: dict[str, Any]) -> Value:
    ((kind, content),) = value.items()
    match kind:
        case "N":
            return int(content)
        case "B":
            return bytes(content)
        case _:
            plain: str | bool = content
            return plain
