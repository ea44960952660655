"""A real server on a free port, and a client that speaks to it."""

from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter
from tests.embedded.http.engine import Engine

from overnight.embedded.http import HttpServer


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
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
