"""JSON from what flows return: exact or refused, never silently something else."""

import dataclasses
import datetime as dt
import decimal
import enum
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from typing import Any

from overnight.flows.call import JSON

_MAX_DEPTH = 100


class NotJsonError(TypeError):
    """What a flow returned has no form in JSON; the message says where it stands and what it is."""


def as_json(value: object, *, path: str = "the result") -> JSON:
    """`value` as JSON: dataclasses, pydantic models, dates, UUIDs, decimals (as text), enums and sets are converted.

    Raises NotJsonError, also for NaN, infinity, a key that is not text, and what contains itself.
    """
    return _convert(value, path, 0)


def _convert(value: Any, path: str, depth: int) -> JSON:
    if depth > _MAX_DEPTH:
        msg = f"{path} is nested more than {_MAX_DEPTH} deep, or contains itself"
        raise NotJsonError(msg)
    converted: JSON
    match value:
        case enum.Enum():
            converted = _convert(value.value, path, depth + 1)
        case None | bool():
            converted = value
        case int():
            converted = int(value)
        case str():
            converted = str.__str__(value)  # a subclass might not be known where the result is read
        case float():
            converted = _number(value, path)
        case Mapping():
            converted = {_key(key, path): _convert(item, f"{path}[{key!r}]", depth + 1) for key, item in value.items()}
        case AbstractSet() | Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            converted = [_convert(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
        case _:
            converted = _convert(_as_plain(value, path), path, depth + 1)
    return converted


def _as_plain(value: Any, path: str) -> object:
    match value:
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case decimal.Decimal() | uuid.UUID() | PurePath():
            return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):
        return _dumped(dump, path)
    if callable(item := getattr(value, "tolist", None)):
        plain: object = item()
        return plain
    msg = f"{path} is a {type(value).__module__}.{type(value).__qualname__}, which has no form in JSON"
    raise NotJsonError(msg)


def _dumped(dump: Callable[..., object], path: str) -> object:
    try:
        return dump(mode="json")
    except (TypeError, ValueError) as error:
        msg = f"{path} has no form in JSON: {error}"
        raise NotJsonError(msg) from error


def _number(value: float, path: str) -> float:
    if not math.isfinite(value):
        msg = f"{path} is {value}, which has no form in JSON"
        raise NotJsonError(msg)
    return float(value)


def _key(key: object, path: str) -> str:
    if not isinstance(key, str):
        msg = f"{path} has the key {key!r}; in JSON a key is text"
        raise NotJsonError(msg)
    return key
