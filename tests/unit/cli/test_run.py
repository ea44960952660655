"""`overnight run`: one flow, once, in a process of its own, without a server."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

MODULE = """
import os, sys, time

def echo(context):
    print("printed on the way")
    return {"text": f"{context.input_value}|{context.firing.payload}|{context.variables.get('KEY')}", "n": 1}

def fails():
    raise RuntimeError("it is\\nbroken")

def hangs():
    while True:
        pass

def waits():
    print("started", flush=True)
    hangs()

def dies():
    os._exit(3)

def nothing():
    return None
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "flows.d").mkdir()
    for place in (tmp_path / "things.py", tmp_path / "flows.d" / "things.py"):
        place.write_text(MODULE)
    (tmp_path / "not-a-name.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("flow", ["things:echo", "flows.d/things.py:echo"])
def test_it_prints_the_text(flow, overnight) -> None:
    ran = overnight("run", flow, "--input", "hi", "--payload", '{"order": 42}', "--var", "KEY=a=b")

    assert (ran.code, ran.out) == (0, "hi|{'order': 42}|a=b\n")
    assert ran.err == "printed on the way\n"


def test_json_is_all_it_gave(overnight) -> None:
    assert overnight("run", "things:echo", "--json").json == {
        "text": "None|None|None",
        "outputs": {"text": "None|None|None", "n": 1},
        "usage": None,
    }


def test_nothing_is_nothing(overnight) -> None:
    assert overnight("run", "things:nothing").out == ""


def test_a_variable_may_come_from_the_environment(overnight, monkeypatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-1")

    assert overnight("run", "things:echo", "--var", "KEY=env:MY_KEY").out == "None|None|sk-1\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["things:fails"], "RuntimeError: it is broken"),
        (["things:dies"], "WorkerDied: Its process ended with code 3."),
        (["things:hangs", "--timeout", "1"], "TimedOut: It took longer than 1 s."),
        (["things:missing"], "MissingCallable: Module things has no 'missing'"),
        (["nowhere:fn"], "ModuleNotFoundError: There is no module 'nowhere'"),
        (["none.json"], "none.json: no such file or directory"),
        (["none.py:fn"], "none.py: no such file"),
        (["not-a-name.py:fn"], "not-a-name.py: 'not-a-name' can't be imported"),
        (["nothing"], "'nothing' is neither the path of a flow's JSON file nor package.module:callable"),
        (["things:echo", "--var", "KEY=env:NO_SUCH"], "--var KEY: the environment has no NO_SUCH"),
        (["things:echo", "--var", "KEY=secret:x"], "--var KEY: secrets are kept by an engine"),
    ],
)
def test_a_failure_is_one_line_and_exit_1(arguments, told, overnight) -> None:
    ran = overnight("run", *arguments)

    assert ran.code == 1
    assert ran.error.startswith(told)


def test_a_failure_as_json(overnight) -> None:
    ran = overnight("run", "things:fails", "--json")

    assert (ran.code, ran.json["failure"]["type"]) == (1, "RuntimeError")
    assert "broken" in ran.json["failure"]["traceback"]


def test_ctrl_c_ends_flow_and_command() -> None:
    command = [sys.executable, "-m", "overnight.cli", "run", "things:waits"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr
        assert process.stderr.readline() == "started\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == ""
        deadline = time.monotonic() + 30
        while _alive(process.pid):
            assert time.monotonic() < deadline, "the flow's process outlived the command"
            time.sleep(0.02)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
