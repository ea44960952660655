"""Flows as Langflow exports them, put together from the component templates that lfx ships."""

import copy
import json
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

MODEL = [{"name": "gpt-4o-mini", "provider": "OpenAI", "metadata": {}}]

Json = dict[str, Any]


def lfx_folder() -> Path:
    """Where lfx is installed; it is not imported."""
    spec = find_spec("lfx")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


@cache
def templates() -> Mapping[str, Json]:
    """Every component of lfx by its type, as the canvas would put it down."""
    index = json.loads((lfx_folder() / "_assets/component_index.json").read_text())
    return {kind: node for _, components in index["entries"] for kind, node in components.items()}


def node(kind: str, node_id: str | None = None, /, *, code: str | None = None, **values: Any) -> Json:
    """A node of a type, its fields set to `values`."""
    component = copy.deepcopy(templates()[kind])
    for name, value in values.items():
        component["template"][name]["value"] = value
    if code is not None:
        component["template"]["code"]["value"] = code
        component["edited"] = True
    node_id = node_id or f"{kind}-a1"
    return {"id": node_id, "type": "genericNode", "data": {"id": node_id, "type": kind, "node": component}}


def custom(code: str, node_id: str = "Custom-c1", display_name: str = "Custom") -> Json:
    """A component of one's own: one Message input, `value`, and one output, `text`."""
    made = copy.deepcopy(node("TextInput", node_id))
    component = made["data"]["node"]
    made["data"]["type"] = "CustomComponent"
    component["display_name"] = display_name
    component["edited"] = True
    component["template"]["code"]["value"] = f"{_CUSTOM_HEAD}{code}"
    component["outputs"] = [
        {"name": "text", "display_name": "Text", "method": "build", "types": ["Message"], "selected": "Message"}
    ]
    return made


_CUSTOM_HEAD = """
from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message
"""


def body(*lines: str) -> str:
    """The code of a custom component whose method has these lines."""
    method = "\n".join(f"        {line}" for line in lines)
    return f"""
class Custom(Component):
    display_name = "Custom"
    inputs = [MessageTextInput(name="input_value", display_name="Text")]
    outputs = [Output(name="text", display_name="Text", method="build")]

    def build(self) -> Message:
{method}
"""


def edge(source: Json, output: str, target: Json, field: str) -> Json:
    """A line on the canvas, from an output to a field."""
    outputs = source["data"]["node"]["outputs"]
    types = next(o["types"] for o in outputs if o["name"] == output)
    template = target["data"]["node"]["template"][field]
    source_handle = {
        "dataType": source["data"]["type"],
        "id": source["id"],
        "name": output,
        "output_types": types,
    }
    target_handle = {
        "fieldName": field,
        "id": target["id"],
        "inputTypes": template.get("input_types") or [],
        "type": template.get("type", "str"),
    }
    return {
        "source": source["id"],
        "target": target["id"],
        "sourceHandle": json.dumps(source_handle).replace('"', "œ"),
        "targetHandle": json.dumps(target_handle).replace('"', "œ"),
        "data": {"sourceHandle": source_handle, "targetHandle": target_handle},
        "id": f"edge-{source['id']}-{target['id']}-{field}",
    }


def flow(nodes: list[Json], edges: list[Json], name: str = "Test") -> str:
    """The flow's JSON."""
    return json.dumps({"name": name, "data": {"nodes": nodes, "edges": edges, "viewport": {"x": 0, "y": 0, "zoom": 1}}})


def echo() -> str:
    """Chat input straight to chat output."""
    chat_input, chat_output = node("ChatInput"), node("ChatOutput")
    return flow([chat_input, chat_output], [edge(chat_input, "message", chat_output, "input_value")])


def model(**values: Any) -> str:
    """Chat input, a language model of OpenAI, chat output."""
    chat_input, chat_output = node("ChatInput"), node("ChatOutput")
    language_model = node("LanguageModelComponent", "Model-m1", model=MODEL, **values)
    return flow(
        [chat_input, language_model, chat_output],
        [
            edge(chat_input, "message", language_model, "input_value"),
            edge(language_model, "text_output", chat_output, "input_value"),
        ],
    )


def with_custom(code: str) -> str:
    """Chat input, a component of one's own, chat output."""
    chat_input, chat_output, own = node("ChatInput"), node("ChatOutput"), custom(code)
    return flow(
        [chat_input, own, chat_output],
        [edge(chat_input, "message", own, "input_value"), edge(own, "text", chat_output, "input_value")],
    )
