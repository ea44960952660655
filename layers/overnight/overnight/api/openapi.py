"""The OpenAPI document: what Powertools knows of the routes, and every refusal that any route may answer besides."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from aws_lambda_powertools.event_handler import ApiGatewayResolver

from overnight.api.bodies import DELIVERY_LIMIT_BYTES, FLOW_LIMIT_BYTES, LIMIT_BYTES
from overnight.api.front_door import is_front_door
from overnight.api.health import HEALTH
from overnight.api.problems import MEDIA_TYPE

__all__ = ["document"]

MIB = 1024 * 1024
DESCRIPTION = f"""\
Keeps AI agents working when nobody is watching.

Everything is JSON in UTF-8, in snake_case; instants are RFC 3339 in UTC. A list is `items` and a `cursor`, which asks
for the next page and is null at the end. Query parameters that are not known are ignored; fields of a body that are
not known are refused. A body may have {LIMIT_BYTES // MIB} MiB, an agent's document {FLOW_LIMIT_BYTES // MIB} MiB,
because it may carry a flow, a delivery {DELIVERY_LIMIT_BYTES // 1024} KiB.

Errors are `application/problem+json` (RFC 9457): `code` is for programs, `detail` for people, and `errors` names every
invalid field.
"""
TAGS = {
    "agents": "Named units of background work.",
    "executions": "The durable records of accepted firings.",
    "events": "What agents may subscribe to.",
    "schedules": "Triggers that follow the clock.",
    "webhooks": "Addresses to which senders post signed deliveries.",
    "secrets": "What `secret:NAME` refers to.",
    "verify": "The proof that nothing was lost.",
    "engine": "The engine itself.",
    "tasks": "The same under other names: a task is an agent, a run is an execution.",
}
ANY = {
    400: ("Malformed", "The request can't be read."),
    403: ("Forbidden", "From a web page of another origin, or by a name that is not this server's."),
    422: ("Invalid", "A parameter, header or field is invalid: `errors` names every one."),
    500: ("Failed", "An error of the server: its log has it under the id in `instance`."),
    503: ("Unavailable", "A part that is needed does not answer: try again after Retry-After."),
}
WITH_PATH = {404: ("NotFound", "There is nothing of that id or name.")}
WITH_TOKEN = {401: ("Unauthorized", "The token is missing or wrong.")}
WITH_BODY = {413: ("TooLarge", "The body is too large."), 415: ("UnsupportedMediaType", "The body is not JSON.")}
HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    503: {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}},
}
METHODS = ("get", "post", "put", "patch", "delete")
OF_POWERTOOLS = ("HTTPValidationError", "ValidationError", "ResponseValidationError")


def document(resolver: ApiGatewayResolver, *, token: bool) -> dict[str, Any]:
    """The OpenAPI 3.1 document of a mounted resolver; the same routes always give the same document.

    Args:
        resolver: what `app.mount` gave.
        token: whether the server asks for one.
    """
    said: dict[str, Any] = json.loads(
        resolver.get_openapi_json_schema(title="Overnight", version=version("overnight"), description=DESCRIPTION)
    )
    for name in OF_POWERTOOLS:
        said["components"]["schemas"].pop(name, None)
    said["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    said["components"]["responses"] = {
        name: _refusal(status, text)
        for status, (name, text) in sorted((ANY | WITH_PATH | WITH_TOKEN | WITH_BODY).items())
    }
    if token:
        said["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        said["security"] = [{"bearer": []}]
    said["paths"] = {
        path: {method: operations[method] for method in METHODS if method in operations}
        for path, operations in sorted(said["paths"].items())
    }
    for path, operations in said["paths"].items():
        for method, operation in operations.items():
            front_door = is_front_door(method.upper(), path)
            public = front_door or path == HEALTH
            _complete(
                operation,
                ANY
                | (WITH_PATH if "{" in path and not front_door else {})
                | (WITH_TOKEN if token and not public else {})
                | (WITH_BODY if "requestBody" in operation else {}),
            )
            if token and public:
                operation["security"] = []
    return said


def _complete(operation: dict[str, Any], refusals: Mapping[int, tuple[str, str]]) -> None:
    """Add how the route may refuse, and write headers as usual."""
    responses = operation["responses"]
    for status, (name, _) in refusals.items():
        responses[str(status)] = {"$ref": f"#/components/responses/{name}"}
    operation["responses"] = dict(sorted(responses.items()))
    for content in operation.get("requestBody", {}).get("content", {}).values():
        content["schema"] = _said_or_left_out(content["schema"])
    for parameter in operation.get("parameters", []):
        parameter["schema"] = _said_or_left_out(parameter["schema"])
        if parameter["in"] == "header":
            parameter["name"] = parameter["name"].title()


def _said_or_left_out(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter or a body is left out, never null; what describes it stands beside its schema."""
    kept = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    if not kept:
        return {key: value for key, value in schema.items() if key not in {"description", "title"}}
    rest = {key: value for key, value in schema.items() if key not in {"anyOf", "description", "title"}}
    return {**kept[0], **rest} if len(kept) == 1 else {**rest, "anyOf": kept}


def _refusal(status: int, text: str) -> dict[str, Any]:
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": text, "headers": HEADERS.get(status, {}), "content": problem}
