"""Edits: they take effect for what comes, touch no schedule they don't change, and are never lost silently."""

from datetime import timedelta

import pytest
from tests.support.world import World, statuses

from overnight.core import lifecycle
from overnight.errors import EditConflict, Invalid


def test_an_edit_arms_only_the_triggers_that_changed(world: World):
    triggers = [
        {"name": "kept", "interval": {"minutes": 7}},
        {"name": "changed", "interval": {"minutes": 11}},
        {"name": "gone", "cron": "*/13 * * * *"},
    ]
    world.agent(triggers=triggers)
    world.live(minutes=30)
    before = world.state()
    triggers[1]["interval"] = {"minutes": 5}
    triggers[2] = {"name": "new", "interval": {"minutes": 3}}
    world.edit("agent", triggers=triggers)
    after = world.state()
    assert after.schedules["kept"] == before.schedules["kept"]
    assert after.anchors["kept"] == before.anchors["kept"] == world.began
    assert after.schedules["changed"].since == after.anchors["changed"] == world.now
    assert after.schedules["new"].next == world.now + timedelta(minutes=3)
    assert set(after.schedules) == {"kept", "changed", "new"}
    periods = world.store.periods([world.subjects["agent"]], world.began, world.now + timedelta(days=1))
    assert [(p.trigger, p.since, p.until, p.ended) for p in periods] == [
        ("changed", world.began, world.now, "edited"),
        ("changed", world.now, None, None),
        ("gone", world.began, world.now, "edited"),
        ("kept", world.began, None, None),
        ("new", world.now, None, None),
    ]
    world.live(minutes=30)
    kept = [tick.nominal for tick in world.ledger(trigger="kept")]
    assert kept == [world.began + timedelta(minutes=7 * n) for n in range(1, 9)]
    world.check()


def test_an_edit_of_something_else_touches_no_schedule(world: World):
    world.agent(cron="*/5 * * * *")
    world.live(minutes=7)
    before = world.state()
    world.edit("agent", timeout_seconds=5, description="another")
    assert world.state().schedules == before.schedules
    assert world.store.agent("agent").version == 2


def test_an_edit_that_changes_nothing_is_none(world: World):
    world.agent(cron="*/5 * * * *")
    before = world.store.read("agent")
    world.edit("agent")
    assert world.store.read("agent") == before
    world.edit("agent", enabled=False)
    assert world.store.read("agent") == before, "it says how an agent begins"


def test_an_edit_keeps_the_status(world: World):
    world.agent(cron="*/5 * * * *")
    lifecycle.pause(world.ports, "agent")
    world.edit("agent", enabled=True, timeout_seconds=3)
    assert world.state().status == "PAUSED"
    assert not world.state().schedules


def test_more_slots_by_an_edit_let_in_what_waits_at_once(world: World):
    world.agent()
    world.hold("agent")
    rows = [world.trigger() for _ in range(3)]
    world.drain()
    world.edit("agent", concurrency={"max_parallel": 3})
    world.drain()
    assert set(world.under) == {row.id for row in rows}
    for row in rows:
        world.finish(row)


def test_fewer_slots_by_an_edit_let_in_nobody_until_enough_are_free(world: World):
    world.agent(concurrency={"max_parallel": 3})
    world.hold("agent")
    *running, waiting = [world.trigger() for _ in range(4)]
    world.drain()
    world.edit("agent", concurrency={"max_parallel": 1})
    for row in running:
        world.finish(row)
        world.drain()
    assert set(world.under) == {waiting.id}
    world.finish(waiting)


def test_a_lost_update_is_refused(world: World):
    agent = world.agent()
    lifecycle.edit(world.ports, "agent", world.document("agent", description="mine"), if_match=1)
    with pytest.raises(EditConflict):
        lifecycle.edit(world.ports, "agent", world.document("agent", description="theirs"), if_match=1)
    with pytest.raises(EditConflict):
        lifecycle.delete(world.ports, "agent", if_match=1)
    assert world.store.agent("agent").document.description == "mine"
    assert (agent.etag, world.store.agent("agent").etag) == ('"1"', '"2"')
    lifecycle.delete(world.ports, "agent", if_match=2)


def test_an_edit_to_a_past_date_is_refused_but_one_that_is_spent_may_stay(world: World):
    with pytest.raises(Invalid):
        world.agent("late", date="2025-12-24T18:00:00Z")
    world.agent(date="2026-01-05T01:00:00Z")
    world.live(hours=2)
    assert statuses(world.rows()) == ["succeeded"]
    world.edit("agent", description="the date is spent")
    with pytest.raises(Invalid) as refusal:
        world.edit("agent", triggers=[{"name": "schedule", "date": "2026-01-05T01:30:00Z"}])
    assert refusal.value.problems[0].field == "triggers.0.date"
