"""What was acknowledged is there after a crash, and what was written as one is there as one."""

import multiprocessing
import os
import signal
import threading
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from overnight.errors import Unavailable
from overnight.executions import Status
from overnight.ports import Change, ExecutionFilter, Transition


def test_everything_outlives_a_restart(lasting):
    triggers = [{"name": "e", "event": {"name": "a.b"}}]
    agent = lasting.agent(triggers=triggers)
    lasting.edit(agent, version=2, document=lasting.document(triggers=triggers, description="two"))
    execution = lasting.started(agent)
    waiting = lasting.admit(agent).execution
    later = lasting.admit(agent, due=lasting.now() + timedelta(minutes=1)).execution
    before = lasting.store.read(agent.id)
    lasting.restart()
    assert lasting.store.read(agent.id) == before
    assert lasting.store.agent_version(agent.id, 1) == agent
    assert lasting.store.execution(execution.id) == execution
    assert [one.id for one in lasting.store.executions(ExecutionFilter()).items] == [later.id, waiting.id, execution.id]
    assert lasting.store.subscribers(["a.b"]) == (agent.id,)
    assert [message.execution_id for message in lasting.received()] == [waiting.id]
    lasting.now.pass_(minutes=1)
    assert [due.execution_id for due in lasting.store.due_executions(lasting.now(), 9)] == [later.id]
    assert [due.agent_id for due in lasting.store.due_agents(lasting.now(), 9)] == [agent.id]


def test_what_two_processes_write_they_both_see(lasting):
    agent = lasting.agent()
    lasting.admit(agent)
    other = lasting.kind.open(lasting.folder, lasting.now)
    try:
        for store in (other.store, lasting.store, other.store):
            note = store.read(agent.id)[1].rev

            def move(agent, state, note=note):
                assert state.rev == note
                return Transition(state.model_copy(update={"note": str(note)}))

            store.transition(agent.id, move)
        assert lasting.state(agent).rev == 4
        assert other.store.read(agent.id)[1] == lasting.state(agent)
    finally:
        other.close()


def test_two_processes_that_open_at_once_find_one_database(lasting):
    folder = lasting.folder / "fresh"
    folder.mkdir()
    barrier, opened, failed = threading.Barrier(6), [], []

    def open_it():
        barrier.wait()
        try:
            opened.append(lasting.kind.open(folder, lasting.now))
        except Exception as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    agent = lasting.agent()
    opened[0].store.create_agent(Change(agent, Transition(lasting.state(agent))))
    assert [one.store.agent(agent.id) for one in opened] == [agent] * 6
    for one in opened:
        one.close()


def test_readers_see_what_is_committed_while_somebody_writes(lasting):
    agent = lasting.agent()
    admitted = lasting.admit(agent).execution
    deciding, go_on = threading.Event(), threading.Event()

    def move(agent, state):
        deciding.set()
        go_on.wait(30)
        return Transition(state.model_copy(update={"note": "moved"}))

    writer = threading.Thread(target=lambda: lasting.store.transition(agent.id, move))
    writer.start()
    assert deciding.wait(30)
    assert lasting.state(agent).note is None
    assert lasting.store.execution(admitted.id) == admitted
    go_on.set()
    writer.join(30)
    assert lasting.state(agent).note == "moved"


def test_a_reader_never_sees_half_of_what_is_written_as_one(lasting):
    agent = lasting.agent()
    done = threading.Event()

    def write():
        for _ in range(50):
            lasting.admit(agent)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        for execution_id in lasting.state(agent).running:
            assert lasting.store.execution(execution_id).status is Status.PENDING
    writer.join(30)
    assert len(lasting.state(agent).running) == 50


def test_after_closing_everything_is_unavailable_and_nothing_hangs(world):
    agent = world.agent()
    world.opened.close()
    for ask in (lambda: world.state(agent), lambda: world.admit(agent), world.store.healthy):
        with pytest.raises(Unavailable):
            ask()


def _write_until_killed(open_world, acknowledged):
    """Admit and start executions from many threads, telling of each that was acknowledged."""
    world = open_world()
    world.now.at = datetime(2026, 3, 1, tzinfo=UTC)
    agents = [world.store.agent(name) for name in ("a", "b")]

    def work(n):
        for count in range(10_000):
            agent = agents[(n + count) % 2]
            execution = world.admit(agent, world.firing(agent, f"key:{n}:{count}")).execution
            os.write(acknowledged, f"admitted {execution.id}\n".encode())
            execution = world.store.revise(execution.id, world.start)[0].execution
            os.write(acknowledged, f"started {execution.id}\n".encode())

    for n in range(8):
        threading.Thread(target=work, args=(n,), daemon=True).start()
    signal.pause()


@pytest.mark.parametrize("milliseconds", [40, 90, 150])
def test_a_kill_loses_nothing_that_was_acknowledged_and_leaves_nothing_half_done(lasting, milliseconds):
    for name in ("a", "b"):
        lasting.agent(name)
    lasting.opened.close()
    reading, writing = os.pipe()
    context = multiprocessing.get_context("fork")
    open_world = partial(type(lasting), lasting.kind, lasting.folder)
    process = context.Process(target=_write_until_killed, args=(open_world, writing), daemon=True)
    process.start()
    os.close(writing)
    lines = os.fdopen(reading, "rb")
    first = lines.readline()  # it is at work
    process.join(milliseconds / 1_000)
    process.kill()
    acknowledged = [first, *lines.readlines()]
    lines.close()
    process.join(30)
    lasting.open()
    _check_the_rest(lasting, [line.decode().split() for line in acknowledged if line.endswith(b"\n")])


def _check_the_rest(world, acknowledged):
    assert acknowledged
    for done, execution_id in acknowledged:
        execution = world.store.execution(execution_id)
        assert done == "admitted" or execution.attempt == 1
    stored, cursor = {}, None
    while True:
        page = world.store.executions(ExecutionFilter(), cursor=cursor, limit=500)
        stored |= {execution.id: execution for execution in page.items}
        cursor = page.cursor
        if cursor is None:
            break
    held = [id_ for name in ("a", "b") for id_ in world.store.read(name)[1].running]
    assert sorted(held) == sorted(stored), "an execution and its slot are written as one"
    for name in ("a", "b"):
        _, state = world.store.read(name)
        assert state.rev == len(state.running)
    queued = {message.execution_id for message in world.queue.receive(100_000, datetime(2030, 1, 1, tzinfo=UTC))}
    assert queued == {id_ for id_, execution in stored.items() if execution.status is Status.PENDING}
