"""Schedules: every nominal tick ends in exactly one record, never early, on time up to five minutes, else by policy."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.fuse import blown
from tests.support.world import BEGIN, World, instant, statuses

from overnight.core import fire, ledger, lifecycle
from overnight.core.ledger import alarm_at
from overnight.executions import Tick


def kept(world: World, trigger: str = "schedule") -> list[str]:
    """The ledger: `08:00 succeeded`, `08:00-09:40 skipped (missed) 101`."""
    lines = []
    for tick in world.ledger(trigger=trigger):
        until = f"-{tick.until:%H:%M}" if tick.until else ""
        reason = f" ({tick.reason})" if tick.reason else ""
        count = f" {tick.count}" if tick.until else ""
        lines.append(f"{tick.nominal:%H:%M}{until} {tick.status}{reason}{count}")
    return lines


def down(world: World, **how_long: float) -> None:
    """Nobody is there for a while; then an engine starts."""
    world.advance(**how_long)
    world.restart()
    world.beat()


# Never early, on time


def test_a_tick_fires_at_its_time_and_never_early(world: World):
    world.agent(cron="0 8 * * *")
    world.at("2026-01-05T07:59:59.999999Z")
    world.beat()
    assert world.rows() == []
    world.at("2026-01-05T08:00:00Z")
    world.beat()
    (row,) = world.rows()
    assert (row.nominal, row.started_at, row.lateness_seconds) == (world.now, world.now, 0)
    assert (row.kind, row.trigger, row.dedupe_key) == ("schedule", "schedule", "tick:schedule:2026-01-05T08:00:00Z")


def test_an_alarm_clock_that_rings_too_early_is_told_when_to_ring_again(world: World):
    agent = world.agent(cron="0 8 * * *")
    nominal = instant("2026-01-05 08:00")
    assert fire.tick(world.ports, agent.id, "schedule", nominal) == (nominal, nominal)
    assert world.rows() == []


def test_an_alarm_that_rings_twice_fires_once_and_knows_the_next_one(world: World):
    agent = world.agent(cron="0 * * * *")
    world.at("2026-01-05 01:00")
    upcoming = (instant("2026-01-05 02:00"),) * 2
    for _ in range(3):
        assert fire.tick(world.ports, agent.id, "schedule", instant("2026-01-05 01:00")) == upcoming
    assert len(world.rows()) == 1


@pytest.mark.parametrize("policy", ["skip", "coalesce", "all"])
def test_up_to_five_minutes_late_is_on_time_and_later_is_missed(world: World, policy: str):
    world.agent(cron="0 * * * *", catch_up=policy)
    world.at("2026-01-05 01:05")
    world.beat()
    world.at("2026-01-05 02:05:00.000001")
    world.beat()
    missed = "02:00 skipped (missed)" if policy == "skip" else "02:00 succeeded"
    assert kept(world) == ["01:00 succeeded", missed]
    assert world.rows()[0].lateness_seconds == 300
    assert world.heard("execution.started")[0]["lateness_seconds"] == 300
    world.live(minutes=10)
    world.check()


def test_every_second_is_a_schedule_too(world: World):
    world.agent(interval={"seconds": 1}, concurrency={"max_parallel": 1})
    world.live(seconds=30)
    rows = world.rows()
    assert [row.nominal for row in rows] == [BEGIN + timedelta(seconds=n) for n in range(1, 31)]
    assert {row.lateness_seconds for row in rows} == {0}
    world.live(minutes=6)
    world.check()


def test_daylight_saving_skips_what_does_not_exist_and_fires_once_what_occurs_twice(store_kind: str):
    for day, expected in (("2026-03-28", ["01:30", "00:30"]), ("2026-10-24", ["00:30", "00:30", "01:30"])):
        world = World(store_kind, at=instant(f"{day}T00:00:00Z"))
        world.agent(cron="30 2 * * *", timezone="Europe/Berlin")
        world.live(hours=60, step=600)
        assert [f"{tick.nominal:%H:%M}" for tick in world.ledger()] == expected
        world.check()
        world.close()


def test_start_and_end_bound_a_schedule(world: World):
    world.agent(cron="0 * * * *", start_at="2026-01-05T02:00:00Z", end_at="2026-01-05T04:00:00Z")
    world.live(hours=8, step=300)
    assert kept(world) == ["02:00 succeeded", "03:00 succeeded", "04:00 succeeded"]
    assert world.state().next_run_at is None
    assert world.clock.earliest() is None
    world.check()


def test_a_tick_meets_the_overlap_policy_and_a_full_line(world: World):
    world.agent(interval={"minutes": 1}, concurrency={"queue_limit": 1})
    world.hold("agent")
    world.live(minutes=3)
    assert kept(world) == ["00:01 running", "00:02 pending", "00:03 skipped (queue_full)"]
    world.edit("agent", concurrency={"on_overlap": "skip"})
    world.live(minutes=1)
    assert kept(world)[-1] == "00:04 skipped (overlap)"


# Catch-up


def test_coalesce_runs_once_for_all_that_was_missed_and_tells_the_flow(world: World):
    world.agent(cron="0 * * * *")
    world.live(hours=2, minutes=30, step=600)
    down(world, hours=4)
    assert kept(world) == [
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
    down(world, hours=1, minutes=30)
    (row,) = world.rows()
    assert (row.status, row.missed_ticks, row.lateness_seconds) == ("succeeded", (), 1800)


def test_skip_runs_nothing_that_was_missed(world: World):
    world.agent(cron="0 * * * *", catch_up="skip")
    down(world, hours=3, minutes=30)
    assert kept(world) == ["01:00 skipped (missed)", "02:00 skipped (missed)", "03:00 skipped (missed)"]
    assert not world.flows.ran
    world.live(minutes=31)
    assert kept(world)[-1] == "04:00 succeeded"


def test_all_runs_everything_that_was_missed_in_order(world: World):
    world.agent(cron="0 * * * *", catch_up="all")
    down(world, hours=3, minutes=30)
    assert kept(world) == ["01:00 succeeded", "02:00 succeeded", "03:00 succeeded"]
    assert [f"{given.execution.nominal:%H:%M}" for given in world.flows.ran] == ["01:00", "02:00", "03:00"]


@pytest.mark.parametrize("policy", ["coalesce", "all"])
def test_what_was_missed_longer_ago_than_the_window_is_skipped(world: World, policy: str):
    world.agent(cron="0 * * * *", catch_up=policy, catch_up_window_seconds=2 * 3600)
    down(world, hours=4, minutes=30)
    missed = ["01:00 skipped (missed)", "02:00 skipped (missed)"]
    if policy == "all":
        assert kept(world) == [*missed, "03:00 succeeded", "04:00 succeeded"]
    else:
        assert kept(world) == [*missed, "03:00 skipped (coalesced)", "04:00 succeeded"]
        assert [f"{tick:%H:%M}" for tick in world.rows()[-1].missed_ticks] == ["03:00"]


def test_a_window_of_nothing_skips_all_that_was_missed(world: World):
    world.agent(cron="0 * * * *", catch_up_window_seconds=0)
    down(world, hours=2, minutes=30)
    assert kept(world) == ["01:00 skipped (missed)", "02:00 skipped (missed)"]


def test_what_is_late_by_less_than_five_minutes_is_not_part_of_the_catch_up(world: World):
    world.agent(cron="*/2 * * * *", catch_up="skip")
    down(world, minutes=11)
    assert kept(world) == [
        "00:02 skipped (missed)", "00:04 skipped (missed)",
        "00:06 succeeded", "00:08 succeeded", "00:10 succeeded",
    ]  # fmt: skip


def test_more_than_a_hundred_alike_are_one_record_for_the_range(world: World):
    world.agent(interval={"minutes": 1}, catch_up="skip")
    down(world, minutes=105)
    assert len(world.ledger()) == 105
    world.live(1)
    down(world, minutes=106)
    first, *rest = world.ledger()[105:]
    assert (first.count, first.reason, f"{first.until:%H:%M}") == (101, "missed", "03:26")
    assert len(rest) == 5
    down(world, hours=100)
    world.live(minutes=10)
    world.check()


def test_a_coalesced_range_leads_into_the_newest_and_the_flow_hears_of_a_hundred(world: World):
    world.agent(interval={"seconds": 10})
    world.live(seconds=35)
    down(world, hours=1)
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
    assert kept(world) == ["01:00 succeeded", "02:00 skipped (excluded)"]
    down(world, hours=1)
    assert kept(world)[2] == "03:00 skipped (excluded)"
    assert len(world.flows.ran) == 1
    world.live(minutes=10)
    world.check()


@pytest.mark.parametrize("policy", ["coalesce", "skip", "all"])
def test_the_newest_missed_tick_that_is_not_excluded_runs_for_all(world: World, policy: str):
    exclude = {"ranges": [{"from": "2026-01-05T03:00:00Z", "to": "2026-01-05T06:00:00Z"}]}
    world.agent(cron="*/30 * * * *", exclude=exclude, catch_up=policy)
    down(world, hours=4, minutes=10)
    lines = kept(world)
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
    down(world, hours=20)
    ranges = [(tick.reason, tick.count) for tick in world.ledger() if tick.until]
    assert len(ranges) == 1
    assert ranges[0][0] == "excluded"
    world.check(settling=timedelta())


def test_a_missed_date_always_runs_and_then_it_is_spent(world: World):
    world.agent(date="2026-01-05T06:00:00Z")
    down(world, days=20)
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
    down(world, hours=3)
    assert kept(world) == [
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
    assert kept(world) == [*missed, "04:00 succeeded", "05:00 succeeded"]
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
        expected = expected or kept(world)
        assert kept(world) == expected, f"after {writes} writes"
        assert len(world.flows.ran) == len([line for line in expected if "succeeded" in line])
        world.check(settling=timedelta(minutes=1))
        world.close()
        if writes and not crashed:
            break
    else:
        pytest.fail("more writes than expected")
    assert expected
    assert len(expected) == 9


# Jitter


def alarm(world: World, name: str = "agent") -> tuple[str, Any]:
    agent, state = world.store.read(name)
    return agent.id, alarm_at(agent, "schedule", state.schedules["schedule"])


def test_jitter_puts_a_tick_off_always_by_the_same_and_never_past_the_next_one(world: World):
    world.agent(cron="*/10 * * * *", jitter_seconds=3600)
    _, at = alarm(world)
    world.restart()
    assert alarm(world)[1] == at
    assert BEGIN + timedelta(minutes=10) <= at < BEGIN + timedelta(minutes=20)
    world.live(hours=12, step=7)
    rows = world.rows()
    assert len(rows) == len({row.nominal for row in rows}) >= 70
    for row, after in pairwise(rows):
        assert row.nominal
        assert after.nominal
        assert row.nominal <= row.created_at < after.nominal
    delays = {(row.created_at - row.nominal).total_seconds() for row in rows if row.nominal}
    assert max(delays) > 300, "what waits for its jitter is not late"
    assert min(delays) < 60
    world.check(settling=timedelta(minutes=12))


def test_a_tick_that_waits_for_its_jitter_is_on_time_under_any_catch_up_policy(world: World):
    world.agent(cron="0 * * * *", jitter_seconds=3000, catch_up="skip")
    world.live(hours=10, step=60)
    assert {line[6:] for line in kept(world)} == {"succeeded"}


def test_lateness_counts_from_the_end_of_the_jitter(world: World):
    world.agent(cron="0 * * * *", jitter_seconds=3000, catch_up="skip")
    _, at = alarm(world)
    world.at(at + timedelta(minutes=5))
    world.beat()
    world.at(alarm(world)[1] + timedelta(minutes=5, seconds=1))
    world.beat()
    assert [line[6:] for line in kept(world)] == ["succeeded", "skipped (missed)"]


def test_what_still_waits_for_its_jitter_is_not_missed(world: World):
    world.agent(cron="0 * * * *", jitter_seconds=3000)
    agent, state = world.store.read("agent")
    armed = state.schedules["schedule"]
    at = alarm_at(agent, "schedule", armed.model_copy(update={"next": instant("2026-01-05 03:00")}))
    assert at
    assert at > instant("2026-01-05 03:10")
    world.at(at - timedelta(seconds=1))
    world.restart()
    world.beat()
    assert kept(world) == ["01:00 skipped (coalesced)", "02:00 succeeded"]
    world.live(seconds=1)
    assert kept(world)[-1] == "03:00 succeeded"


# Armed periods


@pytest.mark.parametrize("verbs", [("pause", "resume"), ("stop", "start")])
def test_ticks_while_it_was_not_armed_are_not_missed(world: World, verbs: tuple[str, str]):
    world.agent(cron="0 * * * *")
    world.live(hours=1, minutes=30)
    getattr(lifecycle, verbs[0])(world.ports, "agent")
    world.live(hours=3, step=300)
    getattr(lifecycle, verbs[1])(world.ports, "agent")
    world.live(hours=1, step=60)
    assert kept(world) == ["01:00 succeeded", "05:00 succeeded"]
    world.check()


CLOSING = {
    "pause": lambda world: lifecycle.pause(world.ports, "agent"),
    "stop": lambda world: lifecycle.stop(world.ports, "agent"),
    "delete": lambda world: lifecycle.delete(world.ports, "agent"),
    "edit": lambda world: world.edit("agent", triggers=[{"name": "schedule", "cron": "0 0 * * 0"}]),
    "fail": lambda world: lifecycle.fail(world.ports, "agent", "because"),
}


@pytest.mark.parametrize("verb", CLOSING)
def test_closing_a_period_records_every_tick_up_to_that_moment(world: World, verb: str):
    world.agent(cron="* * * * *", jitter_seconds=59)
    world.live(minutes=2, seconds=59)
    before = len(world.rows())
    world.at("2026-01-05T00:30:00Z")
    CLOSING[verb](world)
    assert sum(tick.count for tick in world.ledger()) == 30
    assert len(world.rows()) > before
    (period, *_) = world.store.periods([world.subjects["agent"]], world.began, world.now + timedelta(days=1))
    ended = {"pause": "paused", "stop": "stopped", "delete": "deleted", "edit": "edited", "fail": "error"}
    assert (period.until, period.ended) == (world.now, ended[verb])
    assert not world.state().catch_up
    world.live(minutes=10)
    world.check()


def test_the_last_tick_before_a_pause_still_runs(world: World):
    world.agent(cron="0 * * * *")
    world.at("2026-01-05T01:00:00.5Z")
    lifecycle.pause(world.ports, "agent")
    world.drain()
    assert kept(world) == ["01:00 succeeded"]


def test_an_alarm_that_outlives_its_period_fires_nothing_and_is_disarmed(world: World):
    agent = world.agent(cron="0 * * * *")
    world.at("2026-01-05 01:00")
    world.beat()
    stale = world.clock.earliest()
    assert stale
    lifecycle.pause(world.ports, "agent")
    for nominal in ("2026-01-05 01:00", "2026-01-05 02:00"):
        world.at("2026-01-05 02:00")
        world.store.read("agent")
        assert fire.tick(world.ports, agent.id, "schedule", instant(nominal)) is None
    assert kept(world) == ["01:00 succeeded"]


def test_a_tick_that_was_worked_out_for_a_period_that_is_over_is_worked_out_anew(world: World):
    world.agent(cron="0 * * * *")
    world.live(hours=1, minutes=1)
    agent, state = world.store.read("agent")
    worked_out = ledger.step(agent, "schedule", state.schedules["schedule"], None)
    lifecycle.pause(world.ports, "agent")
    lifecycle.resume(world.ports, "agent")
    world.at("2026-01-05 02:00")
    assert ledger.record(*world.store.read("agent"), worked_out, world.now) is None
    world.beat()
    assert kept(world) == ["01:00 succeeded", "02:00 succeeded"]
    world.live(minutes=10)
    world.check()


def test_an_alarm_of_an_agent_that_nobody_knows_is_disarmed(world: World):
    assert fire.tick(world.ports, "nobody", "schedule", world.now) is None


def test_a_lost_alarm_is_found_by_the_watchdog_and_set_again(world: World):
    agent = world.agent(cron="*/10 * * * *")
    world.live(minutes=11)
    world.clock.disarm(agent.id, "schedule")
    world.live(minutes=10)
    assert [row.lateness_seconds for row in world.rows()] == [0]
    world.live(minutes=3)
    assert 120 <= (world.rows()[-1].lateness_seconds or 0) <= 150
    world.live(minutes=10)
    assert world.rows()[-1].lateness_seconds == 0
    world.live(minutes=10)
    world.check()


def test_without_an_alarm_clock_the_watchdog_fires_every_tick_within_its_grace(world: World):
    world.agent(cron="*/10 * * * *", jitter_seconds=60)
    for _ in range(4 * 35):
        world.advance(15)
        world.watch()
        world.drain()
    assert kept(world) == ["00:10 succeeded", "00:20 succeeded", "00:30 succeeded"]
    assert all(120 <= (row.lateness_seconds or 0) <= 60 + 120 + 15 for row in world.rows())
    world.check()


def test_each_record_names_the_one_before_it(world: World):
    world.agent(interval={"seconds": 10}, catch_up="skip")
    world.live(minutes=2)
    down(world, hours=1)
    world.live(minutes=2)
    ticks = world.ledger()
    assert any(tick.until for tick in ticks)
    assert ticks[0].previous is None
    for before, tick in pairwise(ticks):
        assert tick.previous == (before.until or before.nominal)


# A clock that is set back


def test_a_clock_set_back_doubles_nothing_and_goes_on_when_time_has_caught_up(world: World):
    world.agent(cron="*/10 * * * *")
    world.live(hours=1)
    world.at(world.now - timedelta(minutes=45))
    world.live(hours=2)
    assert [tick.nominal for tick in world.ledger()] == [BEGIN + timedelta(minutes=10 * n) for n in range(1, 14)]
    world.check()


@pytest.mark.parametrize("verb", ["pause", "edit"])
def test_a_clock_set_back_around_a_change_doubles_nothing_either(world: World, verb: str):
    world.agent(cron="*/10 * * * *")
    world.live(hours=1)
    world.at(world.now - timedelta(minutes=45))
    if verb == "pause":
        lifecycle.pause(world.ports, "agent")
        lifecycle.resume(world.ports, "agent")
    else:
        world.edit("agent", triggers=[{"name": "schedule", "cron": "*/5 * * * *"}])
    world.live(hours=2)
    ticks = [tick.nominal for tick in world.ledger()]
    assert len(set(ticks)) == len(ticks) == len(world.flows.ran)
    world.check()


def test_a_clock_set_back_during_a_catch_up_holds_up_nobody(world: World):
    world.agent(cron="0 * * * *", catch_up="all")
    world.advance(hours=4, minutes=30)
    blown(world, 3, World.beat)
    assert "schedule" in world.state().catch_up
    world.at(world.now - timedelta(hours=4))
    lifecycle.pause(world.ports, "agent")
    assert (world.state().status, world.state().catch_up) == ("PAUSED", {})
    lifecycle.resume(world.ports, "agent")
    world.live(hours=6, step=300)
    ticks = [tick.nominal for tick in world.ledger()]
    assert len(set(ticks)) == len(ticks)
    world.check()


# Whatever happens


def covers(ticks: list[Tick]) -> int:
    return sum(tick.count for tick in ticks)


@given(
    minutes=st.integers(1, 45),
    policy=st.sampled_from(["coalesce", "skip", "all"]),
    window=st.sampled_from([0, 1800, 7200, 86_400]),
    jitter=st.sampled_from([0, 90, 4000]),
    life=st.lists(st.tuples(st.sampled_from(["up", "down", "pause"]), st.integers(1, 300)), min_size=1, max_size=5),
)
@settings(max_examples=40, deadline=None)
def test_every_tick_of_every_armed_period_has_exactly_one_record(
    minutes: int, policy: str, window: int, jitter: int, life: list[tuple[str, int]]
):
    world = World()
    world.agent(interval={"minutes": minutes}, catch_up=policy, catch_up_window_seconds=window, jitter_seconds=jitter)
    armed = timedelta()
    for what, length in life:
        match what:
            case "up":
                world.live(minutes=length, step=600)
            case "down":
                down(world, minutes=length)
            case "pause":
                lifecycle.pause(world.ports, "agent")
                world.live(minutes=length, step=3600)
                lifecycle.resume(world.ports, "agent")
                continue
        armed += timedelta(minutes=length)
    lifecycle.pause(world.ports, "agent")
    world.live(minutes=10, step=60)
    report = world.verify()
    assert report.ok, report.findings
    assert covers(world.ledger()) == report.ticks
    assert abs(report.ticks - armed // timedelta(minutes=minutes)) <= len(life)
    assert {row.lateness_seconds >= 0 for row in world.rows() if row.lateness_seconds is not None} <= {True}
    world.close()
