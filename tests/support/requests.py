"""What a runner is asked for: an attempt of a Python flow, as the engine would put it."""

from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import JsonValue

from overnight.agents import Agent, AgentDocument
from overnight.executions import Execution, FiringKind, Status
from overnight.ports import RunRequest

__all__ = ["attempt_of"]

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)


def attempt_of(
    target: str,
    *,
    id_: str = "e" * 32,
    seconds: float = 30.0,
    variables: Mapping[str, str] | None = None,
    **given: JsonValue,
) -> RunRequest:
    """The first attempt of the flow that `package.module:callable` names; what is given is its input."""
    document = AgentDocument.model_validate({"name": "agent", "flow": {"python": target}})
    execution = Execution(
        id=id_,
        agent_id="a",
        agent="agent",
        status=Status.RUNNING,
        kind=FiringKind.MANUAL,
        dedupe_key="key:1",
        agent_version=1,
        attempt=1,
        created_at=NOW,
    )
    return RunRequest(
        execution=execution,
        agent=Agent(id="a", document=document, created_at=NOW, updated_at=NOW),
        flow_json=None,
        input=given,
        variables=variables or {},
        api_key=None,
        payload=None,
        session_id="s",
        timeout_seconds=seconds,
    )
