"""Health, and the JSON Schema of agents.yaml: what is asked of the engine itself."""

import json
from functools import cache
from importlib.metadata import version
from typing import Literal

from aws_lambda_powertools.event_handler import Response
from pydantic import ConfigDict

from overnight.api.answers import documented, json_answer
from overnight.api.parameters import Needs
from overnight.api.routing import new_router
from overnight.api.views import View
from overnight.words import Deferred

__all__ = ["HEALTH", "router"]

HEALTH = "/health"

router = new_router()


class Health(View):
    """The engine answers, and so does its store."""

    status: Literal["ok"] = "ok"
    version: str


class JsonSchema(Deferred):
    """A JSON Schema, 2020-12."""

    model_config = ConfigDict(extra="allow")


@router.get(
    HEALTH,
    summary="Whether the engine and its store answer",
    operation_id="health",
    tags=["engine"],
    responses=documented({200: (Health, "They do.")}),
)
def health(ports: Needs) -> Response[str]:
    """Whether the engine and its store answer; never needs a token."""
    ports.store.healthy()
    return json_answer(Health(version=_version()))


@router.get(
    "/api/v1/schema/agents",
    summary="The JSON Schema of agents.yaml",
    operation_id="get_agents_schema",
    tags=["engine"],
    responses=documented({200: (JsonSchema, "The schema, for editors and CI.")}),
)
def get_agents_schema() -> Response[str]:
    """The JSON Schema of agents.yaml."""
    return Response(200, content_type="application/json", body=_schema())


@cache
def _version() -> str:
    return version("overnight")


@cache
def _schema() -> str:
    from overnight.api.schemas import schema  # noqa: PLC0415 - seldom asked for

    return json.dumps(schema(), indent=2)
