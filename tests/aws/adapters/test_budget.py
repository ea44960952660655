"""What the bookkeeping of an execution costs: calls to DynamoDB, and the units that AWS bills for them.

docs/costs.md is worked out from these counts. Every function starts cold here, so nothing is known from before.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from infra.costs import BLOBS_A_LIST, COUNTS, SWEPT_EVERY_DAYS
from tests.aws.adapters.conftest import Invocation, Stack

from overnight.aws import s3, sweep
from overnight.aws.engine import SWEEP_MINUTE
from overnight.aws.messages import Alarm
from overnight.core import fire
from overnight.core.webhooks import keys, receive
from overnight.core.webhooks.schemes import Delivery, sign
from overnight.ports import ExecutionFilter
from overnight.webhooks import hook_id


class Cost(NamedTuple):
    """Calls that write, and their units; calls that read, and theirs."""

    writes: int
    write_units: float
    reads: int
    read_units: float


def cost(stack: Stack) -> Cost:
    """What was called since the last time."""
    bill = stack.meter.read()
    return Cost(bill.writes, bill.write_units, bill.reads, bill.read_units)


def carry_out(stack: Stack, kind: str = "run") -> None:
    """A runner that starts cold carries out what is in a queue."""
    for message in stack.messages(kind):
        stack.open_runner().run(message, Invocation())


def ring(stack: Stack, alarm: Alarm) -> None:
    """Scheduler calls the tick function at nine."""
    stack.at = NINE + timedelta(seconds=1)
    stack.meter.read()
    stack.open().ring(alarm)


NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAILY = {"name": "daily", "cron": "0 9 * * *"}


# What fires, up to the message in the run queue


def tick(stack: Stack) -> None:
    stack.agent(triggers=[DAILY])
    (schedule,) = stack.schedules()
    told = schedule["Target"]["Input"].replace("<aws.scheduler.scheduled-time>", NINE.isoformat())
    ring(stack, Alarm.model_validate_json(told))


def declared_tick(stack: Stack) -> None:
    """CloudFormation can't say what an agent was armed for, so it is read."""
    agent = stack.agent(triggers=[DAILY])
    ring(stack, Alarm(agent_id=agent.id, trigger="daily", scheduled=NINE))


def skipped_tick(stack: Stack) -> None:
    agent = stack.agent(triggers=[DAILY | {"exclude": {"dates": ["2026-03-02"]}}])
    ring(stack, Alarm(agent_id=agent.id, trigger="daily", scheduled=NINE))


def manual(stack: Stack) -> None:
    agent = stack.agent()
    stack.meter.read()
    fire.trigger(stack.open().ports, agent.id)


def webhook(stack: Stack) -> None:
    agent = stack.agent(triggers=[{"name": "hook", "webhook": {}}])
    stack.open().ensure_master_key()
    ports = stack.open().ports
    id_ = hook_id(agent.id, "hook")
    hook, _, trigger = keys.find(ports, id_)
    signed = sign(trigger.webhook, keys.secret(ports, hook, trigger.webhook), b"{}", stack.at, "msg_1")
    stack.meter.read()
    received = receive.receive(
        stack.open().ports, id_, Delivery({k.lower(): v for k, v in signed.headers.items()}, b"{}")
    )
    assert received.execution is not None


def event(stack: Stack) -> None:
    stack.agent(triggers=[{"name": "on", "event": {"name": "dataset.*"}}])
    stack.meter.read()
    stack.open().take('{"id": "e", "name": "dataset.created"}', "m")


def waiting(stack: Stack) -> None:
    """Two, of which the second has to wait for the first."""
    agent = stack.agent()
    stack.meter.read()
    for _ in range(2):
        fire.trigger(stack.open().ports, agent.id)
    carry_out(stack)


def followed(stack: Stack) -> None:
    """What an execution publishes, where nobody follows it."""
    stack.agent()
    fire.trigger(stack.open().ports, "agent")
    carry_out(stack)
    stack.meter.read()
    stack.open().take('{"id": "e", "name": "overnight.execution.succeeded"}', "m")


BUDGET: dict[Callable[[Stack], None], Cost] = {
    tick: Cost(writes=5, write_units=12, reads=3, read_units=3),
    declared_tick: Cost(writes=5, write_units=12, reads=4, read_units=4),
    skipped_tick: Cost(writes=2, write_units=7, reads=2, read_units=2),
    manual: Cost(writes=5, write_units=11, reads=4, read_units=4),
    webhook: Cost(writes=5, write_units=11, reads=5, read_units=5),
    event: Cost(writes=7, write_units=15, reads=7, read_units=7),
    waiting: Cost(writes=10, write_units=20, reads=8, read_units=8),
    followed: Cost(writes=0, write_units=0, reads=3, read_units=3),
}
"""From the firing to the release, all of it."""


@pytest.mark.parametrize("fired", BUDGET, ids=lambda fired: fired.__name__)
def test_an_execution_costs_what_the_budget_says(stack: Stack, fired: Callable[[Stack], None]):
    fired(stack)
    carry_out(stack)
    spent = cost(stack)
    store = stack.open().ports.store
    assert store.unfinished().items == ()
    assert {row.status for row in store.executions(ExecutionFilter()).items} <= {"succeeded", "skipped"}
    assert spent == BUDGET[fired]


def test_a_retry_costs_what_another_attempt_does_and_its_own_record(stack: Stack):
    agent = stack.agent(flow={"python": "tests.support.lambdas:second_time"}, retries={"backoff_seconds": 60})
    stack.meter.read()
    fire.trigger(stack.open().ports, agent.id)
    carry_out(stack)
    stack.pass_(seconds=61)
    carry_out(stack, "retry")
    spent = cost(stack)
    assert [row.status for row in stack.open().ports.store.executions(ExecutionFilter()).items] == ["succeeded"]
    assert (spent.writes, spent.reads, spent.read_units) == (9, 8, 8)
    assert spent.write_units <= 30, "the traceback's length depends on where the flow lies"


def test_only_what_an_attempt_prints_is_put_into_the_bucket(stack: Stack):
    for flow, puts in (("hello", 0), ("loud", COUNTS.puts)):
        stack.agent(flow, flow={"python": f"tests.support.lambdas:{flow}"})
        fire.trigger(stack.open().ports, flow)
        stack.meter.read()
        carry_out(stack)
        assert stack.meter.read().calls["s3.put_object"] == puts


def test_a_round_of_an_idle_watchdog_costs_what_is_documented(stack: Stack):
    stack.agent(enabled=False)
    stack.open().ports.blobs.put(b"a flow")
    rounds = []
    for later in ({"minute": 40}, {"minute": SWEEP_MINUTE}, {"hour": 9, "minute": SWEEP_MINUTE}):
        stack.at = stack.at.replace(**later)
        stack.meter.read()
        stack.open().watch(Invocation())
        rounds.append(cost(stack))
    idle, sweeps = COUNTS.watchdog_read_units, COUNTS.watchdog_read_units + COUNTS.sweep_read_units
    assert [each.read_units for each in rounds] == [idle, sweeps, sweeps]
    assert [each.write_units for each in rounds] == [0, 1, 0]


def test_a_sweep_reads_the_row_of_each_execution_that_has_blobs(stack: Stack):
    stack.agent(flow={"python": "tests.support.lambdas:loud"})
    for _ in range(3):
        fire.trigger(stack.open().ports, "agent")
        carry_out(stack)
    stack.pass_(days=2)
    stack.meter.read()
    ports = stack.open().ports
    ports.blobs.sweep(stack.at, ports.store.used_blobs)
    assert cost(stack).read_units == 3 * COUNTS.swept_read_units


def test_the_costs_that_are_documented_are_worked_out_from_this_budget():
    assert timedelta(days=SWEPT_EVERY_DAYS) == sweep.EVERY
    assert s3.PAGE == BLOBS_A_LIST
    execution, published = BUDGET[declared_tick], BUDGET[followed]
    assert (COUNTS.write_units, COUNTS.read_units) == (execution.write_units, execution.read_units)
    assert (COUNTS.event_write_units, COUNTS.event_read_units) == (published.write_units, published.read_units)
