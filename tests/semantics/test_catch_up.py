"""Catch-up: what was missed while nobody was there is coalesced, skipped or run, by policy, each tick on record."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.support.fuse import blown
from tests.support.world import BEGIN, World, instant, statuses

from overnight.core import fire


def test_coalesce_runs_once_for_all_that_was_missed_and_tells_the_flow(world: World):
    world.agent(cron="0 * * * *")
    world.live(hours=2, minutes=30, step=600)
    world.down(hours=4)
    assert world.kept() == [
        "01:00 succeeded", "02:00 succeeded",
        "03:00 skipped (coalesced)", "04:00 skipped (coalesced)", "05:00 skipped (coalesced)", "06:00 succeeded",
    ]  # fmt: skip
    *_, a, b, c, winner = world.rows()
    assert {a.into, b.into, c.into} == {winner.id}
    assert [f"{tick:%H:%M}" for tick in winner.missed_ticks] == ["03:00", "04:00", "05:00"]
    world.live(minutes=10)
    world.check()


def test_one_missed_tick_alone_coalesces_into_itself(world: World):
    world.agent(cron="0 * * * *")
    world.down(hours=1, minutes=30)
    (row,) = world.rows()
    assert (row.status, row.missed_ticks, row.lateness_seconds) == ("succeeded", (), 1800)


def test_skip_runs_nothing_that_was_missed(world: World):
    world.agent(cron="0 * * * *", catch_up="skip")
    world.down(hours=3, minutes=30)
    assert world.kept() == ["01:00 skipped (missed)", "02:00 skipped (missed)", "03:00 skipped (missed)"]
    assert not world.flows.ran
    world.live(minutes=31)
    assert world.kept()[-1] == "04:00 succeeded"


def test_all_runs_everything_that_was_missed_in_order(world: World):
    world.agent(cron="0 * * * *", catch_up="all")
    world.down(hours=3, minutes=30)
    assert world.kept() == ["01:00 succeeded", "02:00 succeeded", "03:00 succeeded"]
    assert [f"{given.execution.nominal:%H:%M}" for given in world.flows.ran] == ["01:00", "02:00", "03:00"]


@pytest.mark.parametrize("policy", ["coalesce", "all"])
def test_what_was_missed_longer_ago_than_the_window_is_skipped(world: World, policy: str):
    world.agent(cron="0 * * * *", catch_up=policy, catch_up_window_seconds=2 * 3600)
    world.down(hours=4, minutes=30)
    missed = ["01:00 skipped (missed)", "02:00 skipped (missed)"]
    if policy == "all":
        assert world.kept() == [*missed, "03:00 succeeded", "04:00 succeeded"]
    else:
        assert world.kept() == [*missed, "03:00 skipped (coalesced)", "04:00 succeeded"]
        assert [f"{tick:%H:%M}" for tick in world.rows()[-1].missed_ticks] == ["03:00"]


def test_a_window_of_nothing_skips_all_that_was_missed(world: World):
    world.agent(cron="0 * * * *", catch_up_window_seconds=0)
    world.down(hours=2, minutes=30)
    assert world.kept() == ["01:00 skipped (missed)", "02:00 skipped (missed)"]


def test_what_is_late_by_less_than_five_minutes_is_not_part_of_the_catch_up(world: World):
    world.agent(cron="*/2 * * * *", catch_up="skip")
    world.down(minutes=11)
    assert world.kept() == [
        "00:02 skipped (missed)", "00:04 skipped (missed)",
        "00:06 succeeded", "00:08 succeeded", "00:10 succeeded",
    ]  # fmt: skip


def test_more_than_a_hundred_alike_are_one_record_for_the_range(world: World):
    world.agent(interval={"minutes": 1}, catch_up="skip")
    world.down(minutes=105)
    assert len(world.ledger()) == 105
    world.live(1)
    world.down(minutes=106)
    first, *rest = world.ledger()[105:]
    assert (first.count, first.reason, f"{first.until:%H:%M}") == (101, "missed", "03:26")
    assert len(rest) == 5
    world.down(hours=100)
    world.live(minutes=10)
    world.check()


def test_a_coalesced_range_leads_into_the_newest_and_the_flow_hears_of_a_hundred(world: World):
    world.agent(interval={"seconds": 10})
    world.live(seconds=35)
    world.down(hours=1)
    first = next(row for row in world.rows() if row.count > 1)
    winner = next(row for row in world.rows() if row.missed_ticks)
    assert (first.reason, first.into) == ("coalesced", winner.id)
    assert len(winner.missed_ticks) == 100
    assert winner.nominal
    assert winner.missed_ticks[-1] == winner.nominal - timedelta(seconds=10)
    assert first.count == (winner.nominal - BEGIN) // timedelta(seconds=10) - 4, "all but three on time, and the winner"
    world.live(minutes=10)
    world.check()


@pytest.mark.parametrize("policy", ["coalesce", "skip", "all"])
def test_excluded_ticks_are_recorded_and_run_neither_in_time_nor_later(world: World, policy: str):
    exclude = {"ranges": [{"from": "2026-01-05T02:00:00Z", "to": "2026-01-05T03:00:01Z"}]}
    world.agent(cron="0 * * * *", exclude=exclude, catch_up=policy)
    world.live(hours=2, minutes=30, step=600)
    assert world.kept() == ["01:00 succeeded", "02:00 skipped (excluded)"]
    world.down(hours=1)
    assert world.kept()[2] == "03:00 skipped (excluded)"
    assert len(world.flows.ran) == 1
    world.live(minutes=10)
    world.check()


@pytest.mark.parametrize("policy", ["coalesce", "skip", "all"])
def test_the_newest_missed_tick_that_is_not_excluded_runs_for_all(world: World, policy: str):
    exclude = {"ranges": [{"from": "2026-01-05T03:00:00Z", "to": "2026-01-05T06:00:00Z"}]}
    world.agent(cron="*/30 * * * *", exclude=exclude, catch_up=policy)
    world.down(hours=4, minutes=10)
    lines = world.kept()
    assert lines[-3:] == [f"0{time} skipped (excluded)" for time in ("3:00", "3:30", "4:00")]
    ran = [line for line in lines if "succeeded" in line]
    assert len(ran) == {"coalesce": 1, "skip": 0, "all": 5}[policy]
    if policy == "coalesce":
        assert ran == ["02:30 succeeded"]
    world.live(minutes=10)
    world.check()


@pytest.mark.parametrize("policy", ["coalesce", "skip", "all"])
def test_a_long_exclusion_is_one_record_when_it_was_missed(world: World, policy: str):
    exclude = {"ranges": [{"from": "2026-01-05T01:00:00Z", "to": "2026-01-06T00:00:00Z"}]}
    world.agent(interval={"minutes": 1}, exclude=exclude, catch_up=policy)
    world.live(minutes=59)
    world.down(hours=20)
    ranges = [(tick.reason, tick.count) for tick in world.ledger() if tick.until]
    assert len(ranges) == 1
    assert ranges[0][0] == "excluded"
    world.check(settling=timedelta())


def test_a_missed_date_always_runs_and_then_it_is_spent(world: World):
    world.agent(date="2026-01-05T06:00:00Z")
    world.down(days=20)
    assert statuses(world.rows()) == ["succeeded"]
    assert world.rows()[0].nominal == instant("2026-01-05 06:00")
    assert world.state().next_run_at is None
    world.live(minutes=10)
    world.check()


def test_a_plan_stands_while_more_is_missed(world: World):
    """Interrupted for hours, a catch-up does what it had planned; what was missed since gets a plan of its own."""
    world.agent(cron="0 * * * *")
    world.advance(hours=4, minutes=30)
    blown(world, 1, World.beat)
    assert world.state().catch_up["schedule"].until == instant("2026-01-05 04:00")
    world.down(hours=3)
    assert world.kept() == [
        "01:00 skipped (coalesced)", "02:00 skipped (coalesced)", "03:00 skipped (coalesced)", "04:00 succeeded",
        "05:00 skipped (coalesced)", "06:00 skipped (coalesced)", "07:00 succeeded",
    ]  # fmt: skip
    told = [[f"{tick:%H}" for tick in row.missed_ticks] for row in world.rows() if row.status == "succeeded"]
    assert told == [["01", "02", "03"], ["05", "06"]]


class Overtaken:
    """A store before whose next transition somebody else is quicker."""

    def __init__(self, store: Any, quicker: Callable[[], None]) -> None:
        self._store, self._quicker = store, [quicker]

    def transition(self, *how: Any) -> Any:
        while self._quicker:
            self._quicker.pop()()
        return self._store.transition(*how)

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._store, verb)


def test_of_two_that_plan_a_catch_up_at_once_the_first_one_s_plan_stands(world: World):
    agent = world.agent(cron="0 * * * *")

    def planned_an_hour_ago() -> None:
        world.at("2026-01-05 04:30")
        assert blown(world, 2, World.beat), "after the plan, and a tick"
        world.at("2026-01-05 05:40")

    world.at("2026-01-05 05:40")
    fire.walk(replace(world.ports, store=Overtaken(world.store, planned_an_hour_ago)), agent.id, "schedule")
    world.drain()
    missed = ["01:00 skipped (coalesced)", "02:00 skipped (coalesced)", "03:00 skipped (coalesced)"]
    assert world.kept() == [*missed, "04:00 succeeded", "05:00 succeeded"]
    assert {row.into for row in world.rows()[:3]} == {world.rows()[3].id}
    world.live(minutes=10)
    world.check()


@pytest.mark.parametrize("policy", ["coalesce", "skip", "all"])
def test_a_catch_up_that_is_interrupted_after_any_write_is_carried_out_as_planned(store_kind: str, policy: str):
    exclude = {"ranges": [{"from": "2026-01-05T02:00:00Z", "to": "2026-01-05T02:30:00Z"}]}
    fields: dict[str, Any] = {"catch_up": policy, "exclude": exclude, "catch_up_window_seconds": 3 * 3600}
    expected: list[str] | None = None
    for writes in range(60):
        world = World(store_kind)
        world.agent(cron="*/30 * * * *", **fields)
        world.at("2026-01-05 04:40")
        crashed = writes > 0 and blown(world, writes, World.beat, steps=True)
        world.live(minutes=6, step=60)
        expected = expected or world.kept()
        assert world.kept() == expected, f"after {writes} writes"
        assert len(world.flows.ran) == len([line for line in expected if "succeeded" in line])
        world.check(settling=timedelta(minutes=1))
        world.close()
        if writes and not crashed:
            break
    else:
        pytest.fail("more writes than expected")
    assert expected
    assert len(expected) == 9
