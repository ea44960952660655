"""The pages, and one project with one engine in which all their samples live."""

import contextlib
import io
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest
from tests.docs.pages import ROOT, WRITTEN_BY_HAND, Page, pages

from overnight.cli import main

STARTUP_SECONDS = 60.0
_OF_THE_SHELL = re.compile(r"&&|[|>$;]")


@dataclass(frozen=True, slots=True)
class Project:
    """A folder with the files that the pages show, and an engine that runs its agents."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        """Where its engine answers."""
        return f"http://127.0.0.1:{self.port}"

    def run(self, script: str) -> tuple[int, str, str]:
        """Run commands as a reader would, against this project's engine: exit code, output, errors.

        What needs no shell needs no new process either, which would take most of the time.
        """
        commands = [shlex.split(line, comments=True) for line in script.replace("\\\n", "").splitlines()]
        if all(command[0] in {"overnight", "cd"} for command in commands) and not _OF_THE_SHELL.search(script):
            return self._run_here(commands)
        done = subprocess.run(
            ["sh", "-eu", "-c", script.replace("http://127.0.0.1:8321", self.url)],
            cwd=self.folder,
            env=environment(OVERNIGHT_URL=self.url, KEY="sk-sample"),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def _run_here(self, commands: list[list[str]]) -> tuple[int, str, str]:
        code, output, errors = 0, io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
        ):
            patch.setenv("OVERNIGHT_URL", self.url)
            for program, *arguments in commands:
                if program == "cd":
                    os.chdir(arguments[0])
                elif code := main(arguments):
                    break
        return code, output.getvalue(), errors.getvalue()


def environment(**more: str) -> dict[str, str]:
    """With the commands of this virtual environment first, and nothing of Overnight's."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OVERNIGHT_")}
    return inherited | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"} | more


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project, with its engine serving."""
    folder = tmp_path_factory.mktemp("project")
    (folder / ".venv").symlink_to(Path(sys.prefix))
    write_files(folder, pages(WRITTEN_BY_HAND))
    made = Project(folder, free_port())
    command = ["overnight", "serve", "--port", str(made.port), "--project", ".", "--project", "nightly"]
    log = folder / "engine.log"
    with log.open("w") as stderr:
        engine = subprocess.Popen(command, cwd=folder, env=environment(REGION="eu"), stderr=stderr)
        try:
            wait_until_it_answers(engine, made.port)
            yield made
        finally:
            engine.terminate()
            assert engine.wait(90) == 0, log.read_text()


def write_files(folder: Path, written: list[Page]) -> None:
    """Every file that a page shows under its name, and the flows that they speak of."""
    hello = (ROOT / "examples" / "flows" / "hello.json").read_bytes()
    for page in written:
        for block in page.blocks:
            for flow in block.flow_files:
                (folder / flow).parent.mkdir(parents=True, exist_ok=True)
                (folder / flow).write_bytes(hello)
            if block.file and not block.file.startswith("nightly/"):
                path = folder / block.file
                assert not path.exists() or path.read_text(encoding="utf-8") == block.text, f"{path.name} twice"
                path.write_text(block.text, encoding="utf-8")


def wait_until_it_answers(engine: "subprocess.Popen[bytes]", port: int) -> None:
    """Wait until the engine that was just started answers."""
    deadline = time.monotonic() + STARTUP_SECONDS
    while True:
        try:
            with urlopen(f"http://127.0.0.1:{port}/health"):
                return
        except OSError:
            assert engine.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
