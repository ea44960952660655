"""What a Langflow flow says about itself, read from its JSON without importing lfx.

Its triggers as trigger documents, what goes in and comes out, what must be installed, and what must be set.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from overnight.flows.advice import on_approval, on_trigger
from overnight.flows.call import JSON
from overnight.flows.document import FlowDocument, Node, Raw, digest, parse, validate
from overnight.flows.packages import PROVIDERS, distribution, imports_of

SCHEDULE = "ScheduleTrigger"
INBOUND_WEBHOOK = "InboundWebhookTrigger"
WEBHOOK = "Webhook"

EVENT_FIELD = "event_payload"
"""The field through which Langflow's trigger nodes are told the firing (lfx `base/triggers/base.py`)."""

_CLASSIC: Mapping[str, JSON] = {"signature": "token", "header": "x-api-key"}
"""What a sender of Langflow's classic webhook proves itself by."""

_INPUTS = ("ChatInput", "TextInput")
_OUTPUTS = ("ChatOutput", "TextOutput")
_UNSUPPORTED_TRIGGER = re.compile(r"(Slack|Microsoft|Outlook|Teams|OneDrive|SharePoint|Google|Gmail|Drive)\w*Trigger")
_VARIABLE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")


@dataclass(frozen=True, slots=True)
class NodeName:
    """A node of the flow, as a report names it."""

    id: str
    type: str
    display_name: str


@dataclass(frozen=True, slots=True)
class TriggerReport:
    """A trigger node: the trigger document that does the same, and what else the node says."""

    node: NodeName
    document: Mapping[str, JSON]
    share_session: bool
    payload_schema: Mapping[str, JSON] | None = None


@dataclass(frozen=True, slots=True)
class VariableReport:
    """A variable that `variables:` must set, and the field that reads it; `name` is None for a bare secret field."""

    name: str | None
    node: NodeName
    field: str


@dataclass(frozen=True, slots=True)
class FlowReport:
    """What `overnight flows inspect` prints.

    `packages` must be installed beside lfx; `packages_on_use` only if the part of the flow that imports them runs.
    `secrets` are empty fields for a key that the flow may need: set them by a tweak or by the provider's variable.
    `approvals` are nodes that wait for a person, `unsupported` trigger nodes that nothing fires: neither works here,
    and `advice` says what to do about it.
    """

    name: str | None
    digest: str
    triggers: tuple[TriggerReport, ...]
    inputs: tuple[NodeName, ...]
    outputs: tuple[NodeName, ...]
    packages: tuple[str, ...]
    packages_on_use: tuple[str, ...]
    variables: tuple[VariableReport, ...]
    secrets: tuple[VariableReport, ...]
    approvals: tuple[NodeName, ...]
    unsupported: tuple[NodeName, ...]
    advice: tuple[str, ...]


def inspect(document: str | bytes | Raw) -> FlowReport:
    """Read a flow's JSON, given as text or already loaded. Raises FlowDocumentError, which is a ValueError."""
    flow = validate(document)
    packages, on_use = _packages(flow)
    waiting = tuple(approvals(flow))
    unsupported = tuple(node for node in flow if _is_unsupported(node))
    return FlowReport(
        name=flow.name,
        digest=digest(document),
        triggers=triggers_of(flow),
        inputs=tuple(_named(node) for node in flow if node.type in _INPUTS),
        outputs=tuple(_named(node) for node in flow if node.type in _OUTPUTS),
        packages=packages,
        packages_on_use=on_use,
        variables=tuple(_variables(flow)),
        secrets=tuple(_empty_secrets(flow)),
        approvals=tuple(map(_named, waiting)),
        unsupported=tuple(map(_named, unsupported)),
        advice=(
            *(on_trigger(node.label, node.type) for node in unsupported),
            *(on_approval(node.label) for node in waiting),
        ),
    )


def triggers_of(document: str | bytes | Raw | FlowDocument) -> tuple[TriggerReport, ...]:
    """The triggers that a flow's nodes declare. Raises ValueError: it is no flow, or a node says what can't be."""
    return tuple(_triggers(document if isinstance(document, FlowDocument) else parse(document)))


def trigger_name(node_id: str) -> str:
    """The name of the trigger that a trigger node declares: its id, as far as a name allows."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", node_id).strip("-_")[:64]


def approvals(flow: FlowDocument) -> Iterator[Node]:
    """The nodes that wait for a person: HumanInput that leads somewhere, and tools that need approval."""
    sources = {source for source, _ in flow.edges}
    for node in flow:
        tools = node.value("tools_metadata")
        if (node.type == "HumanInput" and node.id in sources) or (
            isinstance(tools, list)
            and any(isinstance(tool, Mapping) and tool.get("approval_actions") for tool in tools)
        ):
            yield node


def global_variable(field: Raw) -> str | None:
    """The global variable that a field reads, if it reads one."""
    value = field.get("value")
    reads = field.get("load_from_db") is True and field.get("show") is not False
    return value if reads and isinstance(value, str) and value else None


def showable(variable: str) -> str:
    """A variable's name for a message; what does not look like a name may be a key someone typed in."""
    return variable if _VARIABLE_NAME.fullmatch(variable) else "(not shown: it does not look like a name)"


def _named(node: Node) -> NodeName:
    return NodeName(node.id, node.type, node.display_name)


def _is_unsupported(node: Node) -> bool:
    """A trigger of Slack, Microsoft or Google; or of a kind that is not known here, told by the field for its event."""
    known = node.type in (SCHEDULE, INBOUND_WEBHOOK, WEBHOOK)
    return not known and (bool(_UNSUPPORTED_TRIGGER.fullmatch(node.type)) or EVENT_FIELD in node.fields)


def _triggers(flow: FlowDocument) -> Iterator[TriggerReport]:
    for node in flow:
        name = trigger_name(node.id)
        share_session = node.value("share_session") is True
        match node.type:
            case "ScheduleTrigger":
                schedule: dict[str, JSON] = {
                    "name": name,
                    "cron": node.value("cron_expression"),
                    "timezone": node.value("timezone") or "UTC",
                    "catch_up": node.value("catchup_policy") or "coalesce",
                }
                if share_session:
                    schedule["share_session"] = True
                yield TriggerReport(_named(node), schedule, share_session)
            case "InboundWebhookTrigger":
                schema = _payload_schema(node)
                signed: dict[str, JSON] = {"signature": "langflow"}
                webhook: dict[str, JSON] = {"name": name, "webhook": signed}
                if schema is not None:
                    signed["schema"] = schema
                if share_session:
                    webhook["share_session"] = True
                yield TriggerReport(_named(node), webhook, share_session, schema)
            case "Webhook":
                yield TriggerReport(_named(node), {"name": name, "webhook": _CLASSIC}, share_session=False)


def _payload_schema(node: Node) -> Mapping[str, JSON] | None:
    text = node.value("payload_schema")
    if not isinstance(text, str) or not text.strip():
        return None
    try:
        schema = json.loads(text)
    except ValueError as error:
        msg = f"The payload schema of {node.label} is not JSON: {error}"
        raise ValueError(msg) from error
    if not isinstance(schema, dict):
        msg = f"The payload schema of {node.label} must be a JSON object."
        raise ValueError(msg)  # noqa: TRY004 - a wrong document, not a wrong argument
    return schema


def _packages(flow: FlowDocument) -> tuple[tuple[str, ...], tuple[str, ...]]:
    at_once = {PROVIDERS[name].package for node in flow for name in _providers(node) if name in PROVIDERS}
    on_use: set[str] = set()
    for node in flow:
        if node.code is not None:
            imports = imports_of(node.code)
            at_once |= {distribution(module) for module in imports.at_once}
            on_use |= {distribution(module) for module in imports.on_use}
    return tuple(sorted(at_once)), tuple(sorted(on_use - at_once))


def _providers(node: Node) -> Iterator[str]:
    for field in node.fields.values():
        value = field.get("value")
        if field.get("type") == "model" and isinstance(value, list):
            yield from (choice["provider"] for choice in value if _is_choice(choice))


def _is_choice(choice: Any) -> bool:
    return isinstance(choice, Mapping) and isinstance(choice.get("provider"), str)


def _variables(flow: FlowDocument) -> Iterator[VariableReport]:
    for node in flow:
        for name, field in node.fields.items():
            if (variable := global_variable(field)) is not None:
                yield VariableReport(showable(variable), _named(node), name)
        has_key = bool(node.value("api_key"))
        for provider in dict.fromkeys(_providers(node)):
            known = PROVIDERS.get(provider)
            if known is not None and known.variable is not None and not has_key:
                yield VariableReport(known.variable, _named(node), "model")


def _empty_secrets(flow: FlowDocument) -> Iterator[VariableReport]:
    for node in flow:
        if any(_providers(node)):
            continue
        for name, field in node.fields.items():
            if field.get("password") is True and field.get("show") is not False and not field.get("value"):
                yield VariableReport(None, _named(node), name)


__all__ = [
    "FlowReport",
    "NodeName",
    "TriggerReport",
    "VariableReport",
    "digest",
    "inspect",
    "parse",
    "trigger_name",
    "validate",
]
