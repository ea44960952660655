"""Secrets of the engine's own store: set and forgotten here, never read back."""

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Path
from pydantic import AfterValidator, ConfigDict, Field

from overnight.api.answers import documented, empty, json_answer
from overnight.api.parameters import Needs
from overnight.api.routing import new_router
from overnight.api.views import View
from overnight.words import Name

__all__ = ["router"]

SECRETS = "/api/v1/secrets"
LONGEST_BYTES = 4_096
"""What a standard parameter of SSM holds; the same everywhere, so that an agent can move."""

router = new_router()


def _short_enough(value: str) -> str:
    if len(value.encode()) > LONGEST_BYTES:
        raise ValueError(f"may have at most {LONGEST_BYTES:,} bytes in UTF-8")
    return value


class SecretRequest(View):
    """A secret's value."""

    model_config = ConfigDict(json_schema_extra={"example": {"value": "sk-…"}})

    value: Annotated[str, Field(min_length=1, max_length=LONGEST_BYTES, repr=False), AfterValidator(_short_enough)]


class SecretView(View):
    """A secret, by its name only."""

    name: str


class SecretList(View):
    """The names of all secrets."""

    items: list[SecretView]


SecretName = Annotated[Name, Path(description="What `secret:NAME` in an agent's document refers to.")]


@router.get(
    SECRETS,
    summary="List the names of secrets",
    operation_id="list_secrets",
    tags=["secrets"],
    responses=documented({200: (SecretList, "The names; values are never shown.")}),
)
def list_secrets(ports: Needs) -> Response[str]:
    """The names of the engine's own secrets."""
    return json_answer(SecretList(items=[SecretView(name=name) for name in sorted(ports.secrets.names())]))


@router.put(
    f"{SECRETS}/<name>",
    summary="Set a secret",
    description="Runs see the new value within 5 minutes.",
    operation_id="set_secret",
    tags=["secrets"],
    responses=documented({204: (None, "It is kept.")}),
)
def set_secret(ports: Needs, name: SecretName, secret: Annotated[SecretRequest, Body()]) -> Response[str]:
    """Keep a secret, or overwrite it."""
    ports.secrets.set(name, secret.value)
    return empty()


@router.delete(
    f"{SECRETS}/<name>",
    summary="Forget a secret",
    operation_id="delete_secret",
    tags=["secrets"],
    responses=documented({204: (None, "It is gone.")}, 404),
)
def delete_secret(ports: Needs, name: SecretName) -> Response[str]:
    """Forget a secret."""
    ports.secrets.delete(name)
    return empty()
