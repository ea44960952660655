"""Backfill: the ticks of a range that did not run, on request."""

from datetime import timedelta
from typing import Any

import pytest
from tests.support.world import World, instant, statuses

from overnight.core import lifecycle
from overnight.core.backfill import MOST, Backfill, backfill
from overnight.errors import Invalid, NotActive

SINCE = instant("2026-01-05 00:00")


def asked(world: World, since: str = "00:00", until: str = "12:00", **how: Any) -> Backfill:
    return backfill(world.ports, "agent", instant(f"2026-01-05 {since}"), instant(f"2026-01-05 {until}"), **how)


def hours(plan: Backfill) -> list[str]:
    return [f"{tick:%H:%M}" for _, tick in plan.ticks]


def with_a_gap(world: World, **fields: Any) -> None:
    """Hourly; ran from 01:00 to 03:00 and from 09:00 to 12:00, paused in between."""
    world.agent(cron="0 * * * *", **fields)
    world.live(hours=3, minutes=30, step=300)
    lifecycle.pause(world.ports, "agent")
    world.live(hours=5, step=300)
    lifecycle.resume(world.ports, "agent")
    world.live(hours=3, minutes=30, step=300)


def test_the_plan_is_shown_before_it_runs_and_leaves_out_what_already_ran(world: World):
    with_a_gap(world)
    before = len(world.rows())
    plan = asked(world, dry_run=True)
    assert hours(plan) == ["00:00", "04:00", "05:00", "06:00", "07:00", "08:00"]
    assert (plan.left_out, plan.execution_ids) == (6, ())
    assert len(world.rows()) == before
    carried_out = asked(world)
    assert carried_out.ticks == plan.ticks
    world.drain()
    rows = [world.row(id_) for id_ in carried_out.execution_ids]
    assert [(row.kind, f"{row.nominal:%H:%M}", row.status) for row in rows] == [
        ("backfill", hour, "succeeded") for hour in hours(plan)
    ]
    assert {row.lateness_seconds for row in rows} == {None}, "it was asked for just now"
    world.live(minutes=10)
    world.check()


def test_what_was_skipped_did_not_run(world: World):
    world.agent(cron="0 * * * *", catch_up="skip")
    world.advance(hours=3, minutes=30)
    world.beat()
    assert set(statuses(world.rows())) == {"skipped (missed)"}
    assert hours(asked(world, "01:00", "03:00")) == ["01:00", "02:00"]


def test_asked_for_again_no_tick_runs_twice(world: World):
    with_a_gap(world)
    first = asked(world)
    world.drain()
    again = asked(world)
    world.drain()
    assert again.id == first.id
    assert again.execution_ids == first.execution_ids
    ran = [given.execution.nominal for given in world.flows.ran]
    assert len(set(ran)) == len(ran) == 13


def test_another_range_leaves_out_what_was_backfilled_before(world: World):
    with_a_gap(world)
    asked(world, "04:00", "06:00")
    world.drain()
    wider = asked(world, "03:00", "08:00")
    assert hours(wider) == ["06:00", "07:00"]
    assert wider.left_out == 3


def test_one_trigger_alone(world: World):
    world.agent(triggers=[{"name": "odd", "cron": "30 * * * *"}], cron="0 * * * *", enabled=False)
    world.advance(hours=3)
    lifecycle.start(world.ports, "agent")
    assert {name for name, _ in asked(world, "00:00", "02:00", dry_run=True).ticks} == {"odd", "schedule"}
    assert hours(asked(world, "00:00", "02:00", trigger="odd")) == ["00:30", "01:30"]
    with pytest.raises(Invalid):
        asked(world, trigger="nobody")


def test_the_ticks_of_an_interval_are_counted_from_its_first_arming(world: World):
    world.agent(interval={"hours": 1}, enabled=False)
    world.at("2026-01-05 00:10")
    lifecycle.start(world.ports, "agent")
    lifecycle.pause(world.ports, "agent")
    world.at("2026-01-05 03:30")
    lifecycle.resume(world.ports, "agent")
    assert hours(asked(world, "00:00", "03:30")) == ["01:10", "02:10", "03:10"]


def test_a_tick_that_waits_for_its_jitter_runs_by_itself(world: World):
    world.agent(interval={"hours": 1}, jitter_seconds=3000)
    world.at("2026-01-05 01:00:01")
    assert hours(asked(world, "00:00", "01:00:01")) == []
    world.live(hours=1)
    assert len(world.flows.ran) == 1


def test_excluded_ticks_are_no_part_of_it(world: World):
    exclude = {"ranges": [{"from": "2026-01-05T05:00:00Z", "to": "2026-01-05T07:00:00Z"}]}
    with_a_gap(world, exclude=exclude)
    assert hours(asked(world, dry_run=True)) == ["00:00", "04:00", "07:00", "08:00"]


def test_it_waits_in_line_whatever_the_overlap_policy_and_the_limit_for_others(world: World):
    with_a_gap(world, concurrency={"on_overlap": "skip", "queue_limit": 1})
    done = asked(world)
    world.drain()
    assert statuses(world.row(id_) for id_ in done.execution_ids) == ["succeeded"] * 6


@pytest.mark.parametrize("status", ["PAUSED", "STOPPED"])
def test_an_agent_that_is_not_active_shows_the_plan_but_does_not_run_it(world: World, status: str):
    with_a_gap(world)
    (lifecycle.pause if status == "PAUSED" else lifecycle.stop)(world.ports, "agent")
    assert len(asked(world, dry_run=True).ticks) == 6
    with pytest.raises(NotActive):
        asked(world)


def test_a_range_that_is_empty_or_to_come_or_too_long_is_refused(world: World):
    world.agent(interval={"seconds": 10}, start_at=SINCE)
    lifecycle.pause(world.ports, "agent")
    world.at("2026-01-05 12:00")
    lifecycle.resume(world.ports, "agent")
    for since, until in (("02:00", "02:00"), ("03:00", "02:00"), ("00:00", "12:01"), ("00:00", "10:00")):
        with pytest.raises(Invalid) as refusal:
            asked(world, since, until)
        assert refusal.value.problems[0].field == "until"
    assert world.rows() == []
    assert MOST * timedelta(seconds=10) < timedelta(hours=10)
