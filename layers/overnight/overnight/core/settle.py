"""What follows an outcome: tell the world, mark what was displaced, free the slot, last.

The order is that of semantics.md: outcome (written before we are called) → lifecycle event, notification → release.
Each step can be repeated, because ids are deterministic and writes are fenced; so whoever finds it half done, the
worker, another worker or the watchdog, does it again from the start.
"""

from overnight.agents import Agent, AgentState, AgentStatus, Settlement
from overnight.core import attempts
from overnight.core.decide import vacate
from overnight.core.notify import notify
from overnight.executions import Event, Execution, Reason, Status
from overnight.ports import Ports, Transition

__all__ = ["conclude", "definition", "leftover", "published", "release", "settle"]


def definition(ports: Ports, execution: Execution) -> Agent:
    """The definition that the execution is pinned to, or the latest one, where a redrive asked for that."""
    if execution.latest:
        return ports.store.agent(execution.agent_id)
    return ports.store.agent_version(execution.agent_id, execution.agent_version)


def conclude(ports: Ports, execution: Execution, attempt: int) -> AgentState | None:
    """After the outcome of an attempt: publish and notify when it is final, then release its slot.

    Returns the agent's state after the release, None when the slot was released before.
    """
    if execution.status.terminal:
        published(ports, execution)
        if "recovered" in notify(ports, execution, definition(ports, execution)):
            published(ports, execution, "recovered")
    return release(ports, execution, attempt)


def leftover(ports: Ports, execution: Execution, attempt: int) -> None:
    """Carry out what whoever ended this attempt may have left undone.

    Release comes last, so when the slot is gone all is done. A cancelled attempt keeps its slot until its worker lets
    go, or its lease is over.
    """
    slot = ports.store.read(execution.agent_id)[1].running.get(execution.id)
    if slot is None or slot.attempt != attempt:
        return
    if execution.lease is None or execution.lease.until <= ports.now():
        conclude(ports, execution, attempt)


def published(ports: Ports, execution: Execution, what: str | None = None) -> None:
    """Publish the lifecycle event of a final status, or of `what`; the same event has the same id each time."""
    if execution.reason is Reason.DEPTH:
        return  # A chain that was stopped stays stopped.
    what = what or execution.status
    ports.bus.publish(
        Event(
            id=f"{execution.id}.{execution.attempt}.{what}",
            name=f"overnight.execution.{what}",
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


def release(ports: Ports, execution: Execution, attempt: int) -> AgentState | None:
    """Free the slot of that attempt and let in the head of the line; None when the slot is another's."""
    state = _free(ports, execution, attempt)
    if state and state.settle:
        settle(ports, execution.agent_id)
    return state


def _free(ports: Ports, execution: Execution, attempt: int) -> AgentState | None:
    now = ports.now()

    def move(agent: Agent, state: AgentState) -> Transition | None:
        freed = vacate(agent, state, execution.id, attempt, now)
        return freed and Transition(_counted(agent, freed.state, execution), freed.sends)

    released = ports.store.transition(execution.agent_id, move)
    if released is None:
        return None
    transition, unsent = released
    if unsent:
        ports.queue.send(unsent)
    return transition.state


def _counted(agent: Agent, state: AgentState, execution: Execution) -> AgentState:
    """The state with the run counted: when it was, and how many failed in a row."""
    update: dict[str, object] = {"last_run_at": execution.attempt_started_at or state.last_run_at}
    if execution.status is Status.SUCCEEDED and state.failures:
        update["failures"] = 0
    if execution.status is Status.FAILED:
        update["failures"] = failures = state.failures + 1
        limit = agent.document.pause_after_failures
        if limit and failures >= limit and state.status is AgentStatus.ACTIVE:
            update["trip"] = f"{failures} executions failed in a row, the last one {execution.id}"
    return state.model_copy(update=update)


def settle(ports: Ports, agent_id: str) -> None:
    """Mark what left the line or was ordered cancelled; then forget the orders. Goes on until there are none."""
    while (state := ports.store.read(agent_id)[1]).settle:
        done = state.settle
        for id_, order in done.items():
            _settle(ports, state, id_, order)

        def forget(
            agent: Agent,  # noqa: ARG001
            state: AgentState,
            done: dict[str, Settlement] = done,
        ) -> Transition | None:
            rest = {id_: order for id_, order in state.settle.items() if done.get(id_) != order}
            return Transition(state.model_copy(update={"settle": rest})) if len(rest) < len(state.settle) else None

        ports.store.transition(agent_id, forget)


def _settle(ports: Ports, state: AgentState, id_: str, order: Settlement) -> None:
    now = ports.now()
    execution = ports.store.execution(id_)
    agent = definition(ports, execution)
    revised = ports.store.revise(id_, lambda row: attempts.conclude(row, order, agent, now), known=execution)
    if revised is not None:
        execution = revised[0].execution
        ports.observe(f"execution.{execution.status}", agent=execution.agent, execution_id=id_, reason=execution.reason)
    elif (execution := ports.store.execution(id_)).status is Status.RUNNING:
        return  # What runs did start in time.
    published(ports, execution)
    slot = state.running.get(id_)
    if slot is None:
        return
    if execution.attempt == slot.attempt:
        ports.runner.cancel(id_)  # and its worker releases the slot
    else:
        _free(ports, execution, slot.attempt)
