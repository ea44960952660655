"""A loopback server that speaks the OpenAI API, scripted by the test that uses it.

    with OpenAIServer() as server:
        server.script(Answer(status=429, retry_after="7"), Answer(text="Done."))

Answers are given in order; after the last one the server answers 200 with `Hello from the model.`. It listens on
127.0.0.2, because lfx rewrites 127.0.0.1 and localhost where it believes that it runs in a container.
"""

import json
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

HOST = "127.0.0.2"


@dataclass(frozen=True)
class Answer:
    """One scripted answer: a completion with `text`, or an error with `status`, after `delay_seconds`.

    `drop` closes the connection without an answer. Clients do not try again by themselves unless `client_retries`.
    """

    status: int = 200
    text: str = "Hello from the model."
    retry_after: str | None = None
    delay_seconds: float = 0.0
    drop: bool = False
    client_retries: bool = False
    tokens: tuple[int, int] = (11, 7)


@dataclass(frozen=True)
class Request:
    """What the server was asked: the path, the key, the body."""

    path: str
    key: str
    body: dict[str, Any] = field(default_factory=dict)


class OpenAIServer:
    """Chat completions (streamed or whole), embeddings and models; `requests` are those it has seen."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._script: list[Answer] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._http = _HTTPServer(self)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """The base URL, for OPENAI_BASE_URL."""
        return f"http://{HOST}:{self._http.server_address[1]}/v1"

    @property
    def variables(self) -> dict[str, str]:
        """The variables that make a flow of Langflow use this server."""
        return {"OPENAI_API_KEY": "sk-test-key", "OPENAI_BASE_URL": self.url}

    def script(self, *answers: Answer) -> None:
        """Give these answers to the next requests for completions or embeddings; forget what was scripted before."""
        with self._lock:
            self._script = list(answers)
            self.requests.clear()

    def seen(self, request: Request) -> Answer:
        """Record a request, and give its answer."""
        with self._lock:
            self.requests.append(request)
            return self._script.pop(0) if self._script else Answer()

    def wait(self, seconds: float) -> None:
        """Take time over an answer, but not when the test is over."""
        self._closing.wait(seconds)


def refused_url() -> str:
    """A base URL at which nothing listens."""
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        return f"http://{HOST}:{unused.getsockname()[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: "_HTTPServer"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send(200, {"object": "list", "data": [{"id": "gpt-4o-mini", "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        key = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        answer = self.server.openai.seen(Request(self.path, key, body))
        if answer.delay_seconds:
            self.server.openai.wait(answer.delay_seconds)
        if answer.drop:
            self.close_connection = True
        elif answer.status != 200:
            self._refuse(answer, key)
        elif self.path.endswith("/embeddings"):
            self._send(200, _embeddings(body, answer))
        elif body.get("stream"):
            self._stream(body, answer)
        else:
            self._send(200, _completion(body, answer))

    def _refuse(self, answer: Answer, key: str) -> None:
        headers = {"x-should-retry": "true" if answer.client_retries else "false"}
        if answer.retry_after is not None:
            headers["retry-after"] = answer.retry_after
        error = {"message": f"Status {answer.status} for {key}.", "type": "test", "code": None, "param": None}
        self._send(answer.status, {"error": error}, headers)

    def _stream(self, body: dict[str, Any], answer: Answer) -> None:
        chunks = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in _chunks(body, answer))
        self._send(200, f"{chunks}data: [DONE]\n\n".encode(), {"content-type": "text/event-stream"})

    def _send(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        payload = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"content-type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        """Say nothing: a test that fails shows the requests."""


class _HTTPServer(ThreadingHTTPServer):
    def __init__(self, openai: OpenAIServer) -> None:
        super().__init__((HOST, 0), _Handler)
        self.openai = openai


def _usage(answer: Answer) -> dict[str, int]:
    prompt, completion = answer.tokens
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _completion(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer.text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body.get("model", "gpt-4o-mini"),
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": _usage(answer),
    }


def _chunks(body: dict[str, Any], answer: Answer) -> list[dict[str, Any]]:
    shape = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": body.get("model", "m")}
    said = {"index": 0, "delta": {"role": "assistant", "content": answer.text}, "finish_reason": None}
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    return [
        {**shape, "choices": [said]},
        {**shape, "choices": [end]},
        {**shape, "choices": [], "usage": _usage(answer)},
    ]


def _embeddings(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
    given = body.get("input", [])
    texts = given if isinstance(given, list) else [given]
    data = [{"object": "embedding", "index": i, "embedding": [0.1, 0.2, 0.3]} for i, _ in enumerate(texts)]
    return {"object": "list", "model": body.get("model", "m"), "data": data, "usage": _usage(answer)}
