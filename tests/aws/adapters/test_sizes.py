"""DynamoDB keeps 400 KB in an item, and bills by the kilobyte: rows stay small, and the state bounded."""

import secrets
from datetime import timedelta

import pytest
from tests.aws.adapters.conftest import Invocation
from tests.support import aws
from tests.support.meter import size_of

from overnight.agents import AgentState, AgentStatus, Gathering, Settlement, Slot, Waiting
from overnight.aws.dynamodb import schema
from overnight.core import fire
from overnight.core.payloads import INLINE_BYTES, opened
from overnight.core.verify import verify
from overnight.executions import Reason
from overnight.policies import MAX_RUNNING, Concurrency
from overnight.ports import ExecutionFilter, Transition
from overnight.triggers import MOST_GATHERED

KB = 1_024
LIMIT = 400 * KB


def stored(stack, pk, sk):
    item = aws.client("dynamodb").get_item(
        TableName=stack.environ["OVERNIGHT_TABLE"], Key={schema.PK: {"S": pk}, schema.SK: {"S": sk}}
    )["Item"]
    return size_of(item)


@pytest.mark.slow
def test_a_line_of_two_hundred_drains_and_its_state_costs_a_few_units(stack):
    agent = stack.agent(concurrency={"max_parallel": 2, "queue_limit": 1_000})
    ports = stack.open().ports
    for _ in range(202):
        fire.trigger(ports, agent.id)
    at_most = stack.meter.read().largest
    assert at_most["STATE"] < 12 * KB
    assert at_most["EXEC"] < KB
    runner = stack.open_runner()
    while messages := stack.messages():
        assert len(messages) <= 2
        for message in messages:
            runner.run(message, Invocation())
    bill = stack.meter.read()
    assert bill.writes <= 202 * 4
    assert bill.write_units < 202 * 12
    counted = [row for row in ports.store.executions(ExecutionFilter(), limit=300).items if row.status == "succeeded"]
    assert len(counted) == 202
    assert verify(ports.store, stack.at, stack.at - timedelta(days=1), stack.at).ok


def test_the_fullest_state_that_there_can_be_fits_into_an_item(stack):
    agent = stack.agent()

    def ids(count):
        return [secrets.token_hex(16) for _ in range(count)]

    now, later = stack.at, stack.at + timedelta(seconds=1.234567)
    line = Concurrency.model_fields["queue_limit"].metadata
    assert any(getattr(bound, "le", None) == 1_000 for bound in line)
    fullest = AgentState(
        agent_id=agent.id,
        status=AgentStatus.ACTIVE,
        running={id_: Slot(attempt=123, since=now, look_at=later, looks=3) for id_ in ids(MAX_RUNNING)},
        line=tuple(Waiting(id=id_, attempt=12, expires_at=later) for id_ in ids(1_000)),
        settle={
            id_: Settlement(status="skipped", reason=Reason.COALESCED, since=later, into=secrets.token_hex(16))
            for id_ in ids(1_000)
        },
        gathered={
            f"trigger-{n}": Gathering(number=n, since=now, due=later, ids=tuple(ids(MOST_GATHERED)), count=100)
            for n in range(30)
        },
    )
    ports = stack.open().ports
    ports.store.transition(agent.id, lambda agent, state: Transition(fullest.model_copy(update={"rev": state.rev})))
    assert stored(stack, f"AGENT#{agent.id}", "STATE") < LIMIT / 2
    assert ports.store.read(agent.id)[1].running == fullest.running


@pytest.mark.parametrize(("flow", "status"), [("repeats", "succeeded"), ("breaks", "failed")])
def test_a_row_with_all_that_may_be_in_it_stays_under_four_kilobytes(stack, flow, status):
    agent = stack.agent(flow={"python": f"tests.support.lambdas:{flow}"}, retries={"attempts": 1})
    ports = stack.open().ports
    full = secrets.token_hex(INLINE_BYTES)[: INLINE_BYTES - len('{"outputs":{},"text":""}')]
    for text in (full, 300 * full):
        given = {"input_value": text}
        id_ = fire.trigger(ports, agent.id, input=given, payload=text).execution.id
        (message,) = stack.messages()
        stack.open_runner().run(message, Invocation())
        row = ports.store.execution(id_)
        assert row.status == status
        assert row.input is not None
        assert status == "failed" or opened(ports.blobs, row.output) == {"text": text, "outputs": {}}
        assert opened(ports.blobs, row.input) == given
        assert stored(stack, f"EXEC#{id_}", "EXEC") < 4 * KB
