"""What requests say beside their body: path, query and headers, each with its limits."""

from typing import Annotated

from aws_lambda_powertools.event_handler import Depends, Request
from aws_lambda_powertools.event_handler.openapi.params import Header, Path, Query

from overnight.ports import Ports
from overnight.schedules import Instant as When

__all__ = [
    "ETAG",
    "KEY",
    "AgentRef",
    "Cursor",
    "DryRun",
    "ExecutionId",
    "IdempotencyKey",
    "IfMatch",
    "Limit",
    "Needs",
    "Since",
    "Until",
    "version_of",
]

ETAG = r'^("[0-9]{1,12}"|\*)$'
KEY = r"^[\x20-\x7e]{1,255}$"


def _ports(request: Request) -> Ports:
    ports: Ports = request.context["ports"]
    return ports


Needs = Annotated[Ports, Depends(_ports)]
"""The ports of the engine that this request came to."""

AgentRef = Annotated[str, Path(description="An agent's id or name.")]
ExecutionId = Annotated[str, Path(description="An execution's id: 32 hex digits.")]
Limit = Annotated[int, Query(ge=1, le=200, description="How many to list at most.")]
Cursor = Annotated[
    str | None, Query(max_length=2_048, description="Where to go on: the `cursor` of the answer before.")
]
Since = Annotated[When | None, Query(description="From this moment on, inclusive: RFC 3339.")]
Until = Annotated[When | None, Query(description="Up to this moment, exclusive: RFC 3339.")]
DryRun = Annotated[bool, Query(description="Only say what would be done.")]
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        pattern=ETAG,
        description="The ETag that was read: another version by now is answered 412.",
        openapi_examples={"read": {"value": '"3"'}},
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=KEY,
        description="1 to 255 printable ASCII characters: the same key never runs twice; kept as long as the record.",
    ),
]


def version_of(if_match: str | None) -> int | None:
    """The version that an If-Match header asks for; None where any will do."""
    return None if if_match is None or if_match == "*" else int(if_match.strip('"'))
