"""Retention: what has ended is kept for as long as its agent says; what is left of a deleted agent goes last."""

from datetime import timedelta

import pytest
from tests.support.fuse import blown
from tests.support.world import World, statuses

from overnight.core import lifecycle
from overnight.core.retention import prune
from overnight.errors import AgentNotFound, Unavailable


def ids(world: World) -> set[str]:
    return {agent.name for agent, _ in world.store.agents(deleted=True).items}


def removed(world: World) -> set[str]:
    """The agents that are left, once what was kept for long enough has been removed."""
    world.prune()
    world.watch()
    return ids(world)


def test_a_deleted_agent_is_forgotten_once_its_retention_has_passed(world: World):
    for name, days in (("week", 7), ("month", 30), ("alive", 7)):
        world.agent(name, cron="0 0 * * *", retention_days=days)
    world.live(hours=25, step=3600)
    lifecycle.delete(world.ports, "week")
    lifecycle.delete(world.ports, "month")
    world.live(minutes=5)
    lifecycle.pause(world.ports, "alive")
    world.advance(days=6)
    assert removed(world) == {"week", "month", "alive"}
    assert statuses(world.rows("week")) == ["succeeded"]
    world.check()
    world.advance(days=2)
    assert removed(world) == {"month", "alive"}
    assert world.rows("week") == []
    assert [facts["agent"] for facts in world.heard("agent.forgotten")] == ["week"]
    with pytest.raises(AgentNotFound):
        world.state("week")
    world.check()
    world.advance(days=10_000)
    assert removed(world) == {"alive"}


def test_a_deleted_agent_is_known_as_long_as_an_execution_of_it(world: World):
    world.agent(retention_days=7)
    world.hold("agent")
    world.trigger()
    world.drain()
    lifecycle.delete(world.ports, "agent")
    world.advance(days=8)
    assert removed(world) == {"agent"}
    world.kill(world.rows()[0])
    world.live(minutes=2)
    assert ids(world) == {"agent"}
    world.check()
    world.advance(days=6)
    assert removed(world) == {"agent"}
    world.check()
    world.advance(days=2)
    assert removed(world) == set()


def test_an_agent_whose_schedule_can_not_be_disarmed_is_not_forgotten(world: World, monkeypatch: pytest.MonkeyPatch):
    world.agent(cron="0 0 * * *", retention_days=7)

    def down(*_: object) -> None:
        raise Unavailable("the clock is down")

    with monkeypatch.context() as patch:
        patch.setattr(type(world.clock), "disarm", down)
        lifecycle.delete(world.ports, "agent")
        assert world.clock.earliest() is not None
        world.advance(days=8)
        with pytest.raises(AssertionError, match="the clock is down"):
            removed(world)
        assert ids(world) == {"agent"}
    world.advance(minutes=2)
    assert removed(world) == set()
    assert world.clock.earliest() is None


def test_an_agent_is_forgotten_whatever_interrupts_it(world: World):
    """What is left of a half goes with the next look, and is in nobody's way."""
    writes, crashed = 0, True
    while crashed:
        writes += 1
        world.agent(cron="0 0 * * *", retention_days=7)
        world.edit("agent", description="another version")
        lifecycle.delete(world.ports, "agent")
        world.advance(days=8)
        crashed = blown(world, writes, World.watch, steps=True)
        world.check()
        world.watch()
        assert ids(world) == set()
        assert not world.store.due_agents(world.now + timedelta(days=10_000), 10)
    assert writes > 1


def test_pruning_stops_when_it_is_told_to(world: World):
    world.agent(retention_days=7)
    world.trigger()
    world.drain()
    world.advance(days=8)
    prune(world.ports, go_on=lambda: False)
    world.advance(days=-2)
    assert statuses(world.rows()) == ["succeeded"]
