"""Webhooks, managed: which there are, their secrets, and what was delivered, fired again."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Literal

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Query
from pydantic import ConfigDict, Field

from overnight.agents import Agent, AgentState, AgentStatus
from overnight.api.agent_parts import page_of_parts
from overnight.api.answers import documented, json_answer
from overnight.api.execution_views import ExecutionView
from overnight.api.executions import EXECUTIONS
from overnight.api.front_door import HookId
from overnight.api.parameters import Cursor, ExecutionId, IdempotencyKey, Limit, Needs
from overnight.api.routing import new_router
from overnight.api.views import View
from overnight.core.replay import replay
from overnight.core.webhooks import keys
from overnight.ports import Hook, Ports
from overnight.webhooks import Signature, WebhookTrigger
from overnight.webhooks import hook_id as id_of
from overnight.words import Instant

__all__ = ["WEBHOOKS", "router"]

WEBHOOKS = "/api/v1/webhooks"

router = new_router()


class WebhookView(View):
    """A webhook trigger, and where its deliveries go."""

    hook_id: str
    agent: str
    agent_id: str
    trigger: str
    signature: Signature
    path: str = Field(description="Where senders post to, on this server.", examples=["/api/v1/webhooks/0f3a…"])
    secret_source: Literal["made", "supplied", "none"] = Field(
        description="`made` here, and shown by `/secret`; `supplied`, and kept in the secret store."
    )
    status: AgentStatus = Field(description="The agent's.")
    rate_limit_per_minute: int | None


class WebhookDetail(WebhookView):
    """A webhook trigger with the state of its secrets."""

    secret_version: int = Field(description="How many secrets were made for it.")
    previous_secret_until: Instant | None = Field(description="Until when the secret before is accepted, too.")


class WebhookList(View):
    """A page of webhooks, by agent."""

    items: list[WebhookView]
    cursor: str | None = Field(description="Asks for the next page; null at the end.")


class WebhookSecret(View):
    """The secret of a webhook, to be given to the sender."""

    secret: str
    version: int
    previous_until: Instant | None = Field(description="Until when the secret before is accepted, too.")


class RotationRequest(View):
    """How a secret is replaced."""

    model_config = ConfigDict(json_schema_extra={"example": {"overlap_seconds": 3_600}})

    overlap_seconds: int = Field(
        default=int(keys.OVERLAP.total_seconds()),
        ge=0,
        le=int(keys.LONGEST_OVERLAP.total_seconds()),
        description="How long the secret before is still accepted.",
    )


@router.get(
    WEBHOOKS,
    summary="List webhooks",
    operation_id="list_webhooks",
    tags=["webhooks"],
    responses=documented({200: (WebhookList, "A page of webhooks, by agent.")}, 404),
)
def list_webhooks(
    ports: Needs,
    agent: Annotated[str | None, Query(description="Only those of this agent: an id or a name.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response[str]:
    """The webhooks of all agents, or of one."""
    page = page_of_parts(ports, agent, "webhook", _views, cursor=cursor, limit=limit)
    return json_answer(WebhookList(items=list(page.items), cursor=page.cursor))


@router.get(
    f"{WEBHOOKS}/<hook_id>",
    summary="Read a webhook",
    operation_id="get_webhook",
    tags=["webhooks"],
    responses=documented({200: (WebhookDetail, "The webhook.")}, 404),
)
def get_webhook(ports: Needs, hook_id: HookId) -> Response[str]:
    """A webhook, and the state of its secrets."""
    hook, agent, trigger = keys.find(ports, hook_id)
    state = ports.store.read(agent.id)[1]
    view = _view(agent, state, trigger)
    return json_answer(
        WebhookDetail(
            **view.model_dump(), secret_version=hook.version, previous_secret_until=_still(ports, hook.previous_until)
        )
    )


@router.get(
    f"{WEBHOOKS}/<hook_id>/secret",
    summary="Show a webhook's secret",
    description="The one that was made here, for setting up the sender. One that was supplied is never shown.",
    operation_id="get_webhook_secret",
    tags=["webhooks"],
    responses=documented({200: (WebhookSecret, "The secret.")}, 404, 409),
)
def get_webhook_secret(ports: Needs, hook_id: HookId) -> Response[str]:
    """The secret that the sender must sign with."""
    hook, _, trigger = keys.find(ports, hook_id)
    return _secret(ports, hook, keys.secret(ports, hook, trigger.webhook))


@router.post(
    f"{WEBHOOKS}/<hook_id>/rotate-secret",
    summary="Replace a webhook's secret",
    description="The new one is accepted at once, and the one before for the overlap. One before that no more.",
    operation_id="rotate_webhook_secret",
    tags=["webhooks"],
    responses=documented({200: (WebhookSecret, "The new secret.")}, 404, 409),
)
def rotate_webhook_secret(
    ports: Needs, hook_id: HookId, body: Annotated[RotationRequest | None, Body()] = None
) -> Response[str]:
    """Make a new secret."""
    overlap = timedelta(seconds=(body or RotationRequest()).overlap_seconds)
    return _secret(ports, *keys.rotate(ports, hook_id, overlap))


@router.post(
    f"{EXECUTIONS}/<execution_id>/replay",
    summary="Fire again what came from outside",
    description=(
        "The delivery, event or manual call that an execution records, as a new firing that names the first. With an "
        "Idempotency-Key, the same request again is answered 200."
    ),
    operation_id="replay_execution",
    tags=["executions"],
    responses=documented(
        {
            200: (ExecutionView, "The execution that the same key had before."),
            202: (ExecutionView, "The new execution, durable."),
        },
        404,
        409,
        429,
        headers={"Location": "Where the execution is read."},
    ),
)
def replay_execution(ports: Needs, execution_id: ExecutionId, idempotency_key: IdempotencyKey = None) -> Response[str]:
    """Fire again what an execution was the record of."""
    admitted = replay(ports, execution_id, idempotency_key=idempotency_key)
    view = ExecutionView.of(admitted.execution, ports.blobs)
    return json_answer(view, 200 if admitted.duplicate else 202, {"Location": f"{EXECUTIONS}/{view.id}"})


def _views(agent: Agent, state: AgentState) -> Iterator[WebhookView]:
    for trigger in agent.document.triggers:
        if isinstance(trigger, WebhookTrigger):
            yield _view(agent, state, trigger)


def _view(agent: Agent, state: AgentState, trigger: WebhookTrigger) -> WebhookView:
    id_ = id_of(agent.id, trigger.name)
    webhook = trigger.webhook
    return WebhookView(
        hook_id=id_,
        agent=agent.name,
        agent_id=agent.id,
        trigger=trigger.name,
        signature=webhook.signature,
        path=f"{WEBHOOKS}/{id_}",
        secret_source="none" if webhook.signature == "none" else "supplied" if webhook.secret else "made",
        status=state.status,
        rate_limit_per_minute=webhook.rate_limit_per_minute,
    )


def _secret(ports: Ports, hook: Hook, secret: str) -> Response[str]:
    until = _still(ports, hook.previous_until)
    return json_answer(WebhookSecret(secret=secret, version=hook.version, previous_until=until))


def _still(ports: Ports, until: Instant | None) -> Instant | None:
    return until if until is not None and until > ports.now() else None
