"""A real engine, `overnight serve`, as a process of its own, which a test may kill."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil

from overnight.client import ApiError, Client, NoEngine

T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(condition: Callable[[], T], seconds: float = 60.0, every: float = 0.05) -> T:
    """What the condition gives, once it is true; fails when it isn't in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not in {seconds:g} s"
        time.sleep(every)
    return found


class EngineProcess:
    """Started, killed and started again on the same folder and port."""

    def __init__(self, data: Path, project: Path, *arguments: str) -> None:
        self.data = data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data.parent / f"{data.name}.log"
        self._command = [
            *(sys.executable, "-m", "overnight.cli", "serve", "--data", str(data), "--project", str(project)),
            *("--port", str(self.port), *arguments),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "EngineProcess":
        self.launch()
        eventually(self.answers, 60)
        return self

    def launch(self) -> None:
        """Start it, and don't wait until it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)

    @property
    def ended(self) -> bool:
        """Whether it has given up by itself."""
        return self._process is not None and self._process.poll() is not None

    def answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-2_000:]
        with contextlib.suppress(NoEngine, ApiError), self.client() as client:
            return client.health()["status"] == "ok"
        return False

    def client(self) -> Client:
        return Client(self.url, timeout_seconds=30)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """As the kernel does: the engine alone; its workers find out."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        """Ask it to end; its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(seconds)

    def workers(self) -> list[int]:
        """The worker processes for Python flows, whether they run an attempt or not."""
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if "spawn_main" in " ".join(process.cmdline()):
                        found.append(process.pid)
        return found

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@contextlib.contextmanager
def engine_process(data: Path, project: Path, *arguments: str) -> Iterator[EngineProcess]:
    process = EngineProcess(data, project, *arguments)
    try:
        yield process.start()
    finally:
        process.close()
