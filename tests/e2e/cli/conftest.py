"""An engine that serves, and the command line that talks to it, each in a process of its own."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from overnight.cli import main

PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as `overnight init` makes it."""
    folder = tmp_path_factory.mktemp("project")
    subprocess.run([sys.executable, "-m", "overnight.cli", "init"], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def serving(project: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """`overnight serve` in the project, with a token."""
    command = [sys.executable, "-m", "overnight.cli", "serve", "--port", str(port)]
    environment = os.environ | {"OVERNIGHT_API_TOKEN": "s3cret"}
    with (project / "serve.log").open("w+") as log:
        process = subprocess.Popen(command, cwd=project, env=environment, stderr=log, text=True)
        try:
            wait_until(lambda: answers(port) or process.poll() is not None)
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_SECONDS) == 0, (project / "serve.log").read_text()
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def overnight(
    project: Path,
    port: int,
    serving: subprocess.Popen[str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Any]:
    """Run `overnight` in this process, which is quicker; with `--json` what it printed is read."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("OVERNIGHT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OVERNIGHT_DEBUG", "1")

    def run(*arguments: str, code: int = 0, stdin: str = "", token: str = "s3cret") -> Any:
        monkeypatch.setenv("OVERNIGHT_API_TOKEN", token)
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capfd.readouterr()
        ended = main(arguments)
        said = capfd.readouterr()
        assert ended == code, said
        if code:
            return said.err or said.out
        return json.loads(said.out) if "--json" in arguments else said.out

    return run


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
