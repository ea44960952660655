"""Retention: what has ended is kept for as long as its agent says; what is left of a deleted agent goes last."""

import pytest
from tests.support.world import World, statuses

from overnight.core import lifecycle
from overnight.core.retention import prune
from overnight.errors import AgentNotFound


def ids(world: World) -> set[str]:
    return {agent.name for agent, _ in world.store.agents(deleted=True).items}


def test_a_deleted_agent_is_forgotten_once_its_retention_has_passed(world: World):
    for name, days in (("week", 7), ("month", 30), ("alive", 7)):
        world.agent(name, cron="0 0 * * *", retention_days=days)
    world.live(hours=25, step=3600)
    lifecycle.delete(world.ports, "week")
    lifecycle.delete(world.ports, "month")
    world.live(minutes=5)
    lifecycle.pause(world.ports, "alive")
    world.advance(days=6)
    world.prune()
    assert ids(world) == {"week", "month", "alive"}
    assert statuses(world.rows("week")) == ["succeeded"]
    world.check()
    world.advance(days=2)
    world.prune()
    assert ids(world) == {"month", "alive"}
    assert world.rows("week") == []
    with pytest.raises(AgentNotFound):
        world.state("week")
    world.check()
    world.advance(days=10_000)
    world.prune()
    assert ids(world) == {"alive"}


def test_a_deleted_agent_is_known_as_long_as_an_execution_of_it(world: World):
    world.agent(retention_days=7)
    world.hold("agent")
    world.trigger()
    world.drain()
    lifecycle.delete(world.ports, "agent")
    world.advance(days=8)
    world.prune()
    assert ids(world) == {"agent"}
    world.kill(world.rows()[0])
    world.live(minutes=2)
    world.advance(days=7)
    world.prune()
    assert ids(world) == set()


def test_pruning_stops_when_it_is_told_to(world: World):
    world.agent(retention_days=7)
    lifecycle.delete(world.ports, "agent")
    world.advance(days=8)
    prune(world.ports, go_on=lambda: False)
    assert ids(world) == {"agent"}
