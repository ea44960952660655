"""JSON Schemas of what users write: the agent document in a request, a merge patch of it, and agents.yaml."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, StringConstraints
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from overnight.agents import AgentDocument, LangflowApiFlow, PythonFlow
from overnight.schedules import CronTrigger, DateTrigger, IntervalTrigger, Name
from overnight.words import Deferred, Word

__all__ = ["AgentRequest", "AgentsFile", "AsPatchOf", "AsSchemaOf", "schema"]


class LangflowUpload(Word):
    """A Langflow flow: its JSON as exported, or the digest (SHA-256, hex) of one that was sent before."""

    langflow: Annotated[
        dict[str, Any] | Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")],
        Field(description="The flow's JSON as Langflow exports it, or the digest of one that was sent before."),
    ]
    name: str | None = Field(default=None, description="What it is called; its own name if not given.")


class ShortCron(CronTrigger):
    """A cron schedule, for an agent with this one trigger."""

    name: Name = "schedule"


class ShortInterval(IntervalTrigger):
    """An interval, for an agent with this one trigger."""

    name: Name = "schedule"


class ShortDate(DateTrigger):
    """A date, for an agent with this one trigger."""

    name: Name = "schedule"


class AgentRequest(AgentDocument):
    """What a user says an agent is."""

    flow: PythonFlow | LangflowUpload | LangflowApiFlow = Field(description="What runs.")  # type: ignore[assignment]
    schedule: ShortCron | ShortInterval | ShortDate | None = Field(
        default=None, description="Short for one trigger named `schedule`."
    )


PathOrFlow = (
    Annotated[str, Field(description="The path of a flow's JSON, relative to this file.")]
    | PythonFlow
    | LangflowUpload
    | LangflowApiFlow
)


class DeclaredAgent(AgentRequest):
    """What a user says an agent is, in agents.yaml."""

    flow: PathOrFlow = Field(  # type: ignore[assignment]
        description="What runs: the path of a flow's JSON, relative to the file, or an object."
    )
    enabled: bool = Field(default=True, description="Whether it is created ACTIVE; otherwise STOPPED.")


class AgentsFile(Deferred):
    """Agents, declared."""

    model_config = ConfigDict(extra="forbid", title="agents.yaml")

    agents: list[DeclaredAgent]


class AsSchemaOf:
    """Let a parameter that takes any object be documented as this model; the route validates by other means."""

    def __init__(self, model: type[BaseModel]) -> None:
        self.model = model

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The model's schema."""
        return handler(self.model.__pydantic_core_schema__)


class AsPatchOf(AsSchemaOf):
    """The same for a merge patch (RFC 7396) of this model: every field may be left out, or null for its default."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The model's schema with nothing required."""
        whole = handler.resolve_ref_schema(super().__get_pydantic_json_schema__(core_schema, handler))
        return {
            "type": "object",
            "description": "The fields to change (RFC 7396): null puts back the default.",
            "properties": {name: _nullable(field) for name, field in whole["properties"].items()},
            "additionalProperties": False,
        }


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of agents.yaml."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:overnight:schema:agents",
        **AgentsFile.model_json_schema(),
    }


def _nullable(field: JsonSchemaValue) -> JsonSchemaValue:
    value = {key: part for key, part in field.items() if key != "default"}
    return {"anyOf": [value, {"type": "null"}]}
