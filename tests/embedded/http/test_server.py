"""The server itself: starting, stopping, limits, slow clients, many at once, and its access log."""

import logging
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.embedded.http.engine import Engine

from overnight.embedded import http_application
from overnight.embedded.http import HttpServer
from overnight.embedded.http_protocol import PatientProtocol
from overnight.errors import Unavailable

AGENTS = "/api/v1/background_agents"
MIB = 1024 * 1024


@pytest.fixture
def line(server: HttpServer) -> Iterator[socket.socket]:
    """A bare connection to the server."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        yield line


def _read(line: socket.socket) -> bytes:
    received = b""
    while part := line.recv(65_536):
        received += part
    return received


def test_it_answers_as_soon_as_it_is_started_and_no_more_once_it_is_stopped(engine: Engine) -> None:
    server = HttpServer(engine.ports, port=0)
    server.start()
    assert httpx.get(f"{server.url}/health").status_code == 200
    server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/health")
    server.stop()


def test_a_port_that_is_taken_is_told_at_once(engine: Engine, server: HttpServer) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    with pytest.raises(Unavailable, match=f"can't listen on 127.0.0.1 port {port}: Address already in use"):
        HttpServer(engine.ports, port=port).start()


def test_the_signals_stay_the_engines(server: HttpServer) -> None:
    assert server.url
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_stopping_waits_for_what_is_under_way(
    engine: Engine, server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def healthy(_: object) -> None:
        entered.set()
        leave.wait(10)

    monkeypatch.setattr(type(engine.store), "healthy", healthy)
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(httpx.get(f"{server.url}/health").status_code))
    asking.start()
    assert entered.wait(10)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    leave.set()
    stopping.join(10)
    asking.join(10)
    assert answers == [200]


def test_two_engines_in_one_process_share_nothing(engine: Engine, server: HttpServer, tmp_path: Path) -> None:
    other = Engine(tmp_path / "other")
    second = HttpServer(other.ports, port=0)
    second.start()
    try:
        httpx.post(f"{server.url}{AGENTS}", json={"name": "one", "flow": {"python": "a:b"}})
        httpx.post(f"{second.url}{AGENTS}", json={"name": "two", "flow": {"python": "a:b"}})
        names = [[agent["name"] for agent in httpx.get(f"{s.url}{AGENTS}").json()["items"]] for s in (server, second)]
        assert names == [["one"], ["two"]]
    finally:
        second.stop(2)
        other.close()


def test_requests_are_answered_beside_each_other(
    client: httpx.Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(4, timeout=10)
    monkeypatch.setattr(type(engine.store), "healthy", lambda _: together.wait())
    statuses: list[int] = []
    asking = [threading.Thread(target=lambda: statuses.append(client.get("/health").status_code)) for _ in range(4)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert statuses == [200] * 4


def test_many_clients_at_once_each_get_their_own_answer(client: httpx.Client) -> None:
    wrong: list[str] = []

    def ask(number: int) -> None:
        for _ in range(20):
            answer = client.get(f"{AGENTS}/agent-{number}").json()
            if answer["detail"] != f"there is no agent 'agent-{number}'":
                wrong.append(answer["detail"])

    asking = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert wrong == []


def test_too_many_at_once_are_503(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_application, "WAITING", 0)
    answer = client.get(AGENTS)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        ("/api/v1/events", MIB + 1, 413),
        ("/api/v1/events", MIB, 422),
        (AGENTS, MIB + 1, 422),
        (AGENTS, 10 * MIB + 1, 413),
        (f"{AGENTS}/a/trigger", MIB + 1, 413),
        ("/health", MIB + 1, 413),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_are_limited_while_they_are_read(
    client: httpx.Client, path: str, size: int, status: int, *, chunked: bool
) -> None:
    body = b'{"name": "' + b"x" * (size - 12) + b'"}'
    parts = (body[at : at + 65_536] for at in range(0, len(body), 65_536))
    answer = client.post(path, content=parts if chunked else body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    if status == 413:
        assert answer.json()["code"] == "too_large"


def test_a_body_that_says_it_is_huge_is_not_read_at_all(line: socket.socket) -> None:
    line.sendall(b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\n")
    answer = _read(line)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer


def test_a_body_that_never_comes_is_given_up(line: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_application, "BODY_SECONDS", 0.05)
    line.sendall(b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
    answer = _read(line)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"did not come within" in answer


def test_a_client_that_leaves_amid_its_body_is_forgotten(
    client: httpx.Client, line: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    line.sendall(b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
    line.close()
    assert client.get("/health").status_code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_client_that_sends_its_head_byte_by_byte_holds_no_connection(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PatientProtocol, "head_seconds", 0.1)
    server = HttpServer(engine.ports, port=0)
    server.start()
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(b"GET /health HTTP/1.1\r\nHost: local")
        began = time.monotonic()
        assert _read(line) == b""
        assert time.monotonic() - began < 5
    server.stop(2)


def test_a_connection_rests_between_requests(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "head_seconds", 1.0)
    server = HttpServer(engine.ports, port=0)
    server.start()
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        for _ in range(2):
            line.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += line.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 200")
            time.sleep(1.2)  # longer than a head may take
    server.stop(2)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /api/v1/background_agents?status=\xff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET / FTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nX-Without-Host: 1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Never-Ends: " + b"x" * 40_000,
        b"\x00\x01\x02\r\n\r\n",
    ],
)
def test_what_is_no_http_is_400(line: socket.socket, request_: bytes) -> None:
    line.sendall(request_)
    answer = _read(line)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in answer
    assert b'"code":"malformed"' in answer


def test_header_bytes_beyond_ascii_do_no_harm(client: httpx.Client) -> None:
    assert client.get(AGENTS, headers={"X-Name": "Zoë".encode("latin-1")}).status_code == 200


def test_each_request_is_one_structured_line_without_its_query(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "overnight.http")
    answer = client.get(AGENTS, params={"cursor": "secret"})
    client.get("/health")
    (record,) = [record for record in caplog.records if record.name == "overnight.http"]
    assert record.getMessage() == f"GET {AGENTS} 422"
    said = {name: getattr(record, name) for name in ("method", "path", "status", "bytes", "client", "request_id")}
    assert said == {
        "method": "GET",
        "path": AGENTS,
        "status": 422,
        "bytes": len(answer.content),
        "client": "127.0.0.1",
        "request_id": answer.headers["X-Request-Id"],
    }
    assert 0 < getattr(record, "duration_seconds", 0) < 10
