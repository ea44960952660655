"""Every rule is proven on every store: another one is a line in `tests.support.world.STORES`."""

from collections.abc import Iterator

import pytest
from tests.support.world import STORES, World


@pytest.fixture(params=sorted(STORES))
def store_kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
def world(store_kind: str) -> Iterator[World]:
    world = World(store_kind)
    yield world
    world.close()
