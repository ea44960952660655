"""Agents: list, create, read, change, put, delete."""

from typing import Annotated, Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Query

from overnight.agents import Agent, AgentDocument, AgentState, AgentStatus
from overnight.api.agent_bodies import AsAgent, AsNamedAgent, AsPatchOfAgent
from overnight.api.agent_views import AgentList, AgentView, Plan, agent_answer, living
from overnight.api.answers import documented, empty, json_answer
from overnight.api.documents import accept, names_triggers, patched
from overnight.api.flow_triggers import warnings
from overnight.api.parameters import AgentRef, Cursor, DryRun, IfMatch, Limit, Needs, version_of
from overnight.api.routing import new_router
from overnight.core import lifecycle
from overnight.core.living import living as alive
from overnight.errors import AgentNotFound, EditConflict, Invalid
from overnight.ports import Ports

__all__ = ["AGENTS", "create_agent", "get_agent", "list_agents", "router"]

AGENTS = "/api/v1/background_agents"
EDITS = 5
"""How often a merge is repeated when somebody else's edit came in between."""

router = new_router()

ETAG = {"ETag": "The agent's version, for If-Match."}
EXAMPLES = {
    "python": {
        "summary": "A Python callable, every weekday at 08:00 in Berlin",
        "value": {
            "name": "daily-report",
            "flow": {"python": "reports.daily:run"},
            "enabled": True,
            "schedule": {"cron": "0 8 * * 1-5", "timezone": "Europe/Berlin"},
            "retries": {"attempts": 3, "backoff_seconds": 60},
        },
    },
    "langflow": {
        "summary": "A Langflow flow, whenever a dataset comes",
        "value": {
            "name": "summarise",
            "flow": {"langflow": {"name": "Summary", "data": {"nodes": [], "edges": []}}},
            "enabled": True,
            "triggers": [{"name": "new-data", "event": {"name": "dataset.*"}}],
            "variables": {"OPENAI_API_KEY": "secret:openai"},
        },
    },
}
DocumentBody = Annotated[dict[str, Any], Body(openapi_examples=EXAMPLES), AsAgent()]
NamedBody = Annotated[dict[str, Any], Body(openapi_examples=EXAMPLES), AsNamedAgent()]
PatchBody = Annotated[dict[str, Any], Body(), AsPatchOfAgent()]


@router.get(
    AGENTS,
    summary="List agents",
    operation_id="list_agents",
    tags=["agents"],
    responses=documented({200: (AgentList, "A page of agents, by name.")}),
)
def list_agents(
    ports: Needs,
    status: Annotated[AgentStatus | None, Query(description="Only those.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response[str]:
    """Agents by name, with where they stand."""
    page = ports.store.agents(status=status, cursor=cursor, limit=limit)
    return json_answer(AgentList(items=[AgentView.of(*item) for item in page.items], cursor=page.cursor))


@router.post(
    AGENTS,
    summary="Create an agent",
    description='It is created STOPPED, unless it says `"enabled": true`.',
    operation_id="create_agent",
    tags=["agents"],
    responses=documented(
        {201: (AgentView, "The agent.")}, 409, headers={**ETAG, "Location": "Where the agent is read."}
    ),
)
def create_agent(ports: Needs, document: DocumentBody) -> Response[str]:
    """Create an agent from its document."""
    return _created(lifecycle.create(ports, accept(ports, document)))


@router.get(
    f"{AGENTS}/<agent>",
    summary="Read an agent",
    operation_id="get_agent",
    tags=["agents"],
    responses=documented({200: (AgentView, "The agent.")}, 404, headers=ETAG),
)
def get_agent(ports: Needs, agent: AgentRef) -> Response[str]:
    """An agent, and where it stands."""
    return agent_answer(living(ports, agent))


@router.patch(
    f"{AGENTS}/<agent>",
    summary="Change an agent",
    description="A JSON merge patch (RFC 7396) of its document, which is then checked as a whole.",
    operation_id="change_agent",
    tags=["agents"],
    responses=documented({200: (AgentView, "The agent as it is now.")}, 404, 409, 412, headers=ETAG),
)
def change_agent(ports: Needs, agent: AgentRef, patch: PatchBody, if_match: IfMatch = None) -> Response[str]:
    """Merge a patch into an agent's document; what somebody else changed in between is kept."""
    wanted = version_of(if_match)
    for last in (False,) * (EDITS - 1) + (True,):
        stored, _ = living(ports, agent)
        document = patched(ports, stored.document, patch)
        try:
            return agent_answer(lifecycle.edit(ports, stored.id, document, if_match=wanted or stored.version))
        except EditConflict:
            if wanted is not None or last:
                raise
    raise AssertionError("unreachable")


@router.put(
    f"{AGENTS}/<agent>",
    summary="Create or replace an agent",
    description="By name, with a whole document, which need not say the name again: the same document twice changes "
    "nothing. `apply` uses it. "
    "The id of an agent that is deleted is 404.",
    operation_id="put_agent",
    tags=["agents"],
    responses=documented(
        {
            200: (AgentView | Plan, "The agent as it is now; with `dry_run`, what would be done."),
            201: (AgentView, "The agent, new."),
        },
        404,
        409,
        412,
        headers=ETAG,
    ),
)
def put_agent(
    ports: Needs, agent: AgentRef, document: NamedBody, dry_run: DryRun = False, if_match: IfMatch = None
) -> Response[str]:
    """Create the agent, or make its document this one; or only say which of these it would be."""
    wanted = version_of(if_match)
    stored = _stored(ports, agent)
    accepted = accept(ports, {"name": stored.name if stored else agent} | document)
    if dry_run:
        return json_answer(_plan(ports, agent, stored, accepted, document, if_match=if_match))
    if stored is None:
        _check_new(agent, accepted, if_match)
        return _created(lifecycle.create(ports, accepted))
    return agent_answer(lifecycle.edit(ports, stored.id, accepted, if_match=wanted))


@router.delete(
    f"{AGENTS}/<agent>",
    summary="Delete an agent",
    description="It is disarmed first; its history is kept for its retention.",
    operation_id="delete_agent",
    tags=["agents"],
    responses=documented({204: (None, "It is gone.")}, 404, 409, 412),
)
def delete_agent(ports: Needs, agent: AgentRef, if_match: IfMatch = None) -> Response[str]:
    """Delete an agent."""
    lifecycle.delete(ports, agent, if_match=version_of(if_match))
    return empty()


def _check_new(ref: str, document: AgentDocument, if_match: str | None) -> None:
    if if_match is not None:
        raise EditConflict(ref, 0)
    if document.name != ref:
        raise Invalid.field("name", f"must be {ref!r}, as in the path: there is no such agent yet to be renamed")


def _plan(
    ports: Ports,
    ref: str,
    stored: Agent | None,
    accepted: AgentDocument,
    raw: dict[str, Any],
    *,
    if_match: str | None,
) -> Plan:
    """What putting a document would do."""
    if stored is None:
        _check_new(ref, accepted, if_match)
        changed, action = sorted(accepted.model_fields_set), "create"
    else:
        changed = _changed(stored.document, accepted)
        action = "update" if changed else "unchanged"
    return Plan.model_validate(
        {
            "action": action,
            "changed": changed,
            "of_flow": () if names_triggers(raw) else accepted.triggers,
            "warnings": warnings(ports, raw.get("flow")),
        }
    )


def _stored(ports: Ports, ref: str) -> Agent | None:
    """The agent, None where there never was one. Raises AgentNotFound for the id of one that is deleted."""
    try:
        stored = ports.store.agent(ref)
    except AgentNotFound:
        return None
    return alive(stored, ref)


def _changed(before: AgentDocument, after: AgentDocument) -> list[str]:
    """The fields that an edit would change; `enabled` says how an agent begins, and an edit leaves its status."""
    fields = AgentDocument.model_fields.keys() - {"enabled"}
    return sorted(field for field in fields if getattr(before, field) != getattr(after, field))


def _created(stored: tuple[Agent, AgentState]) -> Response[str]:
    return agent_answer(stored, 201, {"Location": f"{AGENTS}/{stored[0].id}"})
