"""Agent documents as they come in: put into today's words, checked as a whole, their flow's JSON kept as a blob.

An agent that names no triggers has those of its flow's own nodes, where that is an export of Langflow.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from overnight.agents import AgentDocument, LangflowApiFlow, LangflowFlow, PythonFlow
from overnight.api.flow_triggers import are_of_nodes, on_a_node, triggers_of_nodes
from overnight.api.problems import describe
from overnight.errors import Invalid, NotFound, Problem
from overnight.ports import Ports
from overnight.words import Word

if TYPE_CHECKING:
    from overnight.flows.inspect import TriggerReport

__all__ = ["accept", "merge", "names_triggers", "patched"]

FLOWS: Mapping[str, type[Word]] = {"python": PythonFlow, "langflow": LangflowFlow, "langflow_api": LangflowApiFlow}
SHORT = "schedule"
"""`schedule: {…}` is short for one trigger of this name."""
OLDER = ("trigger_type", "trigger_config")
"""The older spelling of one trigger; `triggers.normalise` knows what it means."""


def accept(ports: Ports, raw: Mapping[str, Any]) -> AgentDocument:
    """The document that `raw` says, normalised; its flow's JSON, if it came along, is in the blob store afterwards.

    Nothing is stored unless all of it is valid. Raises Invalid, naming every field as the sender spelled it.
    """
    spelled, labels = _spell(raw)
    flow, content, problems = _flow(ports, raw.get("flow"))
    nodes: Sequence[TriggerReport] = ()
    if not problems and not names_triggers(raw):
        nodes = triggers_of_nodes(ports, raw["flow"])
        spelled |= {"triggers": [dict(node.document) for node in nodes]} if nodes else {}
    try:
        document = AgentDocument.model_validate(spelled | {"flow": flow})
    except ValidationError as error:
        for each in error.errors(include_url=False, include_input=False):
            # What is wrong with the flow was found by its kind; the union would complain of every kind.
            if each["loc"][:1] != ("flow",):
                problems.append(on_a_node(each, nodes) or describe(_path(each["loc"], labels), each))
    else:
        problems += _unreachable(ports, document)
    if problems:
        raise Invalid(problems)
    if content is not None:
        ports.blobs.put(content)
    return document


def names_triggers(raw: Mapping[str, Any]) -> bool:
    """Whether a document, or a patch of one, says itself what its triggers are."""
    return "triggers" in raw or any(raw.get(key) is not None for key in (SHORT, *OLDER))


def patched(ports: Ports, document: AgentDocument, patch: Mapping[str, Any]) -> AgentDocument:
    """The document after a JSON merge patch; with another flow come its triggers, if those there are were the flow's.

    Raises Invalid.
    """
    merged = merge(document, patch)
    if "flow" in patch and not names_triggers(patch) and are_of_nodes(ports, document):
        del merged["triggers"]
    return accept(ports, merged)


def merge(document: AgentDocument, patch: Mapping[str, Any]) -> dict[str, Any]:
    """The document after a JSON merge patch (RFC 7396), which `accept` then checks.

    `schedule` in the patch stands for the trigger of that name, and another kind of flow replaces the flow.
    """
    current = document.model_dump(mode="json")
    if "flow" in patch and not (_is_api(patch["flow"]) and _is_api(current["flow"])):
        current["flow"] = {}
    if OLDER[0] in patch:
        current["triggers"] = []
    if SHORT in patch and "triggers" not in patch:
        current[SHORT] = next((trigger for trigger in current["triggers"] if trigger["name"] == SHORT), {})
        current["triggers"] = [trigger for trigger in current["triggers"] if trigger["name"] != SHORT]
        if _kinds(patch[SHORT]) - _kinds(current[SHORT]):
            current[SHORT] = {}
    merged: dict[str, Any] = _merge(current, patch)
    return merged


# Spelling


def _spell(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The document in today's words, and what the sender called each of the triggers that it did not list."""
    spelled, labels, short = dict(raw), [], []
    if "input_config" in spelled:
        if "input" in spelled:
            raise Invalid.field("input_config", "is the older spelling of input; give one of them")
        spelled["input"] = spelled.pop("input_config")
    if (schedule := spelled.pop(SHORT, None)) is not None:
        labels.append(SHORT)
        short.append({"name": SHORT} | schedule if isinstance(schedule, dict) else schedule)
    if older := {key: spelled.pop(key) for key in OLDER if key in spelled}:
        labels.append("trigger_config")
        short.append(older)
    if short:
        listed = spelled.get("triggers") or []
        spelled["triggers"] = [*short, *listed] if isinstance(listed, list) else listed
    return spelled, labels


def _path(loc: tuple[int | str, ...], labels: list[str]) -> tuple[int | str, ...]:
    """Where the sender wrote it: without the union's tag behind a trigger's number, and by the short form's name."""
    match loc:
        case ():
            return ("triggers",)  # the one thing that is checked of a document as a whole: that their names differ
        case ("triggers", int(number), *rest):
            inside = tuple(rest[1:])
            return (labels[number], *inside) if number < len(labels) else ("triggers", number - len(labels), *inside)
    return loc


def _unreachable(ports: Ports, document: AgentDocument) -> Sequence[Problem]:
    """What is wrong with the receiver of its notifications, on this engine."""
    try:
        if document.notify is not None:
            ports.courier.check(document.notify.url)
    except Invalid as invalid:
        return invalid.problems
    return ()


# The flow


def _flow(ports: Ports, flow: object) -> tuple[object, bytes | None, list[Problem]]:
    """The flow as it is stored, the bytes of its JSON if it is a Langflow flow, and what is wrong with it."""
    if problems := _shape(flow):
        return flow, None, problems
    if not isinstance(flow, dict) or "langflow" not in flow:
        return flow, None, []
    given = flow["langflow"]
    if isinstance(given, str):
        try:
            return flow, ports.blobs.get(given), []
        except NotFound:
            return flow, None, [Problem("flow.langflow", "no flow of that digest was sent before; send its JSON")]
    from overnight.flows.inspect import validate  # noqa: PLC0415 - of all requests, few bring a flow's JSON

    try:
        name = validate(given).name
    except ValueError as error:
        return flow, None, [Problem("flow.langflow", str(error))]
    # In canonical form, so that the order of keys makes no other version.
    content = json.dumps(given, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    digest = hashlib.sha256(content).hexdigest()
    return {"langflow": digest, "name": flow.get("name") or name}, content, []


def _shape(flow: object) -> list[Problem]:
    if flow is None:
        return [Problem("flow", "is required")]
    if isinstance(flow, str):
        message = (
            'is a path, which only the command line reads; send the flow itself: {"langflow": {…its JSON…}} '
            'or {"python": "package.module:callable"}'
        )
        return [Problem("flow", message)]
    kinds = [kind for kind in FLOWS if kind in flow] if isinstance(flow, dict) else []
    if len(kinds) != 1 or not isinstance(flow, dict):
        return [Problem("flow", f"must be an object with exactly one of {', '.join(FLOWS)}")]
    is_json = isinstance(flow.get("langflow"), dict)
    try:
        FLOWS[kinds[0]].model_validate(flow | {"langflow": "0" * 64} if is_json else flow)
    except ValidationError as error:
        return [describe(("flow", *each["loc"]), each) for each in error.errors(include_url=False)]
    return []


# Merging


def _is_api(flow: object) -> bool:
    return isinstance(flow, dict) and "langflow_api" in flow


def _kinds(trigger: object) -> set[str]:
    return {"cron", "interval", "date"} & trigger.keys() if isinstance(trigger, dict) else set()


def _merge(target: object, patch: object) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged
