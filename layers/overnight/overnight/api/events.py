"""Events: something happened; whoever subscribes to it runs."""

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Path
from pydantic import ConfigDict, Field, JsonValue

from overnight.api.answers import Documented, documented, json_answer
from overnight.api.parameters import Needs
from overnight.api.routing import new_router
from overnight.api.views import View
from overnight.core import events
from overnight.ports import Ports
from overnight.words import Deferred

__all__ = ["router"]

router = new_router()

EventId = Annotated[
    str | None,
    Field(min_length=1, max_length=256, description="The same id is the same event; made up where it lacks."),
]


class NamedEvent(View):
    """An event whose name stands in the path."""

    model_config = ConfigDict(json_schema_extra={"example": {"data": {"size": 7}}})

    id: EventId = None
    data: JsonValue = None


class EventRequest(NamedEvent):
    """An event."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"name": "dataset.created", "data": {"size": 7}}}
    )

    name: str = Field(description="Words joined by dots; agents subscribe to it, or to all names that begin alike.")


class SentView(Deferred):
    """What became of an event."""

    event_id: str
    execution_ids: list[str] = Field(description="One for each agent that subscribes to it.")
    duplicate: bool = Field(description="Whether an event of that id had come before.")


def _sent() -> Documented:
    return documented(
        {200: (SentView, "An event of that id had come before."), 202: (SentView, "The event, durable.")}, 429
    )


@router.post(
    "/api/v1/events",
    summary="Send an event",
    operation_id="send_event",
    tags=["events"],
    responses=_sent(),
)
def send_event(ports: Needs, event: Annotated[EventRequest, Body()]) -> Response[str]:
    """Send an event to whoever subscribes to it."""
    return _send(ports, event.name, event)


@router.post(
    "/api/background/triggers/<name>",
    summary="Send an event by its name",
    operation_id="fire_trigger",
    tags=["tasks"],
    responses=_sent(),
)
def send_named_event(
    ports: Needs,
    name: Annotated[str, Path(description="The event's name.")],
    event: Annotated[NamedEvent | None, Body()] = None,
) -> Response[str]:
    """Send an event whose name stands in the path."""
    return _send(ports, name, event or NamedEvent())


def _send(ports: Ports, name: str, event: NamedEvent) -> Response[str]:
    sent = events.send(ports, name, event.data, event_id=event.id)
    view = SentView(event_id=sent.event.id, execution_ids=list(sent.execution_ids), duplicate=sent.duplicate)
    return json_answer(view, 200 if sent.duplicate else 202)
