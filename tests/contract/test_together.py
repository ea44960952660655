import threading

import pytest

from overnight.errors import AgentNotFound
from overnight.executions import AttemptOutcome, Status
from overnight.ports import Revision, Transition


def _note(world, agent, note):
    world.store.transition(agent.id, lambda agent, state: Transition(state.model_copy(update={"note": note})))


def test_verbs_that_are_written_together_see_each_other(world):
    agent = world.agent()
    world.now.pass_(hours=1)

    def work():
        execution = world.started(agent)
        _note(world, agent, "busy")
        assert world.state(agent).note == "busy"
        assert world.state(agent).running.keys() == {execution.id}
        assert world.store.agents().items[0][1].note == "busy"
        assert world.store.execution(execution.id) == execution
        world.now.pass_(hours=1)
        assert [due.agent_id for due in world.store.due_agents(world.now(), 9)] == [agent.id]
        return world.store.revise(execution.id, world.end, known=execution)[0].execution

    ended = world.store.together(work)
    assert ended.status is Status.SUCCEEDED
    assert world.store.execution(ended.id) == ended
    assert world.state(agent).note == "busy"


def test_what_raises_undoes_all_that_was_written_with_it(world):
    agent = world.agent()
    firing = world.firing(agent)

    def work():
        world.admit(agent, firing)
        _note(world, agent, "busy")
        world.store.read("ghost")

    with pytest.raises(AgentNotFound):
        world.store.together(work)
    assert world.state(agent).rev == 0
    assert world.received() == []
    assert not world.admit(agent, firing).duplicate


def test_a_refusal_within_that_is_dealt_with_undoes_nothing(world):
    agent = world.agent()

    def work():
        _note(world, agent, "busy")
        with pytest.raises(AgentNotFound):
            world.store.transition("ghost", lambda agent, state: Transition(state))

    world.store.together(work)
    assert world.state(agent).note == "busy"


def test_together_within_together_is_the_same_together(world):
    agent = world.agent()

    def work():
        world.store.together(lambda: _note(world, agent, "busy"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        world.store.together(work)
    assert world.state(agent).note is None


def test_what_is_sent_after_a_removal_is_there_and_what_was_sent_before_is_not(world):
    """An execution that is admitted, started, ended and taken up again within one write leaves one message."""
    agent = world.agent()
    other = world.admit(agent).execution

    def again(execution):
        return Revision(
            execution.model_copy(update={"status": Status.RETRYING}), sends=(world.message(execution, 2, kind="retry"),)
        )

    def work():
        execution = world.started(agent)
        world.store.revise(execution.id, lambda row: world.end(row, Status.FAILED))
        world.store.revise(execution.id, again)
        world.store.revise(other.id, world.start)
        return execution

    execution = world.store.together(work, agents=[agent.id], executions=[other.id])
    assert world.received() == [world.message(execution, 2, kind="retry")]
    assert world.store.execution(execution.id).rev == 3
    assert [attempt.outcome for attempt in world.store.attempts(execution.id)] == [AttemptOutcome.FAILED]


def test_what_is_admitted_twice_within_it_is_admitted_once(world):
    agent = world.agent()
    firing = world.firing(agent)

    def work():
        return [world.admit(agent, firing).duplicate for _ in range(2)]

    assert world.store.together(work, agents=[agent.id]) == [False, True]
    assert len(world.received()) == 1


def test_others_see_all_of_it_or_nothing(lasting):
    agent = lasting.agent()
    begun, go_on = threading.Event(), threading.Event()

    def work():
        _note(lasting, agent, "busy")
        lasting.admit(agent)
        begun.set()
        go_on.wait(30)

    writer = threading.Thread(target=lambda: lasting.store.together(work))
    writer.start()
    assert begun.wait(30)
    assert lasting.state(agent).rev == 0
    assert lasting.received() == []
    go_on.set()
    writer.join(30)
    assert lasting.state(agent).note == "busy"
    assert len(lasting.received()) == 1
