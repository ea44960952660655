"""Several engines side by side on one PostgreSQL, each with its own folder and workers."""

import base64
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support import postgresql

from overnight.agents import AgentDocument
from overnight.core import fire, lifecycle, run
from overnight.core.verify import verify
from overnight.embedded.engine import Engine
from overnight.embedded.wiring import Settings, open_engine
from overnight.errors import Unavailable
from overnight.executions import AttemptOutcome, Execution, Status
from overnight.ports import ExecutionFilter

FLOWS = """
import time
from pathlib import Path
HERE = Path(__file__).parent

def quick(context):
    return context.agent

def until_told(context):
    (HERE / f"began-{context.execution_id}").touch()
    while not (HERE / "end").exists():
        time.sleep(0.01)

def big(context):
    print("as I was saying " * 10)
    return context.variables["KEY"][::-1] * 3_000
"""
EVERY_SECOND = {"name": "schedule", "interval": {"seconds": 1}}
KEY = base64.b64encode(os.urandom(32)).decode()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "side_by_side.py").write_text(FLOWS)
    return folder


@pytest.fixture
def start(tmp_path: Path, project: Path) -> Iterator[Callable[..., Engine]]:
    """Starts one more engine."""
    engines: list[Engine] = []
    number = itertools.count(1)

    def start_one(workers: int = 2, url: str | None = None, **environ: str) -> Engine:
        engine = open_engine(
            Settings(
                data=tmp_path / f"engine-{next(number)}",
                database=url or postgresql.namespace(tmp_path),
                folders=(project,),
                workers=workers,
                environ={"OVERNIGHT_MASTER_KEY": KEY, **environ},
            )
        )
        engines.append(engine)
        engine.start()
        engine.warm(20)
        return engine

    yield start_one
    (project / "end").touch()
    threads = [threading.Thread(target=engine.stop, args=(0,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)


@pytest.fixture
def nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines look for what they were not told of once in a minute instead of once a second."""
    monkeypatch.setattr("overnight.embedded.engine.LONGEST_WAIT_SECONDS", 60.0)
    monkeypatch.setattr("overnight.embedded.engine.RENEW_SECONDS", 60.0)


def agent(engine: Engine, flow: str, **fields: Any) -> str:
    document = {"name": flow.replace("_", "-"), "flow": {"python": f"side_by_side:{flow}"}, "enabled": True} | fields
    created, _ = lifecycle.create(engine.ports, AgentDocument.model_validate(document))
    return created.id


def until(engine: Engine, execution: Execution, *statuses: Status, seconds: float = 20) -> Execution:
    """The execution once it is of one of these statuses."""
    deadline = time.monotonic() + seconds
    while (row := engine.ports.store.execution(execution.id)).status not in statuses:
        assert time.monotonic() < deadline, row
        time.sleep(0.01)
    return row


def test_each_tick_is_one_execution_however_many_engines_there_are(start):
    engines = [start(), start()]
    id_ = agent(engines[0], "quick", triggers=[EVERY_SECOND])
    store = engines[1].ports.store
    where = ExecutionFilter(agent_id=id_, statuses=(Status.SUCCEEDED,))
    deadline = time.monotonic() + 30
    while len(rows := store.executions(where).items) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    lifecycle.pause(engines[1].ports, id_)
    ticks = sorted(row.nominal for row in rows)
    assert [(after - before).total_seconds() for before, after in itertools.pairwise(ticks)] == [1.0] * (len(rows) - 1)
    assert all(row.attempt == 1 for row in rows)
    now = engines[0].ports.now()
    assert verify(store, now, ticks[0], now).ok


def test_what_one_engine_has_no_worker_for_another_one_runs_without_delay(start, nobody_looks):
    busy, idle = start(workers=1), start(workers=1)
    agent(busy, "until_told", concurrency={"max_parallel": None})
    first, second = (fire.trigger(busy.ports, "until-told").execution for _ in range(2))
    workers = {until(busy, row, Status.RUNNING).lease.worker for row in (first, second)}
    assert workers == {busy.ports.worker, idle.ports.worker}


def test_what_runs_on_one_engine_is_cancelled_by_another_one(start, nobody_looks):
    runs, cancels = start(workers=1), start(workers=1)
    agent(runs, "until_told")
    execution = fire.trigger(runs.ports, "until-told").execution
    row = until(runs, execution, Status.RUNNING)
    there, other = (runs, cancels) if row.lease.worker == runs.ports.worker else (cancels, runs)
    deadline = time.monotonic() + 20
    while there.worker_of(execution.id) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert run.cancel(other.ports, execution.id).status is Status.CANCELLED
    while execution.id in other.ports.store.read(row.agent_id)[1].running:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_an_engine_that_ends_puts_back_goes_on_elsewhere_at_once(start, project, nobody_looks):
    first = start(workers=1)
    agent(first, "until_told", retries={"attempts": 1})
    execution = fire.trigger(first.ports, "until-told").execution
    until(first, execution, Status.RUNNING)
    second = start(workers=1)
    first.stop(drain_seconds=0)
    row = until(second, execution, Status.RUNNING, seconds=5)
    while row.attempt == 1:  # it was not put back yet when we looked
        row = second.ports.store.execution(execution.id)
    assert row.lease.worker == second.ports.worker
    (project / "end").touch()
    row = until(second, execution, Status.SUCCEEDED)
    outcomes = [attempt.outcome for attempt in second.ports.store.attempts(execution.id)]
    assert outcomes == [AttemptOutcome.INTERRUPTED, AttemptOutcome.SUCCEEDED]


def test_secrets_and_what_is_large_are_everywhere(start):
    first, second = start(), start()
    first.ports.secrets.set("key", "abc")
    agent(second, "big", variables={"KEY": "secret:key"})
    execution = until(first, fire.trigger(first.ports, "big", input={"x": "y" * 5_000}).execution, Status.SUCCEEDED)
    for engine in (first, second):
        assert engine.ports.blobs.get(execution.output.blob).count(b"cba") == 3_000
        (attempt,) = engine.ports.store.attempts(execution.id)
        assert engine.ports.blobs.get(attempt.log).startswith(b"as I was saying")
        assert engine.ports.store.used_blobs([execution.output.blob, attempt.log, "0" * 64]) == {
            execution.output.blob,
            attempt.log,
        }


@pytest.mark.slow
def test_a_database_that_goes_away_is_waited_for_and_what_has_run_meanwhile_is_not_run_again(start, project):
    server = postgresql.Server()
    try:
        engine = start(url=server.url)
        ticking = agent(engine, "quick", triggers=[EVERY_SECOND])
        agent(engine, "until_told", retries={"attempts": 1})
        execution = fire.trigger(engine.ports, "until-told").execution
        until(engine, execution, Status.RUNNING)
        server.crash()
        (project / "end").touch()
        time.sleep(3)
        with pytest.raises(Unavailable, match="does not answer"):
            engine.ports.store.healthy()
        server.start()
        row = until(engine, execution, Status.SUCCEEDED, Status.FAILED, seconds=15)
        assert (row.status, row.attempt) == (Status.SUCCEEDED, 1)
        back = engine.ports.now()
        where = ExecutionFilter(agent_id=ticking, statuses=(Status.SUCCEEDED,), since=back)
        deadline = time.monotonic() + 15
        while not engine.ports.store.executions(where).items:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        (project / "end").touch()
        server.close()
