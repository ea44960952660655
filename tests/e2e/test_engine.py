"""The engine as a process, with real workers: what ends an attempt, and what goes on after a stop or a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.engine_process import EngineProcess, engine_process, eventually

from overnight.client import Client

FLOWS = """
import os, sys, time

def echo(context):
    print("said by", context.agent)
    return context.input_value or "nothing"

def here(context):
    with open(f"{__file__}.{context.execution_id}", "w") as file:
        file.write(str(os.getpid()))

def spin(context):
    print("spinning", flush=True)
    here(context)
    while True:
        pass

def hold_the_interpreter():
    sum(range(10**13))

def nap(context):
    print("napping", flush=True)
    time.sleep(float(context.input_value or 30))
    return f"woke up at attempt {context.attempt}"

def nap_once(context):
    if context.attempt == 1:
        here(context)
        time.sleep(60)
    return f"woke up at attempt {context.attempt}"

def exits():
    os._exit(7)

def eats_memory():
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
    eaten = bytearray(2**40)
"""

FEW = {"attempts": 2, "backoff_seconds": 0, "jitter": "none"}


def add(client: Client, name: str, flow: str, **rest: object) -> None:
    client.create_agent({"name": name, "flow": {"python": f"night_flows:{flow}"}, "enabled": True, **rest})


def ended(client: Client, execution: dict, seconds: float = 30) -> dict:
    def terminal() -> dict | None:
        now = client.execution(execution["id"])
        return now if now["status"] in {"succeeded", "failed", "cancelled", "skipped"} else None

    return eventually(terminal, seconds)


def running(client: Client, execution: dict) -> bool:
    logs = client.execution(execution["id"])
    return logs["status"] == "running"


def worker_of(project: Path, execution: dict) -> int:
    """The process that runs it, as soon as it has told."""
    told = project / f"night_flows.py.{execution['id']}"
    return int(eventually(lambda: told.exists() and told.read_text()))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "night_flows.py").write_text(FLOWS)
    return folder


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Iterator[EngineProcess]:
    with engine_process(tmp_path_factory.mktemp("engine") / "data", project, "--workers", "4") as process:
        yield process


@pytest.fixture
def client(engine: EngineProcess) -> Iterator[Client]:
    with engine.client() as connected:
        yield connected


@pytest.mark.parametrize("flow", ["spin", "hold_the_interpreter"])
def test_a_timeout_holds_against_code_that_never_yields(client: Client, flow: str):
    add(client, f"never-{flow}", flow, timeout_seconds=0.5, retries=FEW)

    execution = ended(client, client.trigger(f"never-{flow}"))

    assert execution["status"] == "failed"
    assert execution["failure"]["type"] == "TimedOut"
    assert "timeout_seconds" in execution["failure"]["message"]
    assert [attempt["outcome"] for attempt in execution["attempts"]] == ["timed_out", "timed_out"]


def test_a_cancelled_execution_stays_cancelled_and_its_worker_is_ended(client: Client, project: Path):
    add(client, "cancel-me", "spin")
    execution = client.trigger("cancel-me")
    eventually(lambda: running(client, execution))
    pid = worker_of(project, execution)

    cancelled = client.cancel(execution["id"])

    assert cancelled["status"] == "cancelled"
    eventually(lambda: not Path(f"/proc/{pid}").exists() and client.agent("cancel-me")["running"] == 0)
    assert client.execution(execution["id"])["status"] == "cancelled"


@pytest.mark.parametrize("flow", ["exits", "eats_memory"])
def test_a_flow_that_ends_its_worker_costs_its_attempts_and_nothing_else(client: Client, flow: str):
    add(client, f"bad-{flow}", flow, retries=FEW)
    add(client, f"good-beside-{flow}", "echo")

    bad, good = client.trigger(f"bad-{flow}"), client.trigger(f"good-beside-{flow}", input_value="all is well")

    assert ended(client, bad)["status"] == "failed"
    assert ended(client, good)["output"]["text"] == "all is well"


def test_a_worker_that_is_killed_costs_one_attempt(client: Client, project: Path):
    add(client, "survivor", "nap_once", retries=FEW)
    execution = client.trigger("survivor")
    pid = worker_of(project, execution)

    os.kill(pid, signal.SIGKILL)

    execution = ended(client, execution)
    assert execution["output"]["text"] == "woke up at attempt 2"
    assert [attempt["outcome"] for attempt in execution["attempts"]] == ["lost", "succeeded"]
    assert "signal 9" in execution["attempts"][0]["failure"]["message"]


def test_what_an_attempt_prints_is_kept_even_of_one_that_is_killed(client: Client):
    add(client, "talker", "echo")
    add(client, "cut-short", "spin", timeout_seconds=0.5, retries={"attempts": 1})
    told, cut = ended(client, client.trigger("talker")), ended(client, client.trigger("cut-short"))

    assert "said by talker" in json.dumps(client.logs(told["id"]))
    assert "spinning" in json.dumps(client.logs(cut["id"]))


def test_a_second_engine_on_the_same_folder_is_refused_in_one_line(engine: EngineProcess):
    command = [sys.executable, "-m", "overnight.cli", "serve", "--data", str(engine.data), "--port", "0"]

    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert second.returncode == 1
    assert second.stderr.strip().splitlines()[-1].startswith("error: another engine is using")


# Stopping, and going on


def test_a_drain_lets_attempts_end_and_puts_the_rest_back_uncharged(tmp_path: Path, project: Path):
    with engine_process(tmp_path / "data", project, "--drain-seconds", "3") as engine:
        with engine.client() as client:
            add(client, "short", "nap", retries={"attempts": 1})
            add(client, "long", "nap_once", retries={"attempts": 1})
            short, long = client.trigger("short", input_value="1.5"), client.trigger("long")
            eventually(lambda: running(client, short) and running(client, long))

        assert engine.stop(signal.SIGTERM) == 0
        engine.start()

        with engine.client() as client:
            assert ended(client, short)["output"]["text"] == "woke up at attempt 1"
            went_on = ended(client, long)
            assert went_on["output"]["text"] == "woke up at attempt 2"
            assert [attempt["outcome"] for attempt in went_on["attempts"]] == ["interrupted", "succeeded"]
            assert went_on["tries"] == 1
        assert engine.stop(signal.SIGINT) == 0


def test_a_second_signal_hurries(tmp_path: Path, project: Path):
    with engine_process(tmp_path / "data", project, "--drain-seconds", "60") as engine:
        with engine.client() as client:
            add(client, "long", "nap")
            execution = client.trigger("long", input_value="60")
            eventually(lambda: running(client, execution))
        os.kill(engine.pid, signal.SIGTERM)
        eventually(lambda: b"engine.draining" in engine.log.read_bytes())

        assert engine.stop(signal.SIGTERM, seconds=15) == 0


def test_an_engine_that_waits_for_an_attempt_costs_next_to_nothing(tmp_path: Path, project: Path):
    def used() -> float:
        """CPU, in seconds, over a second and a half."""
        process = psutil.Process(engine.pid)
        before = process.cpu_times()
        time.sleep(1.5)
        after = process.cpu_times()
        return after.user + after.system - before.user - before.system

    with engine_process(tmp_path / "data", project, "--workers", "2", "--drain-seconds", "60") as engine:
        with engine.client() as client:
            add(client, "long", "nap")
            execution = client.trigger("long", input_value="60")
            eventually(lambda: running(client, execution))
        assert used() < 0.5
        os.kill(engine.pid, signal.SIGTERM)
        eventually(lambda: b"engine.draining" in engine.log.read_bytes())
        assert used() < 0.5
        engine.stop(signal.SIGTERM)


def test_after_sigkill_agents_are_armed_and_what_was_interrupted_goes_on(tmp_path: Path, project: Path):
    with engine_process(tmp_path / "data", project) as engine:
        with engine.client() as client:
            add(client, "ticking", "echo", schedule={"interval": {"seconds": 1}})
            add(client, "long", "nap_once", retries={"attempts": 2, "backoff_seconds": 0})
            add(client, "waiting", "nap", concurrency={"max_parallel": 1})
            long = client.trigger("long")
            line = [client.trigger("waiting", input_value="1.5"), client.trigger("waiting", input_value="0.1")]
            eventually(lambda: running(client, long) and running(client, line[0]))
        workers = engine.workers()

        engine.kill()

        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 15)
        engine.start()
        with engine.client() as client:
            went_on = ended(client, long)
            assert [attempt["outcome"] for attempt in went_on["attempts"]] == ["lost", "succeeded"]
            before = len(client.executions(agent="ticking", limit=100)["items"])
            eventually(lambda: len(client.executions(agent="ticking", limit=100)["items"]) > before + 1)
            client.stop("ticking")
            assert client.verify()["findings"] == []
