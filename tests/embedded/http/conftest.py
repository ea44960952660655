"""A real server on a free port, and a client that speaks to it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter
from tests.embedded.http.engine import Engine

from overnight.embedded.http import HttpServer

Agent = dict[str, object]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path)
    yield engine
    engine.close()


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("overnight_things", "Things that happened.", registry=registry).inc(3)
    return registry


@pytest.fixture
def server(engine: Engine, registry: CollectorRegistry) -> Iterator[HttpServer]:
    server = HttpServer(engine.ports, port=0, registry=registry)
    server.start()
    yield server
    server.stop(grace_seconds=2)


@pytest.fixture
def client(server: HttpServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


@pytest.fixture
def create(client: httpx.Client) -> Callable[..., Agent]:
    """Creates an agent, active unless it is said otherwise; its view."""

    def create(name: str = "report", **document: object) -> Agent:
        flow = {"python": "reports.daily:run"}
        said = {"name": name, "flow": flow, "enabled": True, **document}
        answer = client.post("/api/v1/background_agents", json=said)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    return create
