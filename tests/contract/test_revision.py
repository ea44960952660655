import threading
from datetime import timedelta

import pytest

from overnight.errors import ExecutionNotFound
from overnight.executions import AttemptOutcome, Status
from overnight.ports import Revision, Transition


def test_an_execution_moves_on_and_its_rev_with_it(world):
    agent = world.agent()
    execution = world.admit(agent).execution
    (revision, unsent) = world.store.revise(execution.id, world.start)
    assert unsent == ()
    assert revision.execution == world.store.execution(execution.id)
    assert revision.execution.status is Status.RUNNING
    assert revision.execution.rev == execution.rev + 1


def test_a_move_that_raises_or_declines_writes_nothing(world):
    execution = world.admit(world.agent()).execution

    def refuse(execution):
        raise ZeroDivisionError

    for known in (None, execution):
        with pytest.raises(ZeroDivisionError):
            world.store.revise(execution.id, refuse, known=known)
        assert world.store.revise(execution.id, lambda execution: None, known=known) is None
    assert world.store.execution(execution.id) == execution


def test_an_execution_that_is_not_there_is_said_to_be_so(world):
    agent = world.agent()
    ghost = world.execution(agent, world.firing(agent))
    for ask in (
        lambda: world.store.execution(ghost.id),
        lambda: world.store.attempts(ghost.id),
        lambda: world.store.revise(ghost.id, world.start),
        lambda: world.store.revise(ghost.id, world.start, known=ghost),
        lambda: world.store.readmit(ghost.id, lambda agent, state, execution: None),
    ):
        with pytest.raises(ExecutionNotFound, match=ghost.id):
            ask()


def test_what_is_known_spares_nothing_when_it_is_out_of_date(world):
    """A late writer is fenced off: it is asked again, with what is stored."""
    execution = world.admit(world.agent()).execution
    started = world.store.revise(execution.id, world.start)[0].execution
    cancelled = world.store.revise(execution.id, lambda row: world.end(row, Status.CANCELLED), known=started)
    asked = []

    def late(row):
        asked.append(row.status)
        return world.end(row) if row.status is Status.RUNNING else None

    assert world.store.revise(execution.id, late, known=started) is None
    assert asked[-1] is Status.CANCELLED
    assert world.store.execution(execution.id) == cancelled[0].execution


@pytest.mark.parametrize("stale", ["declines", "raises"])
def test_a_no_to_what_is_out_of_date_is_not_taken_for_an_answer(world, stale):
    execution = world.admit(world.agent()).execution
    world.store.revise(execution.id, world.start)

    def move(row):
        if row.status is Status.PENDING:
            if stale == "raises":
                raise ZeroDivisionError
            return None
        return world.end(row)

    revision, _ = world.store.revise(execution.id, move, known=execution)
    assert revision.execution.status is Status.SUCCEEDED


def test_of_many_that_start_the_same_attempt_at_once_one_does(world):
    execution = world.admit(world.agent()).execution
    barrier, won = threading.Barrier(10), []

    def start(known):
        barrier.wait()
        move = lambda row: world.start(row) if row.attempt == 0 else None  # noqa: E731
        if world.store.revise(execution.id, move, known=known):
            won.append(known)

    threads = [threading.Thread(target=start, args=(known,)) for known in [execution, None] * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(won) == 1
    assert world.store.execution(execution.id).attempt == 1


def test_every_attempt_is_kept_the_first_in_the_execution_itself(world):
    execution = world.started(world.agent())
    assert world.store.attempts(execution.id) == []
    retried = world.store.revise(execution.id, lambda row: world.end(row, Status.RETRYING), known=execution)[0]
    assert retried.execution.first == retried.attempt
    for number in (2, 3):
        started = world.store.revise(execution.id, world.start)[0].execution
        assert started.attempt == number
        world.store.revise(execution.id, lambda row: world.end(row, Status.RETRYING), known=started)
    attempts = world.store.attempts(execution.id)
    assert [attempt.number for attempt in attempts] == [1, 2, 3]
    assert attempts[0] == retried.attempt


def test_an_attempt_ends_once(world):
    execution = world.started(world.agent())
    for outcome in (AttemptOutcome.LOST, AttemptOutcome.SUCCEEDED):
        attempt = world.attempt(execution, 2, outcome)
        world.store.revise(execution.id, lambda row, attempt=attempt: Revision(row, attempt))
    assert [attempt.outcome for attempt in world.store.attempts(execution.id)] == [AttemptOutcome.LOST]


def test_starting_an_attempt_takes_its_message_and_those_before_it_from_the_queue(world):
    agent = world.agent()
    execution = world.admit(agent).execution
    later = world.message(execution, attempt=2)
    world.queue.send([later])
    world.store.revise(execution.id, world.start)
    assert world.received() == [later]


@pytest.mark.parametrize("status", [Status.CANCELLED, Status.FAILED, Status.SKIPPED, Status.SUCCEEDED])
def test_an_execution_that_has_ended_has_no_messages(world, status):
    execution = world.admit(world.agent()).execution
    world.queue.send([world.message(execution, kind="retry")])
    world.store.revise(execution.id, lambda row: Revision(row.model_copy(update={"status": status})))
    assert world.received() == []


def test_a_move_sends_what_it_says(world):
    execution = world.started(world.agent())
    due = world.now() + timedelta(minutes=1)
    retry = world.message(execution, attempt=2, kind="retry", due=due)

    def fail(row):
        ended = world.end(row, Status.RETRYING, due=due)
        return Revision(ended.execution, ended.attempt, (retry,))

    _, unsent = world.store.revise(execution.id, fail, known=execution)
    assert unsent == ()
    assert world.received() == []
    world.now.pass_(minutes=1)
    assert world.received() == [retry]


def test_a_readmission_moves_execution_and_state_as_one(world):
    agent = world.agent()
    execution = world.started(agent)
    world.store.revise(execution.id, lambda row: world.end(row, Status.RETRYING, due=world.now()))
    message = world.message(execution, attempt=2)

    def readmit(seen, state, row):
        assert (seen, state, row) == (agent, world.state(agent), world.store.execution(execution.id))
        running = state.running | {row.id: world.slot(attempt=2)}
        return (
            Revision(row.model_copy(update={"due": None})),
            Transition(state.model_copy(update={"running": running}), (message,)),
        )

    revision, transition, unsent = world.store.readmit(execution.id, readmit)
    assert unsent == ()
    assert revision.execution == world.store.execution(execution.id)
    assert revision.execution.due is None
    assert transition.state == world.state(agent)
    assert transition.state.running[execution.id].attempt == 2
    assert world.received() == [message]


def test_a_readmission_that_raises_or_declines_writes_nothing(world):
    agent = world.agent()
    execution = world.started(agent)
    state = world.state(agent)

    def refuse(agent, state, execution):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        world.store.readmit(execution.id, refuse)
    assert world.store.readmit(execution.id, lambda agent, state, execution: None) is None
    assert world.store.execution(execution.id) == execution
    assert world.state(agent) == state
