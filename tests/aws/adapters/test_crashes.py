"""A function may be gone after any call to AWS: nothing is lost, doubled or stuck, and Scheduler knows what is armed.

Each scenario is acted out again and again, and ended after its first call that leaves something behind, its second one,
and so on. Then new functions start; Scheduler calls, messages come again, and the watchdog does its work.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from tests.aws.adapters.conftest import Invocation, Stack
from tests.support import aws
from tests.support.fuse import Crash, fuse

from overnight.agents import AgentDocument
from overnight.aws.messages import Alarm, Fire
from overnight.core import fire, lifecycle, run
from overnight.core.verify import verify
from overnight.errors import AgentNotFound
from overnight.executions import Event, Message
from overnight.ports import ExecutionFilter

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

MOST_CALLS = 120
OFTEN = {"name": "often", "interval": {"minutes": 2}, "start_at": "2026-03-01T00:00:00Z"}


def minute(stack: Stack) -> None:
    """What happens in a minute: Scheduler's calls, whatever is in the queues, the watchdog."""
    stack.at = stack.at.replace(second=0, microsecond=0) + timedelta(minutes=1)
    for alarm in alarms(stack):
        stack.open().ring(alarm)
    deliver(stack)
    stack.pass_(seconds=35)
    stack.open().watch(Invocation(60))
    deliver(stack)


def alarms(stack: Stack) -> list[Alarm]:
    """What Scheduler would call with now."""
    told = (schedule["Target"]["Input"] for schedule in stack.schedules())
    time = stack.at.isoformat()
    return [Alarm.model_validate_json(text.replace("<aws.scheduler.scheduled-time>", time)) for text in told]


def deliver(stack: Stack) -> None:
    stack.deliver("fire", lambda body: stack.open().fire(Fire.model_validate_json(body)))
    stack.deliver("retry", lambda body: stack.open_runner().run(Message.model_validate_json(body), Invocation(60)))
    stack.deliver("run", lambda body: stack.open_runner().run(Message.model_validate_json(body), Invocation(60)))


def minutes(stack: Stack, count: int) -> None:
    for _ in range(count):
        minute(stack)


Act = Callable[[Stack], object]


@dataclass(frozen=True)
class Scenario:
    """What there is, what is done, and how many executions that makes at the end, by agent's status."""

    prepare: Act
    act: Act
    status: str
    statuses: Callable[[list[str]], bool]
    asks: bool = True
    """Whether `act` is a request, or a message, that comes again when it was not answered."""


def scheduled(stack: Stack) -> None:
    stack.agent(triggers=[OFTEN])


def create(stack: Stack) -> None:
    if not stack.open().ports.store.agents().items:
        scheduled(stack)


def event(stack: Stack) -> None:
    for n in range(3):
        stack.open().take_event(Event(id=f"e{n}", name="x", data=n, at=stack.at))


def edit(stack: Stack) -> None:
    document = stack.open().ports.store.agent("agent").document.model_dump()
    changed = document | {"triggers": [OFTEN | {"interval": {"minutes": 3}}, {"name": "d", "cron": "0 3 13 * 5"}]}
    lifecycle.edit(stack.open().ports, "agent", AgentDocument.model_validate(changed))


def delete(stack: Stack) -> None:
    try:
        lifecycle.delete(stack.open().ports, "agent")
    except AgentNotFound:
        return  # it was, the last time


def waiting(stack: Stack) -> None:
    stack.agent(triggers=[OFTEN])
    for key in "ab":
        fire.trigger(stack.open().ports, "agent", idempotency_key=key)


def failing(stack: Stack) -> None:
    retries = {"attempts": 3, "backoff_seconds": 20, "jitter": "none"}
    stack.agent(flow={"python": "tests.support.lambdas:second_time"}, retries=retries)
    for key in "ab":
        fire.trigger(stack.open().ports, "agent", idempotency_key=key)


def batching(stack: Stack) -> None:
    batch = {"size": 3, "window_seconds": 60}
    stack.agent(triggers=[{"name": "on", "event": {"name": "x", "batch": batch}}])


def subscribed(stack: Stack) -> None:
    stack.agent(triggers=[{"name": "on", "event": {"name": "x"}}])


def cancel(stack: Stack) -> None:
    ports = stack.open().ports
    run.cancel(ports, min(ports.store.executions(ExecutionFilter()).items, key=lambda row: row.created_at).id)


def all_ran(count: int) -> Callable[[list[str]], bool]:
    return lambda found: found == ["succeeded"] * count


def the_line_is_cancelled(found: list[str]) -> bool:
    """What held a slot already ran."""
    return sorted(found) == ["cancelled", "succeeded"]


def ran_some(found: list[str]) -> bool:
    return set(found) == {"succeeded"}


def verb(name: str) -> Act:
    return lambda stack: getattr(lifecycle, name)(stack.open().ports, "agent")


SCENARIOS = {
    "create": Scenario(lambda _: None, create, "ACTIVE", ran_some),
    "trigger": Scenario(
        lambda stack: stack.agent(),
        lambda stack: fire.trigger(stack.open().ports, "agent", idempotency_key="k"),
        "ACTIVE",
        all_ran(1),
    ),
    "tick": Scenario(scheduled, lambda stack: minutes(stack, 3), "ACTIVE", ran_some, asks=False),
    "run": Scenario(waiting, deliver, "ACTIVE", ran_some, asks=False),
    "retry": Scenario(failing, lambda stack: minutes(stack, 3), "ACTIVE", all_ran(2), asks=False),
    "pause": Scenario(scheduled, verb("pause"), "PAUSED", lambda found: found == []),
    "resume": Scenario(lambda stack: (scheduled(stack), verb("pause")(stack)), verb("resume"), "ACTIVE", ran_some),
    "stop": Scenario(waiting, verb("stop"), "STOPPED", the_line_is_cancelled),
    "edit": Scenario(scheduled, edit, "ACTIVE", ran_some),
    "delete": Scenario(waiting, delete, "STOPPED", the_line_is_cancelled),
    "cancel": Scenario(waiting, cancel, "ACTIVE", lambda found: found[0] == "cancelled" and ran_some(found[1:])),
    "event": Scenario(subscribed, event, "ACTIVE", all_ran(3)),
    "batch": Scenario(batching, event, "ACTIVE", lambda found: found == ["skipped"] * 3 + ["succeeded"]),
}


def played(scenario: Scenario, calls: int) -> bool:
    """Act out the scenario up to a crash after so many calls; whether it came to that."""
    stack = Stack(aws.fresh("crash"))
    with aws.sqs_time(stack.now):
        scenario.prepare(stack)
        stack.after = fuse(calls)
        try:
            scenario.act(stack)
            crashed = False
        except Crash:
            crashed = True
        stack.after = lambda _: None
        if crashed and scenario.asks:
            stack.pass_(seconds=1)
            scenario.act(stack)
        minutes(stack, 8)
        sound(stack, scenario)
    return crashed


def sound(stack: Stack, scenario: Scenario) -> None:
    """All is over, all is told once, and Scheduler has what is armed and nothing else."""
    store = stack.open().ports.store
    ((_, state),) = store.agents(deleted=True).items
    assert state.status == scenario.status, state
    assert (state.running, state.line, state.settle, state.gathered) == ({}, (), {}, {})
    rows = sorted(store.executions(ExecutionFilter(), limit=200).items, key=lambda row: row.created_at)
    assert scenario.statuses([str(row.status) for row in rows]), rows
    told = {(alarm.trigger, alarm.version) for alarm in alarms(stack)}
    assert told == {(name, armed.version) for name, armed in state.schedules.items()}
    report = verify(store, stack.at, stack.at - timedelta(days=1), stack.at)
    assert report.ok, report.findings


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_crash_after_any_call_loses_doubles_and_blocks_nothing(name: str):
    for calls in range(1, MOST_CALLS):
        try:
            if not played(SCENARIOS[name], calls):
                break
        except AssertionError as error:
            error.add_note(f"{name}: after call {calls}")
            raise
    else:
        pytest.fail(f"{name} has more than {MOST_CALLS} calls")
