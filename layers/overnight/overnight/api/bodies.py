"""Request bodies: JSON objects in UTF-8, of a bounded size, read the same whichever engine carries them."""

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.event_handler.middlewares.openapi_validation import OpenAPIRequestValidationMiddleware
from aws_lambda_powertools.event_handler.types import EventHandlerInstance

from overnight.api.front_door import is_front_door
from overnight.api.problems import Malformed, TooLarge, UnsupportedMediaType
from overnight.core.webhooks.receive import LIMIT_BYTES as DELIVERY_LIMIT_BYTES
from overnight.errors import Invalid

__all__ = ["DELIVERY_LIMIT_BYTES", "FLOW_LIMIT_BYTES", "LIMIT_BYTES", "JsonBodies", "limit_bytes", "parse"]

LIMIT_BYTES = 1024 * 1024
FLOW_LIMIT_BYTES = 10 * 1024 * 1024
"""Where a flow's JSON comes with the agent's document. API Gateway takes 10 MB, too."""

MEDIA_TYPES = frozenset({"application/json", "application/merge-patch+json"})

_CARRIES_FLOWS = re.compile(r"/api/v1/background_agents(/[^/]+)?|/api/background/tasks")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def limit_bytes(path: str) -> int:
    """How large a body may be on that path, in bytes."""
    if is_front_door("POST", path):
        return DELIVERY_LIMIT_BYTES
    return FLOW_LIMIT_BYTES if _CARRIES_FLOWS.fullmatch(path) else LIMIT_BYTES


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object that the bytes say.

    Stricter than `json`: UTF-8 only, no NaN, no lone surrogates, because no store could give those back.
    Raises Malformed; Invalid when it is JSON, but no object.
    """
    try:
        text = body.decode()
        value = json.loads(text, parse_constant=_refuse_constant)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeError as error:
        raise Malformed("the body is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise Malformed(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Malformed(f"the body is not JSON that can be kept: {reason}") from error
    if not isinstance(value, dict):
        raise Invalid.field("", "the body must be a JSON object")
    return value


class JsonBodies(OpenAPIRequestValidationMiddleware):
    """Powertools' validation of requests, with bodies read by `parse`, and forms and file uploads refused."""

    def _get_body(self, app: EventHandlerInstance) -> dict[str, Any]:
        event = app.current_event
        body = _bytes(event.body, encoded=event.is_base64_encoded)
        if len(body) > (limit := limit_bytes(event.path)):
            raise TooLarge(limit)
        if not body.strip():
            return None  # type: ignore[return-value]  # no body: whether that will do is the route's to say
        media_type = _media_type(event.headers)
        if media_type not in MEDIA_TYPES:
            raise UnsupportedMediaType(media_type)
        return parse(body)


def _bytes(body: str | None, *, encoded: bool | None) -> bytes:
    return base64.b64decode(body or "") if encoded else (body or "").encode()


def _media_type(headers: Mapping[str, str]) -> str:
    """What the sender calls it; JSON where it says nothing."""
    return (headers.get("content-type") or "application/json").partition(";")[0].strip().lower()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")
