"""The JSON of a Langflow flow: read, checked and digested without lfx.

Langflow exports `{"name": …, "data": {"nodes": […], "edges": […]}}`; the bare `{"nodes": […], "edges": […]}` will do.
"""

import ast
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Raw = Mapping[str, Any]

_EXTENSION_TYPE = re.compile(r"ext:[^:]+:(?P<name>[^@]+)(@.*)?")


class FlowDocumentError(ValueError):
    """The flow's JSON is not a flow; the message names the node, edge or field that is wrong."""


@dataclass(frozen=True, slots=True)
class Node:
    """One component on the canvas: its id, its type, its name as shown, and its fields by name.

    `group` is the id of the group that holds it; tweaks reach a grouped node only through its group.
    """

    id: str
    type: str
    display_name: str
    fields: Mapping[str, Raw]
    code: str | None
    group: str | None = None

    def value(self, field: str) -> Any:
        """What the canvas holds for `field`; None where it has no such field."""
        return self.fields.get(field, {}).get("value")

    @property
    def label(self) -> str:
        """How a message names the node: as the canvas shows it, with its id."""
        return f"{self.display_name} ({self.id})" if self.display_name else self.id


@dataclass(frozen=True, slots=True)
class FlowDocument:
    """A flow that can be loaded: every node has an id and fields, every edge joins two nodes of the flow."""

    name: str | None
    data: Raw
    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]

    def __iter__(self) -> Iterator[Node]:
        """The nodes, in the order of the canvas; nodes inside a group follow their group."""
        return iter(self.nodes)


def parse(document: str | bytes | Raw) -> FlowDocument:
    """Read a flow; what is given as text is parsed anew, so the caller owns the result.

    Raises FlowDocumentError.
    """
    flow = _load(document)
    data = _data_of(flow)
    top = [node for raw in _list(data, "nodes") for node in _nodes(raw)]
    ids = [node.id for node in top]
    for duplicate in sorted({i for i in ids if ids.count(i) > 1}):
        msg = f"Two nodes have the id {duplicate!r}."
        raise FlowDocumentError(msg)
    name = flow.get("name")
    return FlowDocument(
        name=name if isinstance(name, str) else None,
        data=data,
        nodes=tuple(top),
        edges=tuple(_edge(raw, known=_ids(data)) for raw in _list(data, "edges")),
    )


def validate(document: str | bytes | Raw) -> FlowDocument:
    """Like `parse`, and the code of every component must be Python that compiles.

    Raises FlowDocumentError.
    """
    flow = parse(document)
    for node in flow:
        if node.code is None:
            continue
        try:
            ast.parse(node.code)
        except SyntaxError as error:
            msg = f"The code of {node.label} has a syntax error in line {error.lineno}: {error.msg}."
            raise FlowDocumentError(msg) from error
    return flow


def digest(document: str | bytes | Raw) -> str:
    """SHA-256, in lower hex, of the flow as canonical JSON: key order and white space do not matter.

    Raises FlowDocumentError.
    """
    canonical = json.dumps(_load(document), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def _load(document: str | bytes | Raw) -> Raw:
    if isinstance(document, Mapping):
        return document
    try:
        flow = json.loads(document)
    except (ValueError, RecursionError) as error:
        msg = f"A flow is a JSON file, as Langflow exports it; this is not JSON: {error}"
        raise FlowDocumentError(msg) from error
    if not isinstance(flow, dict):
        msg = f"A flow is a JSON object, as Langflow exports it; this is a JSON {_json_type(flow)}."
        raise FlowDocumentError(msg)
    return flow


def _data_of(flow: Raw) -> Raw:
    if isinstance(flow.get("flows"), list):
        msg = "This file holds several flows. Export the one to run by itself."
        raise FlowDocumentError(msg)
    data = flow.get("data", flow if "nodes" in flow else None)
    if not isinstance(data, Mapping):
        msg = 'The flow has no "data" with "nodes" and "edges". Export it from Langflow: Share, Export.'
        raise FlowDocumentError(msg)
    return data


def _list(data: Raw, key: str) -> Sequence[Any]:
    value = data.get(key, [] if key == "edges" else None)
    if not isinstance(value, list):
        msg = f'The flow\'s "{key}" must be a list, not {_json_type(value)}.'
        raise FlowDocumentError(msg)
    return value


def _nodes(raw: Any, group: str | None = None) -> Iterator[Node]:
    if not isinstance(raw, Mapping) or not isinstance(raw.get("id"), str) or not raw["id"]:
        msg = 'Every node of the flow must be an object with an "id".'
        raise FlowDocumentError(msg)
    if _is_note(raw):
        return
    data = raw.get("data")
    component = data.get("node") if isinstance(data, Mapping) else None
    template = component.get("template") if isinstance(component, Mapping) else None
    kind = data.get("type") if isinstance(data, Mapping) else None
    if not isinstance(component, Mapping) or not isinstance(template, Mapping) or not isinstance(kind, str):
        msg = f'Node {raw["id"]!r} lacks "data.type" or "data.node.template": it is not a component of Langflow.'
        raise FlowDocumentError(msg)
    fields = {name: field for name, field in template.items() if isinstance(field, Mapping)}
    yield Node(
        id=raw["id"],
        type=_plain_type(kind),
        display_name=str(component.get("display_name") or ""),
        fields=fields,
        code=_code(fields),
        group=group,
    )
    inside = component.get("flow")
    if isinstance(inside, Mapping) and isinstance(inside.get("data"), Mapping):
        for inner in _list(inside["data"], "nodes"):
            yield from _nodes(inner, group=raw["id"])


def _is_note(raw: Raw) -> bool:
    data = raw.get("data")
    return raw.get("type") == "noteNode" or (isinstance(data, Mapping) and data.get("type") == "note")


def _ids(data: Raw) -> frozenset[str]:
    return frozenset(raw["id"] for raw in _list(data, "nodes"))


def _plain_type(kind: str) -> str:
    """The type without the `ext:<bundle>:<Class>@official` around it."""
    extension = _EXTENSION_TYPE.fullmatch(kind)
    return extension["name"].removesuffix("Component") if extension else kind


def _code(fields: Mapping[str, Raw]) -> str | None:
    """The component's Python; newer exports hold it as a list of lines."""
    value = fields.get("code", {}).get("value")
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return value if isinstance(value, str) else None


def _edge(raw: Any, *, known: frozenset[str]) -> tuple[str, str]:
    if not isinstance(raw, Mapping) or not isinstance(raw.get("source"), str) or not isinstance(raw.get("target"), str):
        msg = 'Every edge of the flow must be an object with a "source" and a "target".'
        raise FlowDocumentError(msg)
    for end in ("source", "target"):
        if raw[end] not in known:
            msg = f"An edge leads from {raw['source']!r} to {raw['target']!r}, but the flow has no node {raw[end]!r}."
            raise FlowDocumentError(msg)
    return raw["source"], raw["target"]


def _json_type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "list"
        case _:
            return "object"
