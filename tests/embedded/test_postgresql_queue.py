"""Messages that are taken by the transaction that starts their attempts, where several engines share a database."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psycopg
import pytest
from tests.support import postgresql

from overnight.agents import AgentDocument
from overnight.core import fire, lifecycle, run
from overnight.core.run import Started
from overnight.embedded.engine import Engine
from overnight.embedded.sql.database import Due
from overnight.embedded.sql.instants import to_us
from overnight.embedded.sql.queue import SHARED_VISIBILITY_SECONDS, Taken
from overnight.embedded.wiring import Settings, open_engine
from overnight.errors import Unavailable
from overnight.executions import Message, Status

KEY = {"OVERNIGHT_MASTER_KEY": "A" * 43 + "="}


@pytest.fixture
def open_one(tmp_path: Path) -> Iterator[Callable[[], Engine]]:
    """One more engine, which is not started."""
    opened: list[Engine] = []
    number = itertools.count()

    def open_it() -> Engine:
        data = tmp_path / str(next(number))
        opened.append(open_engine(Settings(data, database=postgresql.namespace(tmp_path), workers=1, environ=KEY)))
        return opened[-1]

    yield open_it
    for engine in opened:
        engine.close()


@pytest.fixture
def engine(open_one) -> Engine:
    engine: Engine = open_one()
    document = {"name": "report", "flow": {"python": "reports:daily"}, "concurrency": {"max_parallel": 10}}
    lifecycle.create(engine.ports, AgentDocument.model_validate(document))
    return engine


def fired(engine: Engine) -> str:
    return fire.trigger(engine.ports, "report").execution.id


def turn(engine: Engine, work: Callable[[Sequence[Message]], object], later: float = 0) -> Taken:
    taken = Taken()
    due = Due(10, to_us(engine.ports.now()) + round(later * 1_000_000))
    engine._queue.together(due, work, taken, agents=set(), executions=set())
    return taken


def ids(messages: Sequence[Message]) -> list[str]:
    return [message.execution_id for message in messages]


def test_what_one_takes_no_other_is_given_and_it_does_not_wait(engine, open_one):
    other = open_one()
    first = fired(engine)
    second = []

    def work(messages: Sequence[Message]) -> Sequence[Started]:
        second.append(fired(other))
        assert ids(turn(other, lambda messages: run.turn(other.ports, (), messages)).messages) == second
        return run.turn(engine.ports, (), messages)

    assert ids(turn(engine, work).messages) == [first]
    assert [engine.ports.store.execution(one).lease.worker for one in (first, *second)] == [
        engine.ports.worker,
        other.ports.worker,
    ]
    assert turn(engine, len).all == turn(other, len).all == []


def test_a_turn_that_fails_leaves_its_messages_to_whoever_comes_next(engine, open_one):
    message = fired(engine)
    taken = Taken()

    def work(messages: Sequence[Message]) -> None:
        assert run.turn(engine.ports, (), messages)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        engine._queue.together(Due(10, to_us(engine.ports.now())), work, taken, agents=set(), executions=set())
    assert ids(taken.messages) == [message]
    assert ids(turn(open_one(), len).messages) == [message]


def test_a_message_that_starts_nothing_is_done_with(engine):
    fired(engine)
    assert len(turn(engine, lambda _: None).messages) == 1
    assert turn(engine, len, later=60).all == []


def test_what_somebody_else_moves_and_what_takes_longer_is_kept_for_a_while(engine, open_one, tmp_path):
    held, free = fired(engine), fired(engine)
    agent_id = engine.ports.store.agent("report").id
    engine.ports.queue.send([Message(kind="retry", execution_id=free, agent_id=agent_id, attempt=2)])
    with psycopg.connect(postgresql.namespace(tmp_path)) as somebody:
        somebody.execute("SELECT 1 FROM executions WHERE id = %s FOR UPDATE", (held,))
        taken = turn(engine, lambda messages: run.turn(engine.ports, (), messages))
    assert ids(taken.messages) == [free]
    assert {(message.execution_id, message.kind) for message in taken.others} == {(held, "run"), (free, "retry")}
    other = open_one()
    assert turn(other, len, later=SHARED_VISIBILITY_SECONDS - 1).all == []
    assert len(turn(other, len, later=SHARED_VISIBILITY_SECONDS + 1).all) == 2


def test_an_attempt_that_started_is_run_though_the_answer_to_the_commit_was_lost(engine, monkeypatch):
    message = fired(engine)
    together = engine._queue.together

    def lost(*arguments, **needs):
        together(*arguments, **needs)
        raise Unavailable("the connection was lost at a commit")

    monkeypatch.setattr(engine._queue, "together", lost)
    started, received = engine._turns.turn([], 1)
    assert [(one.execution.id, one.execution.status) for one in started] == [(message, Status.RUNNING)]
    assert ids(received) == [message]


def test_of_a_turn_that_fails_each_is_done_by_itself(engine, monkeypatch):
    messages = {fired(engine), fired(engine)}
    as_one = run.turn

    def failing(ports, ended, messages):
        if len(messages) > 1:
            raise Unavailable("all at once")
        return as_one(ports, ended, messages)

    monkeypatch.setattr("overnight.embedded.turns.run.turn", failing)
    started, _ = engine._turns.turn([], 10)
    assert {one.execution.id for one in started} == messages
    assert turn(engine, len, later=60).all == []
