"""What users write, for its JSON Schema alone: the agent document in a request, and agents.yaml."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints

from overnight.agents import AgentDocument, LangflowApiFlow, PythonFlow
from overnight.schedules import CronTrigger, DateTrigger, IntervalTrigger, Name
from overnight.words import Deferred, Word

__all__ = ["AgentRequest", "AgentsFile", "schema"]


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


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of agents.yaml."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:overnight:schema:agents",
        **AgentsFile.model_json_schema(),
    }
