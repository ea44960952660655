"""Who is let in: the token, the server's own names, and no web page of another origin."""

import base64
import hmac
from collections.abc import Iterator

import httpx
import pytest
from tests.embedded.http.engine import Engine

from overnight.embedded.http import HttpServer
from overnight.embedded.http_gate import Gate
from overnight.errors import Invalid

TOKEN = "correct-horse-battery-staple"
AGENTS = "/api/v1/background_agents"
EVERY_ROUTE = [AGENTS, "/api/v1/executions", "/metrics", "/openapi.json", "/docs", "/nothing"]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One engine for all of these: nothing here changes anything."""
    engine = Engine(tmp_path_factory.mktemp("engine"))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def client(engine: Engine) -> Iterator[httpx.Client]:
    """A server that only this machine can reach."""
    yield from _client(HttpServer(engine.ports, port=0))


@pytest.fixture(scope="module")
def guarded(engine: Engine) -> Iterator[httpx.Client]:
    """A server that asks for a token."""
    yield from _client(HttpServer(engine.ports, port=0, token=TOKEN))


def _client(server: HttpServer) -> Iterator[httpx.Client]:
    server.start()
    with httpx.Client(base_url=server.url) as client:
        yield client
    server.stop(2)


def _basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"me:{password}".encode()).decode()


@pytest.mark.parametrize("path", EVERY_ROUTE)
def test_with_a_token_every_route_but_health_asks_for_it(guarded: httpx.Client, path: str) -> None:
    refused = guarded.get(path)
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="overnight"'
    assert guarded.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code in {200, 404}
    assert guarded.get("/health").status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        TOKEN,
        f"Token {TOKEN}",
        "Basic !",
        "Basic me",
    ],
)
def test_anything_but_the_token_is_401(guarded: httpx.Client, header: str) -> None:
    headers = [(b"Authorization", header.strip().encode())]
    assert guarded.get(AGENTS, headers=headers).status_code == 401


def test_a_browser_is_asked_for_a_password_which_is_the_token(guarded: httpx.Client) -> None:
    asked = guarded.get("/docs", headers={"Accept": "text/html,*/*"})
    assert (asked.status_code, asked.headers["WWW-Authenticate"]) == (401, 'Basic realm="overnight", charset="UTF-8"')
    assert guarded.get("/docs", headers={"Authorization": _basic(TOKEN)}).status_code == 200
    assert guarded.get("/docs", headers={"Authorization": _basic("wrong")}).status_code == 401


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    gate = Gate("127.0.0.1", TOKEN)
    gate.check("GET", AGENTS, {"authorization": f"Bearer {TOKEN}"})
    assert len(compared) == 1
    assert len(compared[0][0]) == len(compared[0][1]) == 32
    assert TOKEN.encode() not in compared[0]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "example.com", ""])
@pytest.mark.parametrize("token", [None, ""])
def test_a_host_that_other_machines_reach_needs_a_token(engine: Engine, host: str, token: str | None) -> None:
    with pytest.raises(Invalid, match="set OVERNIGHT_API_TOKEN"):
        HttpServer(engine.ports, host=host, port=0, token=token)
    Gate(host, TOKEN)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.53", "localhost", "::1"])
def test_loopback_needs_none(host: str) -> None:
    assert not Gate(host, None).asks_for_token


@pytest.mark.parametrize("token", ["two words", "naïve", "line\nbreak"])
def test_a_token_that_no_header_can_carry_is_refused_at_once(token: str) -> None:
    with pytest.raises(Invalid, match="printable ASCII"):
        Gate("127.0.0.1", token)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:9000", "127.0.0.1:8321", "127.8.8.8", "[::1]:8321", "LOCALHOST"]
)
def test_without_a_token_the_server_answers_to_names_of_this_machine(client: httpx.Client, host: str) -> None:
    assert client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8321", "127.0.0.1.evil.example", "localhost.evil.example"]
)
def test_a_name_that_was_rebound_to_this_machine_is_refused(client: httpx.Client, host: str) -> None:
    for path in ("/health", AGENTS, "/docs"):
        refused = client.get(path, headers={"Host": host})
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


NAVIGATION = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
PAGES = [
    ("POST", {"Sec-Fetch-Site": "cross-site"}, False),
    ("POST", {"Sec-Fetch-Site": "same-site"}, False),
    ("POST", {"Sec-Fetch-Site": "same-origin"}, True),
    ("POST", {"Sec-Fetch-Site": "none"}, True),
    ("POST", {"Origin": "https://evil.example"}, False),
    ("POST", {"Origin": "null"}, False),
    ("POST", {"Origin": "http://localhost:3000"}, False),
    ("POST", {"Origin": "http://{host}"}, True),
    ("POST", {}, True),
    ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, False),
    ("GET", NAVIGATION, True),
    ("GET", {**NAVIGATION, "Sec-Fetch-Dest": "iframe"}, False),
    ("POST", NAVIGATION, False),
]


@pytest.mark.parametrize(("method", "headers", "allowed"), PAGES)
def test_a_page_of_another_origin_may_not_trigger_an_agent(
    client: httpx.Client, method: str, headers: dict[str, str], *, allowed: bool
) -> None:
    headers = {name: value.format(host=client.base_url.netloc.decode()) for name, value in headers.items()}
    url = f"{AGENTS}/report/trigger" if method == "POST" else AGENTS
    answer = client.request(method, url, headers=headers)
    assert (answer.status_code != 403) == allowed, answer.text


def test_a_token_does_not_let_a_foreign_page_in_either(guarded: httpx.Client) -> None:
    headers = {"Authorization": _basic(TOKEN), "Origin": "https://evil.example"}
    assert guarded.post(f"{AGENTS}/report/trigger", headers=headers).status_code == 403
    assert guarded.get(AGENTS, headers={"Host": "my.host.example", "Authorization": _basic(TOKEN)}).status_code == 200


def test_every_answer_forbids_sniffing_and_storing(client: httpx.Client) -> None:
    for path in ("/health", "/docs", "/nothing"):
        headers = client.get(path).headers
        assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
        assert "server" not in headers
