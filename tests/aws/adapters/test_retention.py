"""What the watchdog removes on AWS: what is left of deleted agents, and blobs that nobody needs any more."""

import pytest
from tests.aws.adapters.conftest import Invocation
from tests.support import aws

from overnight.agents import AgentDocument
from overnight.aws.dynamodb import agents, schema
from overnight.core import declare, lifecycle
from overnight.errors import AgentNotFound

HOOK = {"name": "hook", "webhook": {}}
DAILY = {"name": "daily", "cron": "0 9 * * *"}


def items(stack) -> list[str]:
    """What the table holds of agents."""
    found = aws.client("dynamodb").scan(TableName=stack.name)["Items"]
    return sorted(item[schema.PK]["S"] for item in found if item[schema.PK]["S"] != "STACK")


def retired(stack, **fields):
    """An agent that was edited, then deleted, whose retention has passed."""
    agent = stack.agent(triggers=[HOOK, DAILY], retention_days=7, **fields)
    ports = stack.open().ports
    for text in ("second", "third"):
        edited = agent.document.model_copy(update={"description": text, "triggers": (agent.document.triggers[0],)})
        lifecycle.edit(ports, agent.id, edited)
    lifecycle.delete(ports, agent.id)
    stack.pass_(days=7, minutes=1)
    return agent


def test_nothing_is_left_of_a_deleted_agent_after_its_retention(stack):
    agent = retired(stack)
    assert len(items(stack)) == 6
    assert stack.open().watch(Invocation()) == 1
    assert items(stack) == []
    assert stack.open().watch(Invocation()) == 0
    with pytest.raises(AgentNotFound):
        stack.open().ports.store.agent(agent.id)


def test_nothing_of_it_goes_before(stack):
    retired(stack)
    stack.pass_(minutes=-2)
    assert stack.open().watch(Invocation()) == 0
    assert len(items(stack)) == 6


def test_what_is_much_goes_in_parts(stack, monkeypatch):
    monkeypatch.setattr(agents, "FORGOTTEN_AT_ONCE", 2)
    retired(stack)
    left = [len(items(stack))]
    while stack.open().watch(Invocation()):
        left.append(len(items(stack)))
        assert stack.open().ports.store.agents(deleted=True).items == ()
    assert left == [6, 3, 1, 0]


def test_an_agent_that_is_taken_up_again_meanwhile_stays(stack):
    agent = retired(stack)
    store = stack.open().ports.store
    table, revived = store._agents._table, []

    class Racing:
        def __getattr__(self, verb):
            return getattr(table, verb)

        def delete(self, key, condition=None):
            if not revived:
                revived.append(declare.seed(stack.open().ports, agent.id, agent.document))
            table.delete(key, condition)

    store._agents._table = Racing()
    assert not store.forget_agent(agent.id)
    assert store.read(agent.id)[1].status == "ACTIVE"
    assert store.hook(next(key for key in items(stack) if key.startswith("HOOK#")).removeprefix("HOOK#"))


def test_an_agent_may_come_back_by_the_id_of_one_that_is_half_forgotten(stack, monkeypatch):
    monkeypatch.setattr(agents, "FORGOTTEN_AT_ONCE", 1)
    agent = retired(stack)
    stack.open().watch(Invocation())
    document = AgentDocument.model_validate({"name": "anew", "flow": {"python": "a:b"}})
    back, state = declare.seed(stack.open().ports, agent.id, document)
    assert (back.version, state.schedules) == (1, {})
    assert items(stack) == [f"AGENT#{agent.id}", f"AGENT#{agent.id}", "NAMES"]


def test_a_schedule_that_could_not_be_disarmed_goes_with_its_agent(stack):
    agent = stack.agent(triggers=[DAILY], retention_days=7)
    (kept,) = stack.schedules()
    lifecycle.delete(stack.open().ports, agent.id)
    copied = ("Name", "GroupName", "ScheduleExpression", "FlexibleTimeWindow", "Target")
    aws.client("scheduler").create_schedule(**{key: kept[key] for key in copied})
    stack.pass_(days=8)
    stack.open().watch(Invocation())
    assert stack.schedules() == []
