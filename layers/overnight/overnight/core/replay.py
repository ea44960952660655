"""Replay: what came from outside once, fired again, as a new firing that names the first."""

import hashlib

from overnight.agents import Agent, AgentState, AgentStatus
from overnight.core.fire import admit
from overnight.core.living import living
from overnight.core.payloads import hold, opened
from overnight.errors import AgentNotFound, IdempotencyMismatch, NotActive, NotReplayable
from overnight.executions import Firing, FiringKind
from overnight.ports import Admitted, Ports

__all__ = ["replay"]

REPLAYABLE = frozenset({FiringKind.WEBHOOK, FiringKind.EVENT, FiringKind.MANUAL})


def replay(ports: Ports, execution_id: str, *, idempotency_key: str | None = None) -> Admitted:
    """Fire again what an execution was the record of, whatever became of it, by the agent's present definition.

    The same `idempotency_key` gives the same execution.
    Raises ExecutionNotFound, AgentNotFound, IdempotencyMismatch; NotReplayable for ticks; NotActive when the agent
    would only skip it; NoFreeSlot, LineFull.
    """
    first = ports.store.execution(execution_id)
    if first.kind not in REPLAYABLE:
        raise NotReplayable(execution_id, first.kind)
    body = hashlib.sha256(f"replay:{first.id}".encode()).hexdigest() if idempotency_key else None
    firing = Firing(
        agent_id=first.agent_id,
        kind=first.kind,
        dedupe_key=f"key:{idempotency_key}" if idempotency_key else f"replay:{ports.new_id()}",
        trigger=first.trigger,
        body_sha256=body,
        depth=first.depth,
        replay_of=first.id,
        test=first.test,
    )
    payload, given = (
        hold(ports.blobs, opened(ports.blobs, held), firing.execution_id) for held in (first.payload, first.input)
    )
    firing = firing.model_copy(update={"payload": payload, "input": given})

    def check(agent: Agent, state: AgentState) -> AgentState:
        living(agent, agent.id)
        if state.status is not AgentStatus.ACTIVE and first.kind is not FiringKind.MANUAL:
            raise NotActive(agent.name, state.status)
        return state

    admitted = admit(ports, firing, check=check)
    if admitted is None:
        raise AgentNotFound(first.agent_id)
    if admitted.duplicate and admitted.execution.body_sha256 != body:
        raise IdempotencyMismatch(admitted.execution.id)
    return admitted
