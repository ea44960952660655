"""What is set on a flow's nodes for one run: the agent's tweaks, checked, and the firing for trigger nodes.

lfx ignores a tweak that fits no node or field; here it is an error, found before anything runs.
"""

import difflib
import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from overnight.flows.call import JSON, Call, FiringContext
from overnight.flows.document import FlowDocument, Node
from overnight.flows.inspect import (
    EVENT_FIELD,
    INBOUND_WEBHOOK,
    SCHEDULE,
    WEBHOOK,
    global_variable,
    showable,
    trigger_name,
)

Tweaks = dict[str, JSON]

MISSED_TICKS = 100
"""How many missed ticks a trigger node is told at most, as in Langflow; the newest."""

_EVERYWHERE = frozenset({"stream"})
_ESCAPED = re.compile(r"\\.")
_UNICODE = {r"\n": r"\u000a", r"\\": r"\u005c"}
_NAMESPACE = uuid.UUID("b3f1c9de-4d4f-5c7e-9a51-6f0c8a2e7d10")


class TweakError(ValueError):
    """A tweak that fits nothing in the flow; the message names it."""


class MissingVariableError(ValueError):
    """The flow reads global variables that the agent does not set; `variables` are those that look like names."""

    def __init__(self, message: str, variables: tuple[str, ...]) -> None:
        super().__init__(message)
        self.variables = variables


def checked(flow: FlowDocument, tweaks: Mapping[str, JSON]) -> Tweaks:
    """The tweaks, each of which fits: a node by id or by display name, or a field that some node has.

    Raises TweakError.
    """
    for key, value in tweaks.items():
        if isinstance(value, Mapping):
            node = _addressed(flow, key)
            for field in value:
                _check_field(node, field)
        elif key not in _EVERYWHERE and not any(key in node.fields for node in _top(flow)):
            msg = f"The tweak {key!r} is neither a node of the flow nor a field of any of its nodes."
            raise TweakError(msg)
        elif key == "code":
            _refuse_code("code")
    return dict(tweaks)


def check_variables(flow: FlowDocument, tweaks: Mapping[str, JSON], variables: Iterable[str]) -> None:
    """Every global variable that the flow reads must be set, unless a tweak replaces the field that reads it.

    Raises MissingVariableError.
    """
    given = frozenset(variables)
    missing: dict[str, str] = {}
    for node in flow:
        for name, field in node.fields.items():
            variable = global_variable(field)
            if variable is not None and variable not in given and not _tweaked(node, name, tweaks):
                missing.setdefault(variable, f"{node.label}, field {name}")
    if missing:
        names = ", ".join(f"{showable(variable)} ({where})" for variable, where in missing.items())
        msg = f"The flow reads variables that are not set: {names}."
        raise MissingVariableError(msg, tuple(variable for variable in missing if showable(variable) == variable))


def of_firing(flow: FlowDocument, call: Call) -> Tweaks:
    """What the trigger nodes are told of the firing; nothing for a manual one.

    A trigger that a node declares reaches this node alone; any other reaches every node of its kind.
    """
    firing = call.firing
    nodes = [node for node in _top(flow) if node.type in _told(firing)]
    own = [node for node in nodes if firing.trigger == trigger_name(node.id)]
    return {node.id: _event(node, call) for node in own or nodes}


def merged(tweaks: Tweaks, firing: Tweaks) -> Tweaks:
    """Both; the firing wins in the fields that are its own."""
    result = dict(tweaks)
    for node, fields in firing.items():
        known = result.get(node)
        result[node] = {
            **(known if isinstance(known, Mapping) else {}),
            **(fields if isinstance(fields, Mapping) else {}),
        }
    return result


def _top(flow: FlowDocument) -> Iterator[Node]:
    return (node for node in flow if node.group is None)


def _addressed(flow: FlowDocument, key: str) -> Node:
    nodes = list(_top(flow))
    for node in nodes:
        if node.id == key:
            return node
    named = [node for node in nodes if node.display_name == key]
    if len(named) > 1:
        msg = f"The tweak {key!r} fits several nodes: say which, by id: {', '.join(node.id for node in named)}."
        raise TweakError(msg)
    if not named:
        known = [node.id for node in nodes] + [node.display_name for node in nodes]
        msg = f"The tweak {key!r} names a node that the flow does not have.{_closest(key, known)}"
        raise TweakError(msg)
    return named[0]


def _check_field(node: Node, field: str) -> None:
    if field == "code":
        _refuse_code(f"code of {node.label}")
    if field not in node.fields:
        close = _closest(field, node.fields)
        msg = f"The tweak of {node.label} names the field {field!r}, which it does not have.{close}"
        raise TweakError(msg)


def _refuse_code(what: str) -> None:
    msg = f"A tweak must not replace the {what}: edit the flow in Langflow, and apply it again."
    raise TweakError(msg)


def _closest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, [name for name in known if name], n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def _tweaked(node: Node, field: str, tweaks: Mapping[str, JSON]) -> bool:
    own = [tweaks.get(key) for key in (node.id, node.display_name)]
    return field in tweaks or any(isinstance(fields, Mapping) and field in fields for fields in own)


def _told(firing: FiringContext) -> tuple[str, ...]:
    match firing.kind:
        case "schedule" | "backfill":
            return (SCHEDULE,)
        case "webhook":
            return (INBOUND_WEBHOOK, WEBHOOK)
        case _:
            return ()


def _event(node: Node, call: Call) -> dict[str, JSON]:
    if node.type == WEBHOOK:
        return {"data": _posted(call.firing)}
    payload = _schedule_payload(node, call.firing) if node.type == SCHEDULE else _delivery_payload(call.firing)
    event = {
        "trigger_id": str(uuid.uuid5(_NAMESPACE, f"{call.agent_id}:{call.firing.trigger}")),
        "event_id": str(uuid.uuid5(_NAMESPACE, call.execution_id)),
        "kind": "schedule" if node.type == SCHEDULE else "inbound_webhook",
        "provider": None,
        "dedupe_key": _dedupe_key(node, call.firing),
        "attempt": call.attempt - 1,
        "payload": payload | ({"test": True} if call.firing.test else {}),
    }
    return {EVENT_FIELD: _json(event)}


def _dedupe_key(node: Node, firing: FiringContext) -> str:
    """The firing's own key, in the form that Langflow gives it."""
    if node.type == SCHEDULE and firing.nominal is not None:
        return f"tick:{_utc(firing.nominal)}"
    return f"ingress:webhook:{hashlib.sha256(firing.dedupe_key.encode()).hexdigest()[:32]}"


def _schedule_payload(node: Node, firing: FiringContext) -> dict[str, JSON]:
    payload: dict[str, JSON] = {
        "scheduled_at": None if firing.nominal is None else _utc(firing.nominal),
        "cron": firing.cron or node.value("cron_expression"),
        "timezone": firing.timezone or node.value("timezone"),
    }
    if firing.missed_ticks:
        payload["missed_ticks"] = [_utc(tick) for tick in firing.missed_ticks[-MISSED_TICKS:]]
    return payload


def _delivery_payload(firing: FiringContext) -> dict[str, JSON]:
    return {"provider": "webhook", "delivery": _body(firing)}


def _posted(firing: FiringContext) -> str:
    """What was posted, as JSON. The node takes objects only; anything else it is given as it wraps text: `payload`."""
    body = _body(firing)
    if body is None:
        return ""
    return _json(body if isinstance(body, Mapping) else {"payload": body})


def _json(value: JSON) -> str:
    """JSON without a backslash before an n: lfx makes a line's end of these two before the node reads it as JSON."""
    return _ESCAPED.sub(lambda pair: _UNICODE.get(pair[0], pair[0]), json.dumps(value))


def _body(firing: FiringContext) -> JSON:
    """What was posted, without the headers and the query that a delivery's payload has around it."""
    payload = firing.payload
    if isinstance(payload, Mapping) and payload.keys() == {"headers", "query", "body"}:
        body: JSON = payload["body"]
        return body
    return payload


def _utc(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat()
