"""Notifications: whom an agent tells, with what secret, and how that went."""

from typing import Annotated, Literal

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Query
from pydantic import Field

from overnight.api.agent_views import living
from overnight.api.agents import AGENTS
from overnight.api.answers import documented, json_answer
from overnight.api.parameters import AgentRef, Needs
from overnight.api.routing import new_router
from overnight.api.views import View
from overnight.core.notify import muted, secret
from overnight.policies import Telling
from overnight.ports import Delivery
from overnight.words import Instant

__all__ = ["router"]

router = new_router()


class DeliveryView(View):
    """A notification on its way, or at its end."""

    id: str
    execution_id: str
    url: str
    status: Literal["pending", "delivered", "failed"]
    tries: int
    error: str | None = Field(description="What came of the last try, if it failed.")
    created_at: Instant
    due: Instant | None = Field(description="When it is tried next.")

    @classmethod
    def of(cls, delivery: Delivery) -> "DeliveryView":
        """The view of a kept delivery."""
        return cls.model_validate({name: getattr(delivery, name) for name in cls.model_fields})


class NotificationsView(View):
    """Whom an agent tells."""

    url: str | None = Field(description="Null when it tells nobody.")
    on: list[Telling]
    gone: bool = Field(description="The receiver answered 410; it is not notified any more until the agent is edited.")
    secret: str = Field(description="Verifies its notifications, by Standard Webhooks.")
    deliveries: list[DeliveryView] = Field(description="Newest first.")


@router.get(
    f"{AGENTS}/<agent>/notifications",
    summary="An agent's notifications",
    operation_id="get_notifications",
    tags=["agents"],
    responses=documented({200: (NotificationsView, "Whom it tells, and how that went.")}, 404),
)
def get_notifications(
    ports: Needs,
    agent: AgentRef,
    limit: Annotated[int, Query(ge=1, le=200, description="How many deliveries to list at most.")] = 50,
) -> Response[str]:
    """Whom an agent tells, the secret that its receiver needs, and the deliveries."""
    stored, state = living(ports, agent)
    notify = stored.document.notify
    return json_answer(
        NotificationsView(
            url=notify.url if notify else None,
            on=list(notify.on) if notify else [],
            gone=notify is not None and muted(stored, state, notify.url),
            secret=secret(ports, stored.id),
            deliveries=[DeliveryView.of(delivery) for delivery in ports.store.deliveries(stored.id, limit)],
        )
    )
