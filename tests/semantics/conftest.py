"""Every rule is proven on every store: another one is a line in `tests.support.world.STORES`."""

from collections.abc import Iterator

import pytest
from tests.support.world import STORES, World


@pytest.fixture(params=sorted(STORES))
def store_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    kind: str = request.param
    if kind == "dynamodb":  # what is spread over partitions is in one, to be read in a quarter of the time
        monkeypatch.setattr("overnight.aws.dynamodb.schema.SHARDS", 1)
    return kind


@pytest.fixture
def world(store_kind: str) -> Iterator[World]:
    world = World(store_kind)
    yield world
    world.close()
