"""The public front door: senders post their webhooks here, let in by their signature and not by the server's token."""

import base64
import re
from typing import Annotated, Any

from aws_lambda_powertools.event_handler import Depends, Request, Response
from aws_lambda_powertools.event_handler.openapi.params import Path
from pydantic import ConfigDict, Field, JsonValue, RootModel

from overnight.api.answers import documented, json_answer
from overnight.api.parameters import Needs
from overnight.api.problems import TooLarge
from overnight.api.routing import new_router
from overnight.api.views import View
from overnight.core.webhooks.receive import LIMIT_BYTES, receive
from overnight.core.webhooks.schemes import Delivery

__all__ = ["FRONT_DOOR", "HookId", "is_front_door", "router"]

FRONT_DOOR = "/api/v1/webhooks/<hook_id>"
_FRONT_DOOR = re.compile(r"/api/v1/webhooks/[^/]+")

router = new_router()

HookId = Annotated[str, Path(description="A webhook's id: 32 hex digits.")]


def is_front_door(method: str, path: str) -> bool:
    """Whether a request is a delivery, which brings no token of the server."""
    return method == "POST" and _FRONT_DOOR.fullmatch(path) is not None


class Kept(View):
    """A delivery that is durable."""

    execution_id: str = Field(description="The execution that the delivery became, or had become before.")


class HandshakeAnswer(RootModel[dict[str, JsonValue]]):
    """The answer to GitHub's `ping` or Slack's `url_verification`."""

    model_config = ConfigDict(defer_build=True)


def _delivery(request: Request) -> Delivery:
    """The request as it came: the very bytes that were signed. Raises TooLarge."""
    event = request.resolved_event
    body = event.body or ""
    content = base64.b64decode(body) if event.is_base64_encoded else body.encode()
    if len(content) > LIMIT_BYTES:
        raise TooLarge(LIMIT_BYTES)
    query: dict[str, Any] = event.resolved_query_string_parameters or {}
    return Delivery(
        headers={name.lower(): value for name, value in (event.headers or {}).items()},
        body=content,
        query={name: [values] if isinstance(values, str) else list(values) for name, values in query.items()},
    )


@router.post(
    FRONT_DOOR,
    summary="Deliver a webhook",
    description=(
        "Signed as the trigger asks for; the body is whatever the sender sends, up to 256 KiB. It is durable before it "
        "is answered 202. Every refusal before the signature is verified is the same 401."
    ),
    operation_id="deliver_webhook",
    tags=["webhooks"],
    responses=documented(
        {
            200: (Kept | HandshakeAnswer, "It came before, or only asks whether somebody is there."),
            202: (Kept, "It is kept, and runs."),
        },
        401,
        404,
        409,
        413,
        429,
    ),
)
def deliver_webhook(ports: Needs, hook_id: HookId, delivery: Annotated[Delivery, Depends(_delivery)]) -> Response[str]:
    """Take a delivery in."""
    received = receive(ports, hook_id, delivery)
    if received.execution is None:
        return json_answer(HandshakeAnswer(received.answer or {}))
    return json_answer(Kept(execution_id=received.execution.id), 200 if received.duplicate else 202)
