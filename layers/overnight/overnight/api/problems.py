"""What a refused request is answered: `application/problem+json` (RFC 9457), with every invalid field named.

OvernightError, as its class says    401 (of webhooks), 404, 409, 412, 422, 429, 503
Refused: what only HTTP knows        400, 401, 403, 405, 413, 415
anything else                        500 with the request's id, and the error in the log; never a stack trace
"""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, get_args

from aws_lambda_powertools.event_handler import Response
from pydantic import ConfigDict, Field

from overnight.agents import Reference
from overnight.api.parameters import ETAG, KEY
from overnight.api.views import View
from overnight.calendar.errors import CalendarError
from overnight.calendar.fields import FIELDS
from overnight.errors import (
    Conflict,
    EditConflict,
    Invalid,
    LineFull,
    NotFound,
    OvernightError,
    RateLimited,
    Unavailable,
    Unverified,
)
from overnight.errors import Problem as InvalidField
from overnight.words import Name

__all__ = [
    "MEDIA_TYPE",
    "FieldProblem",
    "Forbidden",
    "Malformed",
    "MethodNotAllowed",
    "Problem",
    "Refused",
    "RouteNotFound",
    "TooLarge",
    "Unauthorized",
    "UnsupportedMediaType",
    "answer",
    "describe",
    "headers_of",
    "invalid",
    "problem_of",
]

log = logging.getLogger("overnight.api")

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5
"""When a part that is needed does not answer."""


class FieldProblem(View):
    """One invalid field: where it stands, and what is wrong with it."""

    field: str = Field(description="Dotted path into the body, or the name of a parameter or header; may be empty.")
    message: str


class Problem(View):
    """Why a request was refused (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:overnight:error:agent_not_found",
                "title": "Agent not found",
                "status": 404,
                "detail": "there is no agent 'daily-report'",
                "code": "agent_not_found",
                "errors": [],
            }
        },
    )

    type: str = Field(description="`urn:overnight:error:` and the code.")
    title: str
    status: int
    detail: str
    code: str = Field(description="A stable word for programs.")
    errors: list[FieldProblem] = Field(default_factory=list, description="Every invalid field, where any is to blame.")
    instance: str | None = Field(default=None, description="For a 500: `urn:overnight:request:` and the request's id.")


class Refused(OvernightError):
    """A request that is refused for what only HTTP knows of it."""

    code = "refused"
    status: ClassVar[HTTPStatus] = HTTPStatus.BAD_REQUEST


class Malformed(Refused):
    """What was sent is not HTTP or JSON that can be read."""

    code = "malformed"


class Unauthorized(Refused):
    """The token is missing or wrong."""

    code = "unauthorized"
    status = HTTPStatus.UNAUTHORIZED

    def __init__(self, challenge: str = 'Bearer realm="overnight"') -> None:
        self.challenge = challenge
        super().__init__("send the header Authorization: Bearer and the server's token (OVERNIGHT_API_TOKEN)")


class Forbidden(Refused):
    """Well formed, but not from there."""

    code = "forbidden"
    status = HTTPStatus.FORBIDDEN


class RouteNotFound(Refused):
    """There is nothing at that path."""

    code = "not_found"
    status = HTTPStatus.NOT_FOUND

    def __init__(self, path: str) -> None:
        super().__init__(f"there is nothing at {path}; /openapi.json lists what there is")


class MethodNotAllowed(Refused):
    """The path is known, but not with that method."""

    code = "method_not_allowed"
    status = HTTPStatus.METHOD_NOT_ALLOWED

    def __init__(self, method: str, path: str, allowed: Sequence[str]) -> None:
        self.allowed = tuple(allowed)
        super().__init__(f"{path} takes {', '.join(self.allowed)}, not {method}")


class TooLarge(Refused):
    """The body is larger than the route takes."""

    code = "too_large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the body may have at most {limit_bytes:,} bytes here")


class UnsupportedMediaType(Refused):
    """The body is not JSON."""

    code = "unsupported_media_type"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE

    def __init__(self, media_type: str) -> None:
        super().__init__(f"send the body as Content-Type: application/json, not {media_type}")


_STATUS: Mapping[type[OvernightError], HTTPStatus] = {
    Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    EditConflict: HTTPStatus.PRECONDITION_FAILED,
    LineFull: HTTPStatus.TOO_MANY_REQUESTS,
    RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    Unverified: HTTPStatus.UNAUTHORIZED,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}


def problem_of(error: Exception, request_id: str) -> Problem:
    """The problem document of an error; what nobody foresaw is logged, with the request's id, and told in no detail."""
    status = _status(error)
    if not isinstance(error, OvernightError) or status is HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("request %s failed", request_id, exc_info=error, extra={"request_id": request_id})
        return Problem(
            **_kind("internal"),
            status=HTTPStatus.INTERNAL_SERVER_ERROR,
            detail="something went wrong here; the server's log has it under the request's id",
            instance=f"urn:overnight:request:{request_id}",
        )
    fields = error.problems if isinstance(error, Invalid) else ()
    return Problem(
        **_kind(error.code),
        status=status,
        detail=str(error),
        errors=[FieldProblem(field=problem.field, message=problem.message) for problem in fields],
    )


def headers_of(error: Exception) -> dict[str, str]:
    """The headers that belong to the refusal: Allow, Retry-After, WWW-Authenticate."""
    match error:
        case MethodNotAllowed():
            return {"Allow": ", ".join(error.allowed)}
        case LineFull() | RateLimited():
            return {"Retry-After": str(error.retry_after_seconds)}
        case Unavailable():
            return {"Retry-After": str(RETRY_AFTER_SECONDS)}
        case Unverified():
            return {"WWW-Authenticate": "Signature"}
        case Unauthorized():
            return {"WWW-Authenticate": error.challenge}
    return {}


def answer(error: Exception, request_id: str) -> Response[str]:
    """The whole answer to a request that ended in this error."""
    problem = problem_of(error, request_id)
    return Response(
        status_code=problem.status,
        content_type=MEDIA_TYPE,
        body=problem.model_dump_json(exclude_none=True),
        headers=headers_of(error),
    )


def invalid(errors: Sequence[Mapping[str, Any]]) -> Invalid:
    """What pydantic found wrong, as the error that names every field."""
    return Invalid(describe(error["loc"], error) for error in errors)


def describe(loc: Sequence[int | str], error: Mapping[str, Any]) -> InvalidField:
    """One finding of pydantic in our words; the calendar's own errors know their field and reason."""
    context = error.get("ctx", {})
    cause = context.get("error")
    message = _MESSAGES.get(error["type"]) or _PATTERNS.get(context.get("pattern")) or error["msg"]
    path, message = [*map(str, loc)], message.removeprefix("Value error, ")
    if isinstance(cause, CalendarError):
        in_cron = cause.field in CRON_FIELDS
        field, message = ("cron", str(cause)) if in_cron else (cause.field, cause.reason)
        if path[-1:] != [field]:
            path.append(field)
    return InvalidField(".".join(path), message)


CRON_FIELDS = frozenset(field.name for field in FIELDS)
_MESSAGES = {"missing": "is required", "extra_forbidden": "is not a field that is known here"}
_PATTERNS = {
    ETAG: 'must be the ETag of an answer, such as "3", quotes included, or *',
    KEY: "must be 1 to 255 printable ASCII characters",
    get_args(Name)[1].pattern: "must be 1 to 64 letters, digits, - and _, the first a letter or a digit",
    get_args(Reference)[1].pattern: "must say where the value is kept: secret:name, env:NAME; values don't belong here",
}


def _status(error: Exception) -> HTTPStatus:
    if isinstance(error, Refused):
        return error.status
    for kind in type(error).__mro__:
        if kind in _STATUS:
            return _STATUS[kind]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def _kind(code: str) -> dict[str, str]:
    return {"type": f"urn:overnight:error:{code}", "title": code.replace("_", " ").capitalize(), "code": code}
