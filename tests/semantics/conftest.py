"""Every rule is proven on every store: another one is a line in `tests.support.world.STORES`."""

from collections.abc import Iterator

import pytest
from tests.support.world import STORES, World

LEAN = {
    "dynamodb": {
        "test_declared",
        "test_events",
        "test_executions",
        "test_manual",
        "test_notifications",
        "test_redrive",
    },
    "postgresql": {
        "test_attempts",
        "test_backfill",
        "test_events",
        "test_executions",
        "test_manual",
        "test_notifications",
        "test_redrive",
    },
}
"""What `make test` tries on these, too; the rest of it takes long there, and is left to `make test-slow`."""

LONG = {
    "test_a_fan_out_that_a_crash_interrupts_is_carried_on_by_the_watchdog",
    "test_a_line_that_fills_up_meanwhile_delays_the_event_for_its_agent_alone",
    "test_events_that_wait_for_room_starve_no_others",
}
"""What takes long on moto all the same."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        on = getattr(item, "callspec", None)
        kind = on.params.get("store_kind") if on else None
        long = kind == "dynamodb" and getattr(item, "originalname", None) in LONG
        if long or (kind in LEAN and item.path.stem not in LEAN[kind]):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(1_800), append=False)


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
