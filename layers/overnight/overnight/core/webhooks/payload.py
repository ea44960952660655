"""What of a delivery the flow gets: `{"headers": …, "query": …, "body": …}`."""

import json
from urllib.parse import parse_qsl

from pydantic import JsonValue

from overnight.core.webhooks.schemes import Delivery
from overnight.errors import Invalid, Problem
from overnight.webhooks import Signature, Webhook

__all__ = ["DEPTH", "payload"]

DEPTH = 100
"""How deeply a body may be nested; what is deeper could not be read back everywhere."""

PROBLEMS = 10
"""How much of what does not fit the schema is told."""

_ALWAYS = ("content-type", "user-agent")
_OF_SCHEME: dict[Signature, tuple[str, ...]] = {
    "standard-webhooks": ("webhook-id", "webhook-timestamp"),
    "github": ("x-github-delivery", "x-github-event"),
    "slack": ("x-slack-retry-num", "x-slack-retry-reason"),
}


def payload(webhook: Webhook, delivery: Delivery) -> dict[str, JsonValue]:
    """Headers that are told, query, and body.

    Raises Invalid when the body is not UTF-8, is called JSON and is none, or does not fit the trigger's schema.
    """
    body = _body(delivery)
    if webhook.payload_schema is not None:
        _check(webhook.payload_schema, body)
    told = (*_ALWAYS, *_OF_SCHEME.get(webhook.signature, ()), (webhook.id_header or "").lower(), *webhook.headers)
    return {
        "headers": {name: _clean(delivery.headers[name]) for name in told if name in delivery.headers},
        "query": {
            _clean(name): _clean(values[0]) if len(values) == 1 else [_clean(value) for value in values]
            for name, values in delivery.query.items()
            if name != webhook.query and values
        },
        "body": body,
    }


def _body(delivery: Delivery) -> JsonValue:
    """JSON where it can be read as an object or an array, or is called JSON; the fields of a form; else text."""
    try:
        text = delivery.body.decode()
    except UnicodeDecodeError as error:
        raise Invalid.field("body", "must be UTF-8 text") from error
    if not text.strip():
        return None
    media_type = delivery.header("content-type").partition(";")[0].strip().lower()
    called_json = media_type == "application/json" or media_type.endswith("+json")
    try:
        value = _json(text)
    except Invalid:
        if called_json:
            raise
    else:
        if called_json or isinstance(value, dict | list):
            return value
    if media_type == "application/x-www-form-urlencoded":
        return _form(text)
    return text


def _json(text: str) -> JsonValue:
    """What the text says in JSON that every store can keep: no NaN, no infinity, no half of a surrogate pair."""
    try:
        value: JsonValue = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        message = f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        raise Invalid.field("body", message) from error
    except UnicodeEncodeError as error:
        raise Invalid.field("body", "has half of a surrogate pair, which is no text") from error
    except RecursionError as error:
        raise Invalid.field("body", f"is nested more than {DEPTH} levels deep") from error
    except ValueError as error:
        raise Invalid.field("body", f"is not JSON that can be kept: {error}") from error
    if _deeper(value, DEPTH):
        raise Invalid.field("body", f"is nested more than {DEPTH} levels deep")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _deeper(value: JsonValue, levels: int) -> bool:
    """Whether objects and arrays stand in one another more than so many levels deep."""
    parts = [value]
    while layer := [part for part in parts if isinstance(part, dict | list)]:
        if levels == 0:
            return True
        levels -= 1
        parts = [part for whole in layer for part in (whole.values() if isinstance(whole, dict) else whole)]
    return False


def _form(text: str) -> JsonValue:
    """A form's fields; one that comes repeatedly is a list. What is no form at all stays text."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=1_000, errors="strict")
    except ValueError:
        return text
    fields: dict[str, list[JsonValue]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}


def _clean(text: str) -> str:
    """Text that every store can keep."""
    return text.encode("utf-8", "replace").decode()


def _check(schema: dict[str, JsonValue], body: JsonValue) -> None:
    """Raises Invalid, naming where the body does not fit."""
    from jsonschema.validators import Draft202012Validator, validator_for  # noqa: PLC0415 - slow to import, seldom used
    from referencing import Registry  # noqa: PLC0415

    # An empty registry: nothing is ever fetched.
    validator = validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())
    problems = []
    try:
        for error in validator.iter_errors(body):
            where = ".".join(("body", *map(str, error.absolute_path)))
            problems.append(Problem(where, error.message if len(error.message) <= 200 else f"{error.message[:199]}…"))  # noqa: PLR2004
            if len(problems) == PROBLEMS:
                break
    except RecursionError as error:
        raise Invalid.field("body", "can't be checked: the trigger's schema refers to itself without end") from error
    if problems:
        raise Invalid(problems)
