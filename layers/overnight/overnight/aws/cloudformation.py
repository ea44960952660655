"""Custom resources: what CloudFormation asks of the `declare` function, and what it is answered.

    Custom::OvernightAgent       one declared agent; its schedules are resources of their own that depend on it
    Custom::OvernightDeployment  once a stack: the master key, and all that every deployment arms anew

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html. A deletion never fails: what it leaves
behind is history, and a stack that can't be deleted helps nobody.
"""

import hashlib
import json
import urllib.request
from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from overnight.agents import Agent, AgentDocument
from overnight.calendar.eventbridge import expressions
from overnight.core import declare
from overnight.errors import Invalid
from overnight.ports import Ports

__all__ = ["AGENT", "DEPLOYMENT", "Properties", "Request", "answer", "carry_out", "expression_of"]

AGENT = "Custom::OvernightAgent"
DEPLOYMENT = "Custom::OvernightDeployment"

ANSWER_SECONDS = 20.0
REASON_CHARACTERS = 1_000
"""CloudFormation takes 4 KB in all."""


class Properties(BaseModel):
    """What the template says of a resource; everything is text there."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    agent_id: str = Field(default="", alias="AgentId")
    document: str = Field(default="", alias="Document")
    """The agent's document, JSON."""
    flow_bucket: str | None = Field(default=None, alias="FlowBucket")
    flow_key: str | None = Field(default=None, alias="FlowKey")
    """Where the JSON of its Langflow flow lies, for which the document has only the digest."""


class Request(BaseModel):
    """A request of CloudFormation's."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["Create", "Update", "Delete"] = Field(alias="RequestType")
    resource_type: str = Field(alias="ResourceType")
    response_url: str = Field(alias="ResponseURL", repr=False)
    stack_id: str = Field(alias="StackId")
    request_id: str = Field(alias="RequestId")
    logical_id: str = Field(alias="LogicalResourceId")
    physical_id: str | None = Field(default=None, alias="PhysicalResourceId")
    properties: Properties = Field(alias="ResourceProperties")

    @property
    def resource_id(self) -> str:
        """The physical id: an agent's id, else where the resource stands."""
        return self.properties.agent_id or self.physical_id or f"{self.logical_id}-of-{self.stack_id.split('/')[-1]}"


Fetch = Callable[[str, str], bytes]
"""The object in that bucket, under that key."""


def carry_out(ports: Ports, request: Request, *, fetch: Fetch, prepare: Callable[[], None]) -> Mapping[str, object]:
    """Do what is asked, and say how it went, as `answer` sends it; never raises for what goes wrong with it.

    Args:
        ports: the engine.
        request: what is asked.
        fetch: reads the JSON of a flow.
        prepare: what every deployment needs first.
    """
    outcome: dict[str, object] = {"Status": "SUCCESS"}
    try:
        outcome["Data"] = _carry_out(ports, request, fetch, prepare)
    except Exception as error:  # noqa: BLE001 - CloudFormation waits for an answer, whatever happened
        ports.observe("declare.failed", resource=request.logical_id, kind=request.kind, error=str(error))
        if request.kind != "Delete":
            reason = f"{type(error).__name__}: {error}"[:REASON_CHARACTERS]
            outcome = {"Status": "FAILED", "Reason": reason}
    return outcome | {
        "PhysicalResourceId": request.resource_id,
        "StackId": request.stack_id,
        "RequestId": request.request_id,
        "LogicalResourceId": request.logical_id,
    }


def _carry_out(ports: Ports, request: Request, fetch: Fetch, prepare: Callable[[], None]) -> dict[str, str]:
    match request.resource_type, request.kind:
        case (str(kind), "Delete") if kind == AGENT:
            declare.retire(ports, request.physical_id or request.properties.agent_id)
        case (str(kind), _) if kind == AGENT:
            document = _document(ports, request.properties, fetch)
            agent, _ = declare.seed(ports, request.properties.agent_id, document)
            return _expressions(agent, document)
        case (str(kind), "Create" | "Update") if kind == DEPLOYMENT:
            prepare()
            declare.rearm(ports)
    return {}


def _document(ports: Ports, properties: Properties, fetch: Fetch) -> AgentDocument:
    if properties.flow_bucket and properties.flow_key:
        content = fetch(properties.flow_bucket, properties.flow_key)
        digest = hashlib.sha256(content).hexdigest()
        if digest not in properties.document:
            raise Invalid.field("flow", f"the flow of this deployment is {digest}, which is not what the agent names")
        ports.blobs.put(content)
    return AgentDocument.model_validate_json(properties.document)


def _expressions(agent: Agent, document: AgentDocument) -> dict[str, str]:
    """The expressions that the template could not know: of intervals that begin with their first deployment."""
    declared = document.schedules
    return {
        expression_of(name, number): each.expression
        for name, schedule in agent.document.schedules.items()
        if schedule.kind == "interval" and declared[name].start_at is None
        for number, each in enumerate(expressions(schedule.calendar(agent.updated_at)))
    }


def expression_of(trigger: str, number: int) -> str:
    """The attribute of an agent's resource that holds an expression of one of its triggers."""
    return f"{trigger}.{number}"


def answer(request: Request, outcome: Mapping[str, object]) -> None:
    """Tell CloudFormation how it went. Raises OSError when it can't be told."""
    sent = urllib.request.Request(  # noqa: S310 - CloudFormation's own URL
        request.response_url,
        data=json.dumps(outcome).encode(),
        method="PUT",
        headers={"Content-Type": ""},  # as it was signed
    )
    with urllib.request.urlopen(sent, timeout=ANSWER_SECONDS):  # noqa: S310
        pass
