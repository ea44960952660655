import threading
from datetime import timedelta

import pytest


@pytest.fixture
def execution(world):
    """One that is in the store and not in the queue."""
    return world.admit(world.agent(), due=world.now()).execution


def test_a_message_is_given_to_one_and_comes_again_unless_it_is_done_with(world, execution):
    message = world.message(execution)
    world.queue.send([message])
    assert world.received() == [message]
    assert world.received() == []
    world.now.pass_(seconds=29)
    assert world.received() == []
    world.now.pass_(seconds=2)
    assert world.received() == [message]
    world.queue.done(message)
    world.now.pass_(minutes=10)
    assert world.received() == []


def test_being_done_with_one_message_leaves_the_others(world, execution):
    run, retry, later = (
        world.message(execution),
        world.message(execution, kind="retry"),
        world.message(execution, attempt=2),
    )
    world.queue.send([run, retry, later])
    assert len(world.received()) == 3
    world.queue.done(run)
    world.now.pass_(minutes=1)
    assert {(one.kind, one.attempt) for one in world.received()} == {("retry", 1), ("run", 2)}


def test_a_message_that_is_due_later_waits(world, execution):
    message = world.message(execution, due=world.now() + timedelta(minutes=1))
    world.queue.send([message])
    assert world.received() == []
    world.now.pass_(seconds=59)
    assert world.received() == []
    world.now.pass_(seconds=1)
    assert world.received() == [message]


def test_the_longest_due_comes_first(world):
    agent = world.agent()
    executions = [world.admit(agent, due=world.now()).execution for _ in range(4)]
    delays = [3, 1, 2, 0]
    for execution, delay in zip(executions, delays, strict=True):
        world.queue.send([world.message(execution, due=world.now() + timedelta(seconds=delay))])
    world.now.pass_(minutes=1)
    received = [world.received(1) for _ in range(4)]
    assert [one[0].execution_id for one in received] == [executions[n].id for n in (3, 1, 2, 0)]
    assert world.received() == []


def test_what_is_sent_at_once_is_received_in_that_order(world):
    agent = world.agent()
    sent = []
    for _ in range(5):
        world.now.pass_(seconds=1)
        sent.append(world.admit(agent).execution.id)
    assert [message.execution_id for message in world.received(3)] == sent[:3]
    assert [message.execution_id for message in world.received(3)] == sent[3:]


def test_what_is_due_longer_comes_first_however_late_it_is_sent(world):
    agent = world.agent()
    early, *late = [world.admit(agent, due=world.now()).execution for _ in range(4)]
    world.now.pass_(minutes=1)
    world.queue.send([world.message(one, due=world.now() - timedelta(seconds=5)) for one in late])
    assert len(world.received(1)) == 1
    world.queue.send([world.message(early, due=world.now() - timedelta(seconds=30))])
    assert [message.execution_id for message in world.received(1)] == [early.id]
    assert len(world.received()) == 2


def test_what_began_meanwhile_is_not_received(world):
    agent = world.agent()
    executions = []
    for _ in range(3):
        world.now.pass_(seconds=1)
        executions.append(world.admit(agent).execution)
    first, second, third = executions
    assert [message.execution_id for message in world.received(1)] == [first.id]
    world.store.revise(second.id, world.start)
    assert [message.execution_id for message in world.received(1)] == [third.id]


@pytest.mark.parametrize(("first", "second"), [(5, 1), (1, 5)])
def test_the_same_message_is_there_once_and_the_earlier_time_holds(world, execution, first, second):
    for minutes in (first, second):
        world.queue.send([world.message(execution, due=world.now() + timedelta(minutes=minutes))])
    world.now.pass_(minutes=1)
    (message,) = world.received()
    assert message.due == world.now()
    world.queue.done(message)
    world.now.pass_(minutes=10)
    assert world.received() == []


def test_of_many_that_receive_at_once_each_message_goes_to_one(world):
    agent = world.agent()
    sent = {world.admit(agent).execution.id for _ in range(40)}
    barrier, received = threading.Barrier(8), []

    def receive():
        barrier.wait()
        while messages := world.queue.receive(3, world.now()):
            received.extend(message.execution_id for message in messages)

    threads = [threading.Thread(target=receive) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(received) == 40
    assert set(received) == sent


def test_sending_nothing_is_no_trouble(world):
    world.queue.send([])
    assert world.received() == []


def test_the_next_time_to_receive_is_known(world, execution):
    assert world.queue.earliest(world.now()) is None
    later = world.now() + timedelta(minutes=5)
    world.queue.send([world.message(execution), world.message(execution, attempt=2, due=later)])
    assert len(world.received()) == 1
    assert world.queue.earliest(world.now()) == world.now() + timedelta(seconds=30)
    world.store.revise(execution.id, world.start)
    assert world.queue.earliest(world.now()) == later


def test_whoever_waits_is_woken_when_something_comes(world):
    agent = world.agent()
    world.opened.woken.clear()
    execution = world.admit(agent).execution
    assert world.opened.woken
    world.opened.woken.clear()
    world.store.revise(execution.id, world.start)
    assert not world.opened.woken


def test_a_new_process_sees_at_once_what_the_one_before_it_had_taken(lasting):
    execution = lasting.admit(lasting.agent()).execution
    assert len(lasting.received()) == 1
    lasting.restart()
    if lasting.kind.shared:  # it may be at work still
        assert lasting.received() == []
        lasting.now.pass_(seconds=31)
    assert [message.execution_id for message in lasting.received()] == [execution.id]
