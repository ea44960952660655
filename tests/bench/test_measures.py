"""A case of each topic works, with sizes so small that its figures mean nothing; a database that is filled is sound.

`make bench ARGS='--size tiny'` tries all cases so, and takes minutes.
"""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from tests.bench import fill, server
from tests.bench.measures.filling import ROOT
from tests.bench.plan import TOPICS, plan
from tests.bench.setting import engine
from tests.bench.sizes import SIZES
from tests.support import postgresql

from overnight.core.verify import verify
from overnight.executions import Status
from overnight.ports import ExecutionFilter

FIRST = {case.topics: case for case in reversed(list(plan(tuple(TOPICS), SIZES["tiny"])))}
CASES = {case.name: case for topics, case in FIRST.items() if topics != ("bundles",)}


@pytest.fixture(scope="module")
def one_server():
    with server.server():
        yield


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_measure_fills_its_rows(name, one_server):
    case = CASES[name]
    command = [sys.executable, "-m", "tests.bench", "--one", name, "--size", "tiny"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    samples = json.loads(done.stdout.splitlines()[-1])
    assert set(samples) == set(case.topics)
    for rows in samples.values():
        for row, figures in rows.items():
            assert case.row in {"", row} or row.startswith(f"{case.row}: ")
            assert figures
            assert all(isinstance(value, float | int) for values in figures.values() for value in values)
            assert all(value >= 0 for value in figures.get("earliest, ms", [])), "a tick came early"


@pytest.mark.slow
def test_what_is_ended_ends_with_all_that_it_started(tmp_path):
    """Also with its PostgreSQL server, which is nobody's child."""
    command = [sys.executable, "-m", "tests.bench", "--size", "tiny", "--only", "pickup"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    environment.pop(server.VARIABLE, None)
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as bench:
        while "contest:overnight-postgresql" not in bench.stdout.readline():
            assert bench.poll() is None
        assert started_in(tmp_path)
        bench.terminate()
    assert bench.returncode == 1
    deadline = time.monotonic() + 30
    while (left := started_in(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


def started_in(folder):
    """The servers whose data is in that folder."""
    found = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
    return [line for line in found if "postgres" in "".join(line) and any(str(folder) in part for part in line)]


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request, tmp_path):
    url = postgresql.namespace(tmp_path) if request.param == "postgresql" else None
    with engine(tmp_path / "data", url, started=False) as opened:
        yield opened


def found(opened, hours):
    now = datetime.now(UTC)
    return verify(opened.ports.store, now, now - timedelta(hours=hours), now)


def test_many_agents_are_as_if_each_had_been_created(opened):
    fill.agents(opened, 0, 20)
    fill.agents(opened, 20, 50)
    fill.due(opened, 5, 60.0, 1.0)
    report = found(opened, 1)
    assert (report.findings, report.agents) == ((), 55)
    _, state = opened.ports.store.read("agent-000049")
    assert state.status == "ACTIVE"
    assert state.next_run_at - datetime.now(UTC) > timedelta(days=2)


def test_a_long_history_is_as_if_each_execution_had_been_run(opened):
    fill.history(opened, 5, 0, 1_000)
    fill.history(opened, 5, 1_000, 2_000)
    report = found(opened, 400 * fill.EVERY_SECONDS / 3600 - 1)
    assert (report.findings, report.agents) == ((), 5)
    assert report.ticks > 1_900
    store = opened.ports.store
    (newest,) = store.executions(ExecutionFilter(agent_id=store.agent("agent-000003").id), limit=1).items
    sample = fill.execution(newest.agent_id, newest.agent, newest.nominal, failed=False)
    assert newest == sample
    failed = store.executions(ExecutionFilter(statuses=(Status.FAILED,))).items
    assert len(failed) == 2_000 // fill.FAILED
