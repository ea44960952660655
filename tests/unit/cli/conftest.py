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
def overnight(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ran]:
    """Run `overnight` with these arguments."""
    for name in ("OVERNIGHT_API_TOKEN", "OVERNIGHT_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OVERNIGHT_DEBUG", "1")

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(arguments)
        said = capsys.readouterr()
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
