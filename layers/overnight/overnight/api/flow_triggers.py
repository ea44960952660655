"""The triggers of a flow's own nodes, which an agent has that names none; and what of the flow won't work here."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, TypeAdapter
from pydantic_core import ErrorDetails

from overnight.agents import AgentDocument, LangflowFlow
from overnight.api.problems import describe
from overnight.errors import Invalid, NotFound, Problem
from overnight.ports import Ports
from overnight.triggers import Trigger

if TYPE_CHECKING:
    from overnight.flows.inspect import TriggerReport

__all__ = ["are_of_nodes", "on_a_node", "triggers_of_nodes", "warnings"]

_TRIGGERS: TypeAdapter[tuple[Trigger, ...]] = TypeAdapter(tuple[Trigger, ...], config=ConfigDict(defer_build=True))


def triggers_of_nodes(ports: Ports, flow: object) -> "tuple[TriggerReport, ...]":
    """What the nodes of a document's flow declare; nothing for a flow that is no export of Langflow.

    Raises Invalid where a node says what can't be.
    """
    content = _content(ports, flow)
    if content is None:
        return ()
    from overnight.flows.inspect import triggers_of  # noqa: PLC0415 - of all requests, few bring a flow's JSON

    try:
        return triggers_of(content)
    except ValueError as error:
        if isinstance(content, bytes):  # it was checked when it came
            return ()
        raise Invalid.field("flow.langflow", str(error)) from error


def on_a_node(error: ErrorDetails, nodes: "Sequence[TriggerReport]") -> Problem | None:
    """What is wrong with a trigger that a node declares, as a problem of the flow; None if it is no such error."""
    match error["loc"]:
        case ("triggers", int(number), *rest) if number < len(nodes):
            node = nodes[number].node
            found = describe(tuple(rest[1:]), error)
            field = f"{found.field}: " if found.field else ""
            return Problem("flow.langflow", f"{node.display_name or node.type} ({node.id}): {field}{found.message}")
        case ("triggers",) if nodes:
            return Problem("flow.langflow", f"its nodes declare {len(nodes)} triggers: {error['msg']}")
    return None


def are_of_nodes(ports: Ports, document: AgentDocument) -> bool:
    """Whether a stored document's triggers are exactly those of its flow's nodes."""
    if not document.triggers or not isinstance(document.flow, LangflowFlow):
        return False
    nodes = triggers_of_nodes(ports, {"langflow": document.flow.langflow})
    try:
        return _TRIGGERS.validate_python([dict(node.document) for node in nodes]) == document.triggers
    except ValueError:
        return False


def warnings(ports: Ports, flow: object) -> tuple[str, ...]:
    """What of a document's flow won't work here, and what to use instead."""
    content = _content(ports, flow)
    if content is None:
        return ()
    from overnight.flows.inspect import inspect  # noqa: PLC0415 - as above

    try:
        return inspect(content).advice
    except ValueError:
        return ()


def _content(ports: Ports, flow: object) -> bytes | Mapping[str, Any] | None:
    given = flow.get("langflow") if isinstance(flow, Mapping) else None
    if isinstance(given, str):
        try:
            return ports.blobs.get(given)
        except NotFound:
            return None
    return given if isinstance(given, Mapping) else None
