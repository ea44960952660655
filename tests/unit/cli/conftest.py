"""The command line in this process, and an engine that answers what a test says."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from overnight.cli import main


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


Answer = tuple[int, Any] | Callable[[Request], tuple[int, Any]]


@dataclass
class Engine:
    """Answers from a table; what is asked for and isn't there is 404."""

    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def on(self, route: str, body: Any = None, status: int = 200) -> None:
        """Answer `GET /path` so; `body` may be a function of the request that gives (status, body)."""
        self.answers[route] = body if callable(body) else (status, body)

    def answer(self, request: Request) -> tuple[int, Any]:
        self.requests.append(request)
        found = self.answers.get(f"{request.method} {request.path}")
        if found is None:
            return 404, problem(404, "not_found", f"there is nothing at {request.path}")
        return found(request) if callable(found) else found


def problem(status: int, code: str, detail: str, **errors: str) -> dict[str, Any]:
    """Problem details, as the API answers them."""
    fields = [{"field": name.replace("__", "."), "message": message} for name, message in errors.items()]
    return {"type": f"urn:overnight:error:{code}", "title": code, "status": status, "detail": detail, "code": code,
            "errors": fields}  # fmt: skip


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line that says what went wrong."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: "), self.err
        return lines[0].removeprefix("error: ")


@pytest.fixture
def overnight(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run `overnight` with these arguments."""
    for name in ("OVERNIGHT_API_TOKEN", "OVERNIGHT_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OVERNIGHT_DEBUG", "1")
    monkeypatch.setattr("time.sleep", lambda _: None)

    def run(*arguments: str) -> Ran:
        capfd.readouterr()
        code = main(arguments)
        said = capfd.readouterr()
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine at OVERNIGHT_URL."""
    stub = Engine()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            request = Request(
                method=self.command,
                path=parts.path,
                query={name: values[0] for name, values in parse_qs(parts.query).items()},
                headers={name.lower(): value for name, value in self.headers.items()},
                body=json.loads(raw) if raw else None,
            )
            status, body = stub.answer(request)
            content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stub.url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("OVERNIGHT_URL", stub.url)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield stub
        server.shutdown()


ID = "3f2a9c41b07d5566778899aabbccddee"


class Wire:
    """What the API answers, as wire samples."""

    ID = ID
    OTHER = "3f2a9c41ffffffff778899aabbccddee"
    problem = staticmethod(problem)

    @staticmethod
    def agent(name: str = "hello", **more: Any) -> dict[str, Any]:
        return {
            "id": "a" * 32, "name": name, "description": "Says hello", "flow": {"langflow": "b" * 64, "name": "Hello"},
            "triggers": [{"name": "schedule", "cron": "0 8 * * *", "timezone": "UTC"}],
            "input": {"input_value": "hi"}, "variables": {"KEY": "secret:key"}, "retries": {"attempts": 3},
            "concurrency": {"max_parallel": 1}, "timeout_seconds": 600.0, "start_deadline_seconds": None,
            "pause_after_failures": None, "notify": None, "retention_days": 30, "version": 4, "status": "ACTIVE",
            "note": None, "changed_at": "2026-11-20T08:00:00Z", "created_at": "2026-11-20T08:00:00Z",
            "updated_at": "2026-11-20T08:00:00Z", "declared": False, "last_run_at": "2026-11-20T08:00:00Z",
            "next_run_at": "2099-11-21T08:00:00Z", "running": 1, "waiting": 0,
        } | more  # fmt: skip

    @staticmethod
    def attempt(number: int, outcome: str, failure: dict[str, Any] | None = None) -> dict[str, Any]:
        return {
            "number": number, "outcome": outcome, "started_at": "2026-11-20T08:00:00Z",
            "finished_at": "2026-11-20T08:00:01.5Z", "duration_seconds": 1.5, "worker": "w", "failure": failure,
            "usage": None,
        }  # fmt: skip

    FAILURE = {"type": "ConnectionError", "message": "the line is busy", "retryable": True, "traceback": "Traceback: …"}

    @staticmethod
    def execution(**more: Any) -> dict[str, Any]:
        return {
            "id": ID, "agent_id": "a" * 32, "agent": "hello", "status": "succeeded", "reason": None, "into": None,
            "kind": "schedule", "trigger": "schedule", "dedupe_key": "tick:schedule:2026-11-20T08:00:00+00:00",
            "nominal": "2026-11-20T08:00:00Z", "until": None, "count": 1, "previous": None, "missed_ticks": [],
            "payload": None, "input": None, "agent_version": 4, "created_at": "2026-11-20T08:00:00Z",
            "started_at": "2026-11-20T08:00:00.01Z", "finished_at": "2026-11-20T08:00:01.51Z", "due": None,
            "expires_at": None, "attempt": 2, "tries": 2, "redrives": 0,
            "output": {"text": "Good morning", "outputs": {}}, "failure": None, "usage": None,
            "lateness_seconds": 0.01, "replay_of": None, "test": False, "depth": 0,
        } | more  # fmt: skip

    @staticmethod
    def page(*items: Any, cursor: str | None = None) -> dict[str, Any]:
        return {"items": list(items), "cursor": cursor}


@pytest.fixture
def wire() -> type[Wire]:
    return Wire
