"""A Langflow flow, run in this process by lfx 1.13.0.

Importing this module imports lfx, which takes seconds: go through `overnight.flows.ready.prepare`, which also sets
the environment that lfx reads while it is imported.
"""

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lfx
from lfx.exceptions.tweaks import TweakRefusedError
from lfx.graph.graph.base import Graph
from lfx.load import aload_flow_from_json
from lfx.preload import prewarm_core_imports, teardown_warm_services
from lfx.run._defaults import apply_run_defaults
from lfx.schema.schema import INPUT_FIELD_NAME
from lfx.serialization.serialization import serialize
from lfx.services.manager import get_service_manager
from lfx.services.schema import ServiceType
from lfx.services.variable.request_scope import (
    activate_no_env_fallback,
    activate_request_variables,
    reset_no_env_fallback,
    reset_request_variables,
)
from lfx.services.variable.service import VariableService
from lfx.workflow.converters import _process_terminal_vertex

from overnight.flows.call import JSON, Call, FlowFailure, LangflowFlow, Result, Usage
from overnight.flows.document import FlowDocument, FlowDocumentError, parse
from overnight.flows.failures import chain, failure_of, how_to_set, permanent
from overnight.flows.inspect import approvals
from overnight.flows.loop import run_in_loop
from overnight.flows.outputs import NotJsonError, as_json
from overnight.flows.packages import imports_of
from overnight.flows.tweaks import MissingVariableError, TweakError, check_variables, checked, merged, of_firing

_USERS = uuid.UUID("6c1f8a35-0f5b-5d0c-8d54-2f5f9b2f6c11")
_TEXT_OUTPUTS = {"chat": "ChatOutput", "text": "TextOutput"}


def run(call: Call, flow: LangflowFlow) -> Result:
    """Run one attempt to its end on this thread. Raises FlowFailure."""
    return run_in_loop(arun(call, flow))


async def arun(call: Call, flow: LangflowFlow) -> Result:
    """Run one attempt; many may run at once, each with variables of its own. Raises FlowFailure."""
    document = _parsed(flow)
    told = of_firing(document, call)
    tweaks = merged(_tweaks(document, call), told)
    variables = dict(call.variables)
    scope = activate_request_variables(variables)
    fallback = activate_no_env_fallback(disabled=True)
    try:
        graph = await _load(document, tweaks)
        # From its trigger node on: else lfx begins at a chat input, and may never come to the node that was told.
        return await _process(graph, call, variables, start=next(iter(told)) if len(told) == 1 else None)
    finally:
        reset_no_env_fallback(fallback)
        reset_request_variables(scope)


def warm_up() -> None:
    """Import lfx's core components and run, in a loop of its own, the flow that lfx ships: "Hello, World!"."""
    prewarm_core_imports(warmup_run=False, teardown_services=False)
    hello = Path(lfx.__file__).parent / "templates/flows/hello-world.json"
    flow = LangflowFlow(hello.read_text(encoding="utf-8"))
    asyncio.run(arun(Call("warm-up", "warm-up", "warm-up", attempt=1, flow=flow), flow))
    teardown_warm_services()
    _register_variables()


def _register_variables() -> None:
    """Without a variable service, components never see request variables such as a provider's key."""
    get_service_manager().service_classes.setdefault(ServiceType.VARIABLE_SERVICE, VariableService)


_register_variables()


def _parsed(flow: LangflowFlow) -> FlowDocument:
    try:
        document = parse(flow.document)
    except FlowDocumentError as error:
        raise permanent("InvalidFlow", str(error)) from error
    # Without checkpoints lfx does not pause at an approval: it takes every branch behind it.
    for node in approvals(document):
        raise permanent(
            "ApprovalNeeded",
            f"{node.label} waits for a person's approval, which an unattended run cannot get. Remove it from the flow.",
            component=node.id,
        )
    return document


def _tweaks(document: FlowDocument, call: Call) -> dict[str, JSON]:
    try:
        tweaks = checked(document, call.input.tweaks)
        check_variables(document, tweaks, call.variables)
    except TweakError as error:
        raise permanent("UnknownTweak", str(error)) from error
    except MissingVariableError as error:
        mend = "; ".join(how_to_set(variable) for variable in error.variables)
        raise permanent("MissingVariable", f"{error} To set them: {mend}." if mend else str(error)) from error
    return tweaks


async def _load(document: FlowDocument, tweaks: dict[str, JSON]) -> Graph:
    try:
        graph = await aload_flow_from_json({"data": document.data}, tweaks=tweaks)
        graph.prepare()
    except TweakRefusedError as error:
        raise permanent("TweakRefused", f"{error} Edit the flow in Langflow, and apply it again.") from error
    except Exception as error:
        raise _load_failure(document, error) from error
    return graph


def _load_failure(document: FlowDocument, error: Exception) -> FlowFailure:
    node = next((node for node in document if node.code is not None and _is_to_blame(node.code, error)), None)
    failure = failure_of(error, component=node.id if node else None, label=node.label if node else None)
    if failure.error_type == type(error).__name__ and failure.retryable:  # no rule knew it
        failure.error_type = "InvalidFlow"
        failure.message = f"Langflow cannot load the flow: {failure.message} Export it from Langflow again."
    failure.retryable = isinstance(error, OSError | MemoryError)
    return failure


def _is_to_blame(code: str, error: Exception) -> bool:
    try:
        imports = imports_of(code)
    except SyntaxError:
        return True
    missing = {link.name.partition(".")[0] for link in chain(error) if isinstance(link, ImportError) and link.name}
    return bool(missing & imports.at_once)


async def _process(graph: Graph, call: Call, variables: dict[str, str], *, start: str | None) -> Result:
    graph.set_run_id(str(uuid.uuid4()))
    # One user per agent: what components keep by user is the agent's own, and never another's.
    apply_run_defaults(graph, session_id=call.input.session_id or None, user_id=str(uuid.uuid5(_USERS, call.agent_id)))
    graph.context["request_variables"] = variables
    graph.context["no_env_fallback"] = True
    if call.input.input_value is not None:
        input_type: Any = call.input.input_type
        graph._set_inputs([], {INPUT_FIELD_NAME: call.input.input_value}, input_type)  # noqa: SLF001 - as Graph.arun
    try:
        await graph.process(fallback_to_env_vars=False, start_component_id=start)
    except (Exception, asyncio.CancelledError) as error:
        raise _component_failure(graph, error) from error
    return _result(graph, call.input.output_type)


def _component_failure(graph: Graph, error: BaseException) -> FlowFailure:
    component = _failed_component(graph, error)
    vertex = graph.get_vertex(component) if component else None
    label = f"{vertex.display_name} ({component})" if vertex is not None else component
    failure = failure_of(error, component=component, label=label, usage=_usage(graph))
    if isinstance(error, asyncio.CancelledError) and str(error):
        failure.error_type = str(error)  # what ended the run, as run_in_loop says
    return failure


def _failed_component(graph: Graph, error: BaseException) -> str | None:
    """The node whose build raised: the traceback knows which, even where several were under way."""
    frame = error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_name == "build_vertex":
            vertex_id = frame.tb_frame.f_locals.get("vertex_id")
            if isinstance(vertex_id, str):
                return vertex_id
        frame = frame.tb_next
    return next(iter(sorted(graph.run_manager.vertices_being_run)), None)


def _result(graph: Graph, output_type: str) -> Result:
    outputs: dict[str, JSON] = {}
    texts: list[tuple[str, str]] = []
    for vertex in _terminals(graph):
        component, output = _process_terminal_vertex(vertex, {vertex.id: vertex.result})
        content = _content(output.content)
        outputs[component] = {"type": output.type, "status": output.status.value, "content": content}
        if vertex.is_output and isinstance(content, str):
            texts.append((vertex.vertex_type, content))
    return Result(text=_text(texts, output_type), outputs=outputs, usage=_usage(graph))


def _terminals(graph: Graph) -> Iterator[Any]:
    return (vertex for vertex in graph.vertices if vertex.built and vertex.result and not vertex.successors)


def _content(content: object) -> JSON:
    try:
        return as_json(content)
    except NotJsonError:
        return as_json(serialize(content, to_str=True))


def _text(texts: list[tuple[str, str]], output_type: str) -> str | None:
    """The last text, of the kind of output that was asked for if there is one."""
    wanted = [text for kind, text in texts if kind == _TEXT_OUTPUTS.get(output_type, kind)]
    last = (wanted or [text for _, text in texts])[-1:]
    return last[0] if last else None


def _usage(graph: Graph) -> Usage | None:
    counts = [used for vertex in graph.vertices if (used := getattr(vertex.custom_component, "_token_usage", None))]
    if not counts:
        return None
    input_tokens = sum(used.input_tokens or 0 for used in counts)
    output_tokens = sum(used.output_tokens or 0 for used in counts)
    total = sum(used.total_tokens or (used.input_tokens or 0) + (used.output_tokens or 0) for used in counts)
    return Usage(input_tokens, output_tokens, total)
