"""Retries and redrives: what was admitted before goes from a due time of its own to a slot, or to the line."""

from datetime import timedelta

from overnight.agents import Agent, AgentState, AgentStatus
from overnight.core import attempts
from overnight.core.decide import rejoin
from overnight.core.living import living
from overnight.core.settle import leftover, published
from overnight.errors import AgentNotFound, ExecutionNotFound, NotRedrivable
from overnight.executions import Execution, FiringKind, Message, Reason, Status
from overnight.ports import ExecutionFilter, Ports, Revision, Transition

__all__ = ["claim", "redrive", "redrive_all"]

PUT_OFF = timedelta(seconds=10)
"""When an execution that was triggered by hand is looked at again, if its agent is stopped and no slot is free."""


def claim(ports: Ports, message: Message) -> bool:
    """Claim a slot for an execution whose own due time has come; False when it must wait, or is of no concern.

    It goes to the head of the line when there is no slot; it is cancelled when its agent was stopped in between.
    """
    now = ports.now()

    def move(agent: Agent, state: AgentState, row: Execution) -> tuple[Revision, Transition] | None:
        if row.status not in {Status.RETRYING, Status.PENDING} or row.due is None:
            return None
        if row.attempt + 1 != message.attempt or row.due > now + attempts.CLOCK_TOLERANCE:
            return None
        by_hand = not agent.deleted_at and _by_hand(row, state)
        if state.status is AgentStatus.STOPPED and not by_hand:
            reason = Reason.DELETED if agent.deleted_at else Reason.STOPPED
            cancelled = attempts.cancel(row, reason, agent, now)
            return (cancelled, Transition(state)) if cancelled else None
        waiting = rejoin(agent, state, row, now, by_hand=by_hand)
        if waiting is None:
            waiting = Transition(state)
        elif state.status is AgentStatus.STOPPED and row.id not in waiting.state.running:
            return Revision(row.model_copy(update={"due": now + PUT_OFF})), Transition(state)
        # Whoever claims a slot here starts the attempt itself: nothing is sent.
        return Revision(row.model_copy(update={"due": None})), Transition(waiting.state)

    try:
        moved = ports.store.readmit(message.execution_id, move)
    except ExecutionNotFound:
        return False
    if moved is None:
        return _holds_slot(ports, message)
    revision, transition, _ = moved
    if revision.execution.status is Status.CANCELLED:
        ports.observe(
            "execution.cancelled",
            agent=revision.execution.agent,
            execution_id=revision.execution.id,
            reason=revision.execution.reason,
        )
        published(ports, revision.execution)
    return message.execution_id in transition.state.running


def _holds_slot(ports: Ports, message: Message) -> bool:
    """Whether that attempt has its slot already: a message that came twice goes on where the first one stopped."""
    slot = ports.store.read(message.agent_id)[1].running.get(message.execution_id)
    return slot is not None and slot.attempt == message.attempt


def _by_hand(execution: Execution, state: AgentState) -> bool:
    """Whether somebody triggered or redrove it although the agent isn't active."""
    if state.status is AgentStatus.PAUSED:
        return False
    if execution.redrives and execution.tries == 0:
        return True
    if execution.kind is not FiringKind.MANUAL and not execution.redrives:
        return False
    # While an agent is not active, nothing starts but what was asked for: nor did the attempt before this retry.
    asked_at = execution.attempt_started_at if execution.redrives else execution.created_at
    return state.changed_at is not None and asked_at is not None and asked_at >= state.changed_at


def redrive(ports: Ports, execution_id: str, *, latest: bool = False) -> Execution:
    """Take a failed execution up again, with a new budget of tries, its id and history kept.

    With `latest`, by the agent's present definition instead of the pinned one.
    Raises ExecutionNotFound, AgentNotFound when its agent is deleted, and NotRedrivable when it isn't failed.
    """
    now = ports.now()
    execution = ports.store.execution(execution_id)
    living(ports.store.agent(execution.agent_id))
    if execution.status is Status.FAILED:
        # Its failure is told and counted before it is taken up again, also where a crash came in between.
        leftover(ports, execution, execution.attempt)
    revised = ports.store.revise(execution_id, lambda row: attempts.redrive(row, now, latest=latest))
    if revised is None:
        raise NotRedrivable(execution_id, ports.store.execution(execution_id).status)
    revision, unsent = revised
    if unsent:
        ports.queue.send(unsent)
    execution = revision.execution
    ports.observe("execution.redriven", agent=execution.agent, execution_id=execution.id, attempt=execution.attempt)
    return execution


def redrive_all(ports: Ports, where: ExecutionFilter, *, latest: bool = False) -> list[str]:
    """Redrive every failed execution that the filter lets through; their ids, newest first."""
    where = ExecutionFilter(
        agent_id=where.agent_id,
        statuses=(Status.FAILED,),
        kinds=where.kinds,
        trigger=where.trigger,
        since=where.since,
        until=where.until,
    )
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = ports.store.executions(where, cursor=cursor, limit=200)
        found += [execution.id for execution in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    redriven = []
    for id_ in found:
        try:
            redriven.append(redrive(ports, id_, latest=latest).id)
        except (NotRedrivable, AgentNotFound):
            continue  # Somebody else was quicker.
    return redriven
