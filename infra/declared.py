"""The agents that a file beside the app declares: one custom resource each, and a schedule for each expression.

They are seen in `cdk diff`, and never touched at run time: pausing and stopping are in the record, and the tick
function drops the tick. Retiring keeps an agent's history, so the same agent, declared again, goes on with it.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import aws_cdk as cdk
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from infra.functions import Functions
from infra.scheduling import Scheduling
from infra.settings import InvalidContext, Settings
from overnight.agents import AgentDocument
from overnight.api.documents import accept
from overnight.aws.cloudformation import AGENT, expression_of
from overnight.aws.scheduler import SCHEDULED_TIME, schedule_name
from overnight.calendar.errors import CalendarError
from overnight.calendar.eventbridge import Expression, expressions
from overnight.cli import declarations
from overnight.cli.failure import Failure
from overnight.triggers import Schedule

if TYPE_CHECKING:
    from overnight.ports import Ports

__all__ = ["Declared", "agent_id"]

UNKNOWN = datetime(2026, 1, 1, tzinfo=UTC)
"""Stands for when an agent will be deployed first."""

DEFAULT_FILE = Path("agents.yaml")


def agent_id(settings: Settings, name: str) -> str:
    """The id of a declared agent: always the same for a stack and a name, so that history stays with it."""
    return hashlib.sha256(f"declared\n{settings.name}\n{name}".encode()).hexdigest()[:32]


class Declared(Construct):
    """All declared agents of the stack. Raises InvalidContext with a line for each thing that is wrong in the file."""

    def __init__(
        self, scope: Construct, id_: str, settings: Settings, functions: Functions, scheduling: Scheduling
    ) -> None:
        super().__init__(scope, id_)
        self._settings, self._functions, self._scheduling = settings, functions, scheduling
        self._flows: dict[str, s3_assets.Asset] = {}
        self.agents = {declared.name: self._agent(declared) for declared in _read(settings)}

    def _agent(self, declared: declarations.Declaration) -> cdk.CustomResource:
        declare = self._functions.by_name["declare"]
        document, flow = _document(declared)
        id_ = agent_id(self._settings, declared.name)
        properties = {
            "AgentId": id_,
            "Document": document.model_dump_json(exclude_defaults=True, by_alias=True),
        }
        if flow is not None:
            asset = self._flow(flow)
            properties |= {"FlowBucket": asset.s3_bucket_name, "FlowKey": asset.s3_object_key}
        agent = cdk.CustomResource(
            self,
            declared.name,
            resource_type=AGENT,
            service_token=declare.function_arn,
            properties=properties,
            service_timeout=declare.timeout,
        )
        agent.node.add_dependency(self._functions)  # with their roles, which it must outlive by no moment
        for trigger, schedule in document.schedules.items():
            for number, expression in enumerate(_expressions(schedule, agent, declared)):
                self._schedule(agent, id_, declared.name, trigger, number, expression)
        return agent

    def _schedule(
        self, agent: cdk.CustomResource, id_: str, name: str, trigger: str, number: int, when: Expression
    ) -> None:
        schedule = self._scheduling.call(
            f"{name}.{trigger}.{number}",
            self._functions.by_name["tick"],
            name=schedule_name(id_, trigger, number),
            expression=when.expression,
            timezone=when.timezone,
            description=f"{name}: {trigger}",
            given=json.dumps({"agent_id": id_, "trigger": trigger, "scheduled": SCHEDULED_TIME}),
        )
        schedule.node.add_dependency(agent)

    def _flow(self, content: bytes) -> s3_assets.Asset:
        """The JSON of a flow, uploaded once, however many agents have it."""
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self._flows:
            path = Path(tempfile.mkdtemp(prefix="overnight-")) / f"{digest}.json"  # CDK copies it
            path.write_bytes(content)
            asset = s3_assets.Asset(self, f"Flow{digest[:16]}", path=str(path), asset_hash=digest)
            self._functions.may_read(asset)
            self._flows[digest] = asset
        return self._flows[digest]


def _read(settings: Settings) -> Iterator[declarations.Declaration]:
    path = settings.agents or DEFAULT_FILE
    if settings.agents is None and not path.is_file():
        return
    try:
        yield from declarations.read(path).agents
    except Failure as failure:
        raise InvalidContext(str(failure)) from None


class _Kept:
    """Catches the flow's JSON, in the form that its digest is taken of."""

    def __init__(self) -> None:
        self.blobs = self
        self.content: bytes | None = None

    def put(self, content: bytes) -> str:
        self.content = content
        return hashlib.sha256(content).hexdigest()


def _document(declared: declarations.Declaration) -> tuple[AgentDocument, bytes | None]:
    """The agent's document, and its flow's JSON if it is one of Langflow's."""
    kept = _Kept()
    return accept(cast("Ports", kept), declared.document), kept.content


def _expressions(
    schedule: Schedule, agent: cdk.CustomResource, declared: declarations.Declaration
) -> Iterator[Expression]:
    """What EventBridge is given; of an interval without a start, that is known only once the agent is there."""
    open_ended = schedule.kind == "interval" and schedule.start_at is None
    try:
        found = expressions(schedule.calendar(UNKNOWN if open_ended else None))
    except CalendarError as error:
        raise InvalidContext(f"agent {declared.name}, trigger {schedule.name}: {error}") from None
    for number, each in enumerate(found):
        if open_ended:  # however it begins, it takes as many expressions
            yield Expression(agent.get_att_string(expression_of(schedule.name, number)), each.timezone)
        else:
            yield each
