"""The watchdog: the second, independent clock. Whatever a crash left between two writes, it finds and carries on.

It reads hints (what is due), reads each thing again, and does what whoever was interrupted would have done next. Each
item stands by itself: one that raises is put off, and the others go on.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import takewhile

from overnight.agents import Agent, AgentState, Slot
from overnight.core import batches, events, lifecycle, retention
from overnight.core.decide import sweep, vacate
from overnight.core.due import GRACE, TICK_GRACE, resend_after
from overnight.core.fire import walk
from overnight.core.ledger import alarm_at
from overnight.core.run import Ended, Started, finish
from overnight.core.settle import conclude, definition, release, settle
from overnight.errors import AgentNotFound, ExecutionNotFound
from overnight.executions import AttemptOutcome, Execution, Failure, Message, Status
from overnight.ports import Ports, RunReport, Transition

__all__ = ["look", "watch"]

PUT_OFF = timedelta(seconds=60)

LOST = Failure(
    type="Lost",
    message="the worker that ran this attempt is gone: it was killed, ran out of memory, or lost its machine",
)


def watch(ports: Ports, *, limit: int = 100, go_on: Callable[[], bool] = lambda: True) -> int:
    """One round over all that is due; how many things were looked at. It ends between two when it shall not `go_on`."""
    now = ports.now()
    looked = 0
    until = now + PUT_OFF
    for agent in takewhile(lambda _: go_on(), ports.store.due_agents(now, limit)):
        looked += 1
        id_ = agent.agent_id
        _each(ports, partial(look, ports, id_), partial(ports.store.put_off, id_, until), agent_id=id_)
    for due in takewhile(lambda _: go_on(), ports.store.due_executions(now - GRACE, limit)):
        looked += 1
        id_ = due.agent_id
        put_off = partial(ports.store.put_off, id_, until)
        _each(ports, partial(_send_again, ports, due.execution_id), put_off, agent_id=id_)
    for event in takewhile(lambda _: go_on(), ports.store.pending_events(now - GRACE, limit)):
        looked += 1
        _each(ports, partial(events.fan_out, ports, event), partial(events.put_off, ports, event), event_id=event.id)
    return looked


def _each(ports: Ports, work: Callable[[], object], put_off: Callable[[], None], **about: str) -> None:
    try:
        work()
    except Exception as error:  # noqa: BLE001 - one item must not keep the watchdog from the others
        ports.observe("watchdog.failed", error=f"{type(error).__name__}: {error}", **about)
        put_off()


def look(ports: Ports, agent_id: str) -> None:
    """Look at everything that one agent's state says is due."""
    now = ports.now()
    try:
        agent, state = ports.store.read(agent_id)
    except AgentNotFound:
        ports.store.forget_agent(agent_id)
        return
    for id_, slot in state.running.items():
        if slot.look_at <= now:
            _look_at_slot(ports, agent, id_, slot)
    if sweep(state, now) is not state:
        ports.store.transition(agent_id, lambda agent, state: Transition(sweep(state, now)))  # noqa: ARG005
    if ports.store.read(agent_id)[1].settle:
        settle(ports, agent_id)
    if state.gathered:
        batches.close_due(ports, agent_id)
    for trigger in state.schedules:
        _look_at_schedule(ports, agent, state, trigger)
    _look_at_life(ports, agent, state)


def _look_at_life(ports: Ports, agent: Agent, state: AgentState) -> None:
    """Whether it is to be disabled, armed or forgotten."""
    if state.trip:
        lifecycle.fail(ports, agent.id, state.trip)
    elif state.want_version != state.armed_version:
        lifecycle.arm(ports, agent.id)
    elif agent.retain_until and agent.retain_until <= ports.now():
        retention.forget(ports, agent)


def _look_at_schedule(ports: Ports, agent: Agent, state: AgentState, trigger: str) -> None:
    """A tick that is due, and that the alarm clock has not brought."""
    now = ports.now()
    at = alarm_at(agent, trigger, state.schedules[trigger])
    if at and at <= now:
        walk(ports, agent.id, trigger)
    if at and at + TICK_GRACE <= now:  # the alarm clock has failed: perhaps it has lost the alarm
        agent, walked = ports.store.read(agent.id)
        ports.clock.arm(agent, trigger, walked)


def _look_at_slot(ports: Ports, agent: Agent, id_: str, slot: Slot) -> None:
    """A slot whose time to look has come: resend, wait, declare lost, or release."""
    now = ports.now()
    try:
        execution = ports.store.execution(id_)
    except ExecutionNotFound:
        ports.store.transition(agent.id, lambda agent, state: vacate(agent, state, id_, slot.attempt, now))
        return
    if execution.lease and execution.lease.until > now and execution.attempt == slot.attempt:
        # It runs, or it was cancelled and its worker has not let go yet.
        _put_look(ports, execution, slot.model_copy(update={"look_at": execution.lease.until}))
    elif execution.status.terminal:
        conclude(ports, execution, slot.attempt)
    elif execution.attempt == slot.attempt - 1:
        _resend(ports, execution, slot)
    elif execution.status is Status.RUNNING and execution.attempt == slot.attempt:
        _declare_lost(ports, execution)
    else:  # it waits for a retry of its own, and nobody got to release the slot
        release(ports, execution, slot.attempt)


def _resend(ports: Ports, execution: Execution, slot: Slot) -> None:
    """No worker has taken it up: send it again, and wait longer each time."""
    message = Message(kind="run", execution_id=execution.id, agent_id=execution.agent_id, attempt=slot.attempt)
    looks = slot.looks + 1
    look_at = ports.now() + resend_after(looks)
    _put_look(ports, execution, slot.model_copy(update={"look_at": look_at, "looks": looks}))
    ports.queue.send((message,))
    ports.observe("execution.resent", agent=execution.agent, execution_id=execution.id, attempt=slot.attempt)


def _put_look(ports: Ports, execution: Execution, slot: Slot) -> None:
    def move(agent: Agent, state: AgentState) -> Transition | None:  # noqa: ARG001
        held = state.running.get(execution.id)
        if held is None or held.attempt != slot.attempt:
            return None
        return Transition(state.model_copy(update={"running": {**state.running, execution.id: slot}}))

    ports.store.transition(execution.agent_id, move)


def _declare_lost(ports: Ports, execution: Execution) -> None:
    """Its lease is over and nobody renewed it: the attempt is lost, and the retry policy goes on."""
    ports.observe("attempt.lost", agent=execution.agent, execution_id=execution.id, attempt=execution.attempt)
    report = RunReport(AttemptOutcome.LOST, failure=LOST)
    finish(ports, [Ended(Started(execution, definition(ports, execution)), report)], lease_over=True)


def _send_again(ports: Ports, execution_id: str) -> None:
    """An execution whose own due time is over, and whose message nobody carried out."""
    execution = ports.store.execution(execution_id)
    if execution.due is None or execution.status.terminal:
        return
    message = Message(
        kind="retry",
        execution_id=execution.id,
        agent_id=execution.agent_id,
        attempt=execution.attempt + 1,
        due=execution.due,
    )
    ports.queue.send((message,))
