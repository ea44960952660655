"""A packaged function under Lambda's own runtime client, against a Lambda Runtime API of ours.

    with Packaged("api", task=…, layer=…, environment={…}) as api:
        answer = api.invoke({"httpMethod": "GET", …})

The process sees the standard library, the bundle and the runtime client, and nothing else.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from infra.bundling import PYTHON, interpreter

__all__ = ["FunctionError", "Packaged"]

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 100.0


@cache
def runtime_client() -> Path:
    """Where Lambda's own runtime client lies, as locked, for Lambda's Python."""
    target = ROOT / "build/runtime-client"
    shutil.rmtree(target, ignore_errors=True)
    command = [
        *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(target), "--only-binary", ":all:"),
        *("--python", sys.executable, "--python-version", PYTHON, "--python-platform", "x86_64-manylinux_2_28"),
        *("--constraints", str(ROOT / "requirements/dev.txt"), "awslambdaric"),
    ]
    subprocess.run(command, check=True, env=os.environ | {"UV_PYTHON_DOWNLOADS": "never"})
    return target


class FunctionError(Exception):
    """The function raised, or could not be imported."""


class _Api(ThreadingHTTPServer):
    """Hands out events, and takes what becomes of them."""

    daemon_threads = True

    def __init__(self) -> None:
        self.events: queue.Queue[tuple[str, bytes, float]] = queue.Queue()
        self.answers: queue.Queue[tuple[str, bytes]] = queue.Queue()
        super().__init__(("127.0.0.1", 0), _Requests)


class _Requests(BaseHTTPRequestHandler):
    server: _Api

    def do_GET(self) -> None:
        if not self.path.endswith("/invocation/next"):
            self.send_error(404)
            return
        id_, event, deadline = self.server.events.get()
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", id_)
        self.send_header("Lambda-Runtime-Deadline-Ms", str(round(deadline * 1_000)))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:123456789012:function:it")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(event)))
        self.end_headers()
        self.wfile.write(event)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.answers.put((self.path.rsplit("/", 1)[1], body))

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Packaged:
    """A function that is started cold, and called one event at a time."""

    def __init__(
        self, name: str, *, task: Path, layer: Path | None, environment: Mapping[str, str], timeout: float = 60.0
    ) -> None:
        self.name = name
        self._task = task
        self._layer = layer
        self._environment = dict(environment)
        self._timeout = timeout
        self._api = _Api()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        threading.Thread(target=self._api.serve_forever, daemon=True).start()
        path = [self._task, *([self._layer / "python"] if self._layer else []), runtime_client()]
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            # No site-packages: they would lend the bundle what it lacks.
            [str(interpreter()), "-S", "-m", "awslambdaric", "handler.handler"],
            cwd=self._task,
            env={
                "PATH": "/usr/bin:/bin",
                "LANG": "en_US.UTF-8",
                "TZ": ":UTC",
                "PYTHONPATH": ":".join(map(str, path)),
                "PYTHONDONTWRITEBYTECODE": "1",  # as on Lambda, where nothing can be written beside the sources
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._api.server_address[1]}",
                "AWS_LAMBDA_FUNCTION_NAME": self.name,
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "2048",
                "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
                "LAMBDA_TASK_ROOT": str(self._task),
                "_HANDLER": "handler.handler",
                **self._environment,
            },
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process
        self._process.kill()
        self._process.wait()
        self._api.shutdown()
        self._api.server_close()
        self._log.close()

    @property
    def log(self) -> str:
        """What it has printed."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def invoke(self, event: Any) -> Any:
        """What it answers. Raises FunctionError."""
        self._api.events.put((str(uuid.uuid4()), json.dumps(event).encode(), time.time() + self._timeout))
        until = time.monotonic() + TIMEOUT_SECONDS
        while True:
            try:
                kind, body = self._api.answers.get(timeout=0.5)
                break
            except queue.Empty:
                assert self._process
                if self._process.poll() is not None:
                    raise FunctionError(f"{self.name} ended with {self._process.returncode}:\n{self.log}") from None
                if time.monotonic() > until:
                    raise FunctionError(f"{self.name} does not answer:\n{self.log}") from None
        if kind != "response":
            raise FunctionError(f"{self.name}: {json.loads(body)}\n{self.log}")
        return json.loads(body)
