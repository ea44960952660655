import threading
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overnight.agents import Armed
from overnight.errors import AgentNotFound, ExecutionNotFound, LineFull
from overnight.executions import FiringKind, Reason, Status
from overnight.ports import Admission, ExecutionFilter, Transition


def test_a_firing_becomes_an_execution_a_slot_and_a_message_as_one(world):
    agent = world.agent()
    admitted = world.admit(agent)
    assert not admitted.duplicate
    assert admitted.unsent == ()
    assert world.store.execution(admitted.execution.id) == admitted.execution
    assert world.state(agent) == admitted.state
    assert set(admitted.state.running) == {admitted.execution.id}
    assert world.received() == [world.message(admitted.execution)]


def test_the_same_firing_again_gives_the_first_execution_and_leaves_the_state_alone(world):
    agent = world.agent()
    firing = world.firing(agent, "key:1")
    first = world.admit(agent, firing)
    world.store.revise(first.execution.id, world.start)
    state = world.state(agent)
    world.received()
    again = world.admit(agent, firing, status=Status.PENDING)
    assert again.duplicate
    assert again.execution == world.store.execution(first.execution.id)
    assert again.execution.status is Status.RUNNING
    assert again.state == state == world.state(agent)
    assert world.received() == []


def test_a_refusal_leaves_no_record(world):
    agent = world.agent()
    firing = world.firing(agent, "key:1")

    def refuse(agent, state):
        raise LineFull(agent.name, 1, 30)

    with pytest.raises(LineFull):
        world.store.admit(firing, refuse)
    with pytest.raises(ExecutionNotFound):
        world.store.execution(firing.execution_id)
    assert world.state(agent).rev == 0
    assert not world.admit(agent, firing).duplicate


def test_an_agent_is_let_in_by_its_name_or_its_id(world):
    agent = world.agent("daily")
    for ref in ("daily", agent.id, "daily"):
        admitted = world.admit_named(ref)
        assert admitted.execution.agent_id == agent.id
        assert admitted.execution.id in world.state(agent).running
    assert world.admit_named("daily", "key:1").execution == world.admit_named(agent.id, "key:1").execution
    with pytest.raises(AgentNotFound):
        world.admit_named("nightly")


def test_a_name_means_the_agent_that_has_it_now(world):
    first = world.agent("daily")
    assert world.admit_named("daily", "key:1").execution.agent_id == first.id
    world.edit(first, version=2, document=world.document("nightly"))
    with pytest.raises(AgentNotFound):
        world.admit_named("daily", "key:1")
    second = world.agent("daily")
    admitted = world.admit_named("daily", "key:1")
    assert not admitted.duplicate
    assert admitted.execution.agent_id == second.id
    assert world.admit_named("nightly", "key:1").execution.agent_id == first.id
    world.edit(second, version=2, deleted_at=world.now())
    with pytest.raises(AgentNotFound):
        world.admit_named("daily", "key:1")


def test_a_name_whose_agent_is_gone_for_good_means_the_next_one(world):
    first = world.agent("daily")
    world.store.revise(world.admit_named("daily").execution.id, world.start)
    world.edit(first, version=2, deleted_at=world.now())
    for execution in world.store.executions(ExecutionFilter(agent_id=first.id)).items:
        world.store.revise(execution.id, world.end)
    world.now.pass_(days=31)
    world.store.prune(world.now(), 100)
    assert world.store.forget_agent(first.id)
    second = world.agent("daily")
    assert world.admit_named("daily").execution.agent_id == second.id
    with pytest.raises(AgentNotFound):
        world.admit_named(first.id)


@pytest.mark.parametrize("answer", ["refuses", "drops"])
def test_what_was_accepted_once_is_not_refused_when_it_comes_again(world, answer):
    agent = world.agent()
    firing = world.firing(agent, "hook:1")
    first = world.admit(agent, firing)

    def decide(agent, state):
        if answer == "refuses":
            raise LineFull(agent.name, 1, 30)

    again = world.store.admit(firing, decide)
    assert again.duplicate
    assert again.execution == first.execution
    assert again.state == world.state(agent)


def test_what_is_dropped_leaves_no_record(world):
    agent = world.agent()
    firing = world.firing(agent)
    assert world.store.admit(firing, lambda agent, state: None) is None
    assert world.state(agent).rev == 0


def test_a_firing_for_an_agent_that_is_not_there_is_refused(world):
    agent = world.agent().model_copy(update={"id": "ghost"})
    with pytest.raises(AgentNotFound):
        world.admit(agent)


def test_a_skipped_execution_leaves_the_state_alone(world):
    agent = world.agent()
    admitted = world.admit(agent, status=Status.SKIPPED, reason=Reason.PAUSED)
    assert world.store.execution(admitted.execution.id).reason is Reason.PAUSED
    assert world.state(agent).rev == 0
    assert world.received() == []


def test_of_many_that_bring_the_same_firing_at_once_one_is_first(world):
    agent = world.agent()
    firing = world.firing(agent, "hook:1")
    barrier, admitted = threading.Barrier(12), []

    def bring():
        barrier.wait()
        admitted.append(world.admit(agent, firing))

    _all([bring] * 12)
    assert [one.duplicate for one in admitted].count(False) == 1
    assert len({one.execution.id for one in admitted}) == 1
    assert world.state(agent).rev == 1
    assert len(world.received()) == 1


def test_no_update_of_the_state_is_lost_however_many_come_at_once(world):
    agents = [world.agent(name) for name in ("a", "b", "c")]
    firings = [world.firing(agent) for agent in agents for _ in range(20)]
    by_id = {agent.id: agent for agent in agents}
    barrier = threading.Barrier(10)

    def bring(mine):
        barrier.wait()
        for firing in mine:
            world.admit(by_id[firing.agent_id], firing)

    _all([lambda n=n: bring(firings[n::10]) for n in range(10)])
    for agent in agents:
        state = world.state(agent)
        assert state.rev == 20
        assert set(state.running) == {firing.execution_id for firing in firings if firing.agent_id == agent.id}
    assert len(world.received()) == 60


def test_one_that_fails_harms_none_that_is_written_with_it(world):
    agent = world.agent()
    barrier, failed = threading.Barrier(12), []

    def refuse(agent, state):
        raise ZeroDivisionError

    def bring(n):
        barrier.wait()
        try:
            if n % 3:
                world.admit(agent, world.firing(agent, f"key:{n}"))
            else:
                world.store.admit(world.firing(agent, f"key:{n}"), refuse)
        except ZeroDivisionError:
            failed.append(n)

    _all([lambda n=n: bring(n) for n in range(12)])
    assert sorted(failed) == [0, 3, 6, 9]
    assert len(world.state(agent).running) == world.state(agent).rev == 8


def test_the_state_as_decided_on_is_the_state_as_stored(world):
    agent = world.agent()
    seen = []

    def decide(agent, state):
        seen.append((agent, state))

    for _ in range(3):
        world.admit(agent)
        world.store.admit(world.firing(agent), decide)
        assert seen.pop() == world.store.read(agent.id)


def test_a_duplicate_tick_moves_a_cursor_that_lags_behind_and_nothing_else(world):
    start = world.now()
    armed = Armed(version=1, since=start, anchor=start, tzdata="2026.1", next=start + timedelta(hours=1))
    agent = world.agent(triggers=[{"name": "hourly", "interval": {"hours": 1}}], state={"schedules": {"hourly": armed}})
    nominal = start + timedelta(hours=1)
    firing = world.firing(agent, "tick:1", kind=FiringKind.SCHEDULE, trigger="hourly", nominal=nominal)
    world.admit(agent, firing, status=Status.SKIPPED, reason=Reason.OVERLAP)
    assert world.state(agent).schedules["hourly"].cursor is None
    moved = armed.model_copy(update={"cursor": nominal, "next": nominal + timedelta(hours=1)})

    def decide(agent, state):
        running = state.running | {firing.execution_id: world.slot()}
        moved_state = state.model_copy(update={"schedules": {"hourly": moved}, "running": running})
        execution = world.execution(agent, firing)
        return Admission(execution, Transition(moved_state, (world.message(execution),)))

    again = world.store.admit(firing, decide)
    assert again.duplicate
    assert again.execution.status is Status.SKIPPED
    assert again.state == world.state(agent)
    assert again.state.schedules == {"hourly": moved}
    assert again.state.running == {}
    assert world.received() == []
    rev = again.state.rev
    world.store.admit(firing, decide)
    assert world.state(agent).rev == rev


def test_a_move_that_raises_or_declines_writes_nothing(world):
    agent = world.agent()
    world.admit(agent)
    before = world.state(agent)

    def refuse(agent, state):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        world.store.transition(agent.id, refuse)
    assert world.store.transition(agent.id, lambda agent, state: None) is None
    assert world.state(agent) == before


def test_a_write_that_fails_midway_leaves_nothing_behind(world):
    agent = world.agent()
    execution = world.admit(agent, due=world.now()).execution
    impossible = world.message(execution, attempt=2**80)

    def move(agent, state):
        return Transition(state.model_copy(update={"note": "half done"}), (world.message(execution), impossible))

    with pytest.raises(Exception, match=r"."):
        world.store.transition(agent.id, move)
    seen = []
    world.store.transition(agent.id, lambda agent, state: seen.append(state))
    assert seen == [world.state(agent)]
    assert seen[0].note is None
    assert world.received() == []


def test_a_move_of_the_state_sends_what_it_says(world):
    agent = world.agent()
    admitted = world.admit(agent, due=world.now())
    message = world.message(admitted.execution, due=world.now() + timedelta(minutes=5))

    def move(agent, state):
        return Transition(state.model_copy(update={"note": "promoted"}), (message,))

    transition, unsent = world.store.transition(agent.id, move)
    assert unsent == ()
    assert transition.state == world.state(agent)
    assert transition.state.note == "promoted"
    assert world.received() == []
    world.now.pass_(minutes=5)
    assert world.received() == [message]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["1", "2", "3"])), max_size=8))
def test_there_is_one_record_for_each_firing_whatever_comes_and_how_often(world, keys):
    agents = {name: world.agent(world.fresh(name)) for name in "ab"}
    seen = set()
    for name, key in keys:
        admitted = world.admit(agents[name], world.firing(agents[name], f"key:{key}"))
        assert admitted.duplicate == ((name, key) in seen)
        seen.add((name, key))
    for name, agent in agents.items():
        assert len(world.state(agent).running) == len({key for other, key in seen if other == name})


def _all(works):
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
