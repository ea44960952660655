"""Flows of a few fields, for tests of what reads a flow's JSON and runs nothing."""

from typing import Any

Json = dict[str, Any]


def node(
    node_id: str, kind: str, fields: Json | None = None, *, display_name: str = "", code: str | None = None
) -> Json:
    """A node; a field is given by its value, or as a dict with a "value" by all of itself."""
    template = {
        name: field if isinstance(field, dict) and "value" in field else {"value": field}
        for name, field in (fields or {}).items()
    }
    if code is not None:
        template["code"] = {"type": "code", "value": code}
    return {"id": node_id, "data": {"type": kind, "node": {"display_name": display_name, "template": template}}}


def flow(*nodes: Json, edges: tuple[tuple[str, str], ...] = (), name: str | None = "Test") -> Json:
    """A flow as Langflow exports it."""
    lines = [{"source": source, "target": target} for source, target in edges]
    return {"name": name, "data": {"nodes": list(nodes), "edges": lines}}
