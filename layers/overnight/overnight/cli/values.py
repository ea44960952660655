"""Values on the command line: JSON, `NAME=VALUE` pairs, files that hold JSON."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from overnight.cli.failure import Failure, Misuse

__all__ = ["assigned", "interval", "json_file", "json_value", "named", "text_of"]


def json_value(text: str | None, option: str) -> Any:
    """JSON given as an option; `@path` reads it from a file. Raises Misuse, naming the option."""
    if text is None:
        return None
    if text.startswith("@"):
        return json_file(Path(text[1:]))
    try:
        return json.loads(text)
    except ValueError as error:
        raise Misuse(f"{option}: {_where(error)}; quote it for the shell, such as '{{\"key\": 1}}'") from error


def json_file(path: Path) -> Any:
    """The JSON in a file. Raises Failure, naming the file."""
    try:
        return json.loads(text_of(path))
    except ValueError as error:
        raise Failure(f"{path}: {_where(error)}") from error


def text_of(path: Path) -> str:
    """The text of a file, UTF-8. Raises Failure, naming the file."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Failure(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise Failure(f"{path}: not UTF-8 text") from error


def named(pairs: Iterable[str], option: str) -> dict[str, str]:
    """`NAME=VALUE` pairs as a mapping. Raises Misuse, naming the option."""
    values: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise Misuse(f"{option}: {pair!r} is not NAME=VALUE")
        values[name] = value
    return values


def _where(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    return f"not JSON: {error}"


def assigned(pairs: Iterable[str], option: str) -> dict[str, Any]:
    """`a.b=VALUE` pairs as nested fields; a value is JSON, or else text. Raises Misuse, naming the option."""
    fields: dict[str, Any] = {}
    for path, text in named(pairs, option).items():
        *parents, last = path.split(".")
        inner = fields
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise Misuse(f"{option}: {path} contradicts {parent}")
        try:
            inner[last] = json.loads(text)
        except ValueError:
            inner[last] = text
    return fields


def interval(text: str | None, option: str) -> dict[str, int] | None:
    """`days=1,hours=12` as an interval's parts. Raises Misuse, naming the option."""
    if text is None:
        return None
    parts: dict[str, int] = {}
    for unit, amount in named(text.replace(",", " ").split(), option).items():
        if not amount.isdecimal():
            raise Misuse(f"{option}: {unit}={amount} is no whole number; write hours=1 or days=1,hours=12")
        parts[unit] = int(amount)
    return parts
