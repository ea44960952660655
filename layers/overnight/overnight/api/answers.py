"""Answers: a view as JSON with its status, and how OpenAPI is told of it."""

from collections.abc import Mapping
from types import UnionType
from typing import Any

from aws_lambda_powertools.event_handler import Response
from pydantic import BaseModel

from overnight.api.problems import MEDIA_TYPE, Problem

__all__ = ["Documented", "documented", "empty", "json_answer"]

Documented = dict[int, Any]

REFUSALS = {
    401: "Not signed as it must be, or there is no such address; nobody outside is told which.",
    404: "There is no such thing.",
    409: "Not possible in the present state; `code` says why.",
    412: "It was changed since it was read.",
    413: "The body is too large.",
    429: "Too many are waiting, or came in this minute: try again after Retry-After.",
}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}


def json_answer(view: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response[str]:
    """The view as JSON: already a string, so that Powertools serialises nothing again."""
    return Response(
        status_code=status, content_type="application/json", body=view.model_dump_json(by_alias=True), headers=headers
    )


def empty() -> Response[str]:
    """Done; there is nothing to say."""
    return Response(status_code=204, body="")


def documented(
    answers: Mapping[int, tuple[type[BaseModel] | UnionType | None, str]],
    *refusals: int,
    headers: Mapping[str, str] | None = None,
) -> Documented:
    """The answers of a route for OpenAPI; what any route may answer besides is added in `openapi.py`.

    Args:
        answers: model and description by status.
        refusals: statuses of REFUSALS.
        headers: description by name, of all the answers.
    """
    said: Documented = {}
    for status, (model, description) in answers.items():
        said[status] = {"description": description, "content": {"application/json": {"model": model}} if model else {}}
        if headers:
            said[status]["headers"] = {
                name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
            }
    for status in refusals:
        said[status] = {"description": REFUSALS[status], "content": {MEDIA_TYPE: {"model": Problem}}}
        if status == 429:  # noqa: PLR2004 - the status itself
            said[status]["headers"] = _RETRY_AFTER
    return said
