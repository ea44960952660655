"""What follows an outcome: tell the world, mark what was displaced, free the slot, last.

The order is that of semantics.md: outcome (written before we are called) → lifecycle event, notification → release.
Each step can be repeated, because ids are deterministic and writes are fenced; so whoever finds it half done, the
worker, another worker or the watchdog, does it again from the start.
"""

from overnight.agents import Agent, AgentState, Settlement
from overnight.core import attempts
from overnight.core.decide import vacate
from overnight.core.notify import notify
from overnight.executions import Event, Execution, Reason, Status
from overnight.ports import Ports, Transition

__all__ = ["conclude", "definition", "published", "release", "settle"]


def definition(ports: Ports, execution: Execution) -> Agent:
    """The definition that the execution is pinned to, or the latest one, where a redrive asked for that."""
    if execution.latest:
        return ports.store.agent(execution.agent_id)
    return ports.store.agent_version(execution.agent_id, execution.agent_version)


def conclude(ports: Ports, execution: Execution, attempt: int) -> None:
    """After the outcome of an attempt: publish and notify when it is final, then release its slot."""
    if execution.status.terminal:
        published(ports, execution)
        notify(ports, execution, definition(ports, execution))
    release(ports, execution, attempt)


def published(ports: Ports, execution: Execution) -> None:
    """Publish the lifecycle event of a final status; the same event has the same id each time."""
    if execution.reason is Reason.DEPTH:
        return  # A chain that was stopped stays stopped.
    ports.bus.publish(
        Event(
            id=f"{execution.id}.{execution.attempt}.{execution.status}",
            name=f"overnight.execution.{execution.status}",
            data={
                "execution_id": execution.id,
                "agent_id": execution.agent_id,
                "agent": execution.agent,
                "status": execution.status,
                "reason": execution.reason,
                "kind": execution.kind,
                "trigger": execution.trigger,
                "attempt": execution.attempt,
                "text": _text(execution),
                "error": execution.failure.message if execution.failure else None,
            },
            at=execution.finished_at or execution.created_at,
            depth=execution.depth + 1,
        )
    )


def _text(execution: Execution) -> str | None:
    """The text of the output, where the record itself holds it."""
    value = execution.output.value if execution.output else None
    text = value.get("text") if isinstance(value, dict) else None
    return text if isinstance(text, str) else None


def release(ports: Ports, execution: Execution, attempt: int) -> None:
    """Free the slot of that attempt and let in the head of the line; nothing when the slot is another's."""
    now = ports.now()

    def move(agent: Agent, state: AgentState) -> Transition | None:
        freed = vacate(agent, state, execution.id, attempt, now)
        return freed and Transition(_counted(agent, freed.state, execution), freed.sends)

    released = ports.store.transition(execution.agent_id, move)
    if released is None:
        return
    transition, unsent = released
    if unsent:
        ports.queue.send(unsent)
    if transition.state.settle:
        settle(ports, execution.agent_id)


def _counted(agent: Agent, state: AgentState, execution: Execution) -> AgentState:
    """The state with the run counted: when it was, and how many failed in a row."""
    update: dict[str, object] = {"last_run_at": execution.attempt_started_at or state.last_run_at}
    if execution.status is Status.SUCCEEDED and state.failures:
        update["failures"] = 0
    if execution.status is Status.FAILED:
        update["failures"] = failures = state.failures + 1
        limit = agent.document.pause_after_failures
        if limit and failures >= limit:
            update["trip"] = f"{failures} executions failed in a row, the last one {execution.id}"
    return state.model_copy(update=update)


def settle(ports: Ports, agent_id: str) -> None:
    """Mark what left the line or was ordered cancelled; then forget the orders."""
    _, state = ports.store.read(agent_id)
    for id_, order in state.settle.items():
        _settle(ports, state, id_, order)

    def forget(agent: Agent, now: AgentState) -> Transition | None:  # noqa: ARG001
        rest = {id_: order for id_, order in now.settle.items() if state.settle.get(id_) != order}
        return Transition(now.model_copy(update={"settle": rest})) if len(rest) < len(now.settle) else None

    ports.store.transition(agent_id, forget)


def _settle(ports: Ports, state: AgentState, id_: str, order: Settlement) -> None:
    now = ports.now()
    execution = ports.store.execution(id_)
    agent = definition(ports, execution)
    ran = execution.status is Status.RUNNING
    revised = ports.store.revise(id_, lambda row: attempts.conclude(row, order, agent, now), known=execution)
    if revised is not None:
        execution = revised[0].execution
        ports.observe(f"execution.{execution.status}", agent=execution.agent, execution_id=id_, reason=execution.reason)
        published(ports, execution)
    slot = state.running.get(id_)
    if slot is None:
        return
    if ran:
        ports.runner.cancel(id_)  # and its worker releases the slot
    else:
        release(ports, execution, slot.attempt)
