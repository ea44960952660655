from datetime import timedelta

import pytest

from overnight.errors import ExecutionNotFound
from overnight.executions import Status
from overnight.ports import Revision, Transition


def _due(world):
    return [due.agent_id for due in world.store.due_agents(world.now(), 100)]


def _look_in(world, agent, **look_in):
    running = {"x": world.slot(**look_in)} if look_in else {}
    world.store.transition(agent.id, lambda agent, state: Transition(state.model_copy(update={"running": running})))


def test_an_agent_is_due_when_its_state_says_so(world):
    agent = world.agent()
    assert _due(world) == []
    _look_in(world, agent, minutes=5)
    assert _due(world) == []
    world.now.pass_(minutes=5)
    assert _due(world) == [agent.id]
    _look_in(world, agent, minutes=5)
    assert _due(world) == []
    _look_in(world, agent)
    world.now.pass_(days=1)
    assert _due(world) == []


def test_the_longest_due_agent_comes_first_and_not_more_than_asked_for(world):
    agents = [world.agent(name) for name in "abc"]
    for agent, minutes in zip(agents, (3, 1, 2), strict=True):
        _look_in(world, agent, minutes=minutes)
    world.now.pass_(minutes=5)
    assert _due(world) == [agents[1].id, agents[2].id, agents[0].id]
    assert len(world.store.due_agents(world.now(), 2)) == 2


def test_an_agent_that_is_put_off_is_left_alone_until_then_or_until_it_moves(world):
    agent = world.agent()
    _look_in(world, agent, minutes=1)
    world.now.pass_(minutes=1)
    world.store.put_off(agent.id, world.now() + timedelta(minutes=10))
    assert _due(world) == []
    world.now.pass_(minutes=10)
    assert _due(world) == [agent.id]
    world.store.put_off(agent.id, world.now() + timedelta(minutes=10))
    _look_in(world, agent, seconds=1)
    world.now.pass_(seconds=1)
    assert _due(world) == [agent.id]
    assert world.state(agent).rev == 2


def test_an_execution_is_due_while_it_has_a_due_time_of_its_own(world):
    agent = world.agent()
    later = world.now() + timedelta(minutes=5)
    execution = world.admit(agent, due=later, status=Status.RETRYING).execution
    world.admit(agent)
    assert world.store.due_executions(world.now(), 10) == []
    world.now.pass_(minutes=5)
    (due,) = world.store.due_executions(world.now(), 10)
    assert (due.execution_id, due.agent_id) == (execution.id, agent.id)
    world.store.revise(execution.id, lambda row: Revision(row.model_copy(update={"due": None})))
    assert world.store.due_executions(world.now(), 10) == []


def test_the_longest_due_execution_comes_first_and_not_more_than_asked_for(world):
    agent = world.agent()
    made = [world.admit(agent, due=world.now() + timedelta(minutes=minutes)).execution.id for minutes in (3, 1, 2)]
    world.now.pass_(minutes=5)
    assert [due.execution_id for due in world.store.due_executions(world.now(), 2)] == [made[1], made[2]]


def test_an_execution_goes_when_its_retention_has_passed_with_all_that_hangs_on_it(world):
    agent = world.agent()
    ended, running = world.started(agent), world.started(agent)
    world.store.revise(ended.id, lambda row: Revision(row, world.attempt(row, 2)))
    world.store.revise(ended.id, world.end)
    world.now.pass_(days=29)
    assert world.store.prune(world.now(), 100) == 0
    assert len(world.store.attempts(ended.id)) == 2
    world.now.pass_(days=1)
    assert world.store.prune(world.now(), 100) == 1
    with pytest.raises(ExecutionNotFound):
        world.store.attempts(ended.id)
    world.now.pass_(days=10_000)
    assert world.store.prune(world.now(), 100) == 0
    assert world.store.execution(running.id)


def test_what_was_taken_up_again_is_not_removed_whatever_its_retention_says(world):
    execution = world.started(world.agent())
    world.store.revise(execution.id, lambda row: world.end(row, Status.FAILED))
    world.store.revise(execution.id, lambda row: Revision(row.model_copy(update={"status": Status.PENDING})))
    world.now.pass_(days=31)
    assert world.store.prune(world.now(), 100) == 0


def test_pruning_goes_a_little_at_a_time_the_oldest_first(world):
    agent = world.agent()
    made = [world.started(agent) for _ in range(5)]
    for execution in made:
        world.store.revise(execution.id, world.end)
        world.now.pass_(seconds=1)
    world.now.pass_(days=31)
    assert world.store.prune(world.now(), 2) == 2
    with pytest.raises(ExecutionNotFound):
        world.store.execution(made[1].id)
    assert world.store.execution(made[2].id)
    assert world.store.prune(world.now(), 100) == 3


def test_a_firing_is_new_again_once_its_record_is_gone(world):
    agent = world.agent()
    firing = world.firing(agent, "key:1")
    execution = world.admit(agent, firing).execution
    world.store.revise(execution.id, world.end)
    assert world.admit(agent, firing).duplicate
    world.now.pass_(days=31)
    world.store.prune(world.now(), 100)
    assert not world.admit(agent, firing).duplicate


def test_a_store_that_answers_is_healthy(world):
    world.store.healthy()
