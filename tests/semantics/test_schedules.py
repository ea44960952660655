"""Schedules: every nominal tick ends in exactly one record, never early, on time up to five minutes, else by policy."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.fuse import blown
from tests.support.world import BEGIN, World, instant

from overnight.core import fire, ledger, lifecycle
from overnight.core.ledger import alarm_at
from overnight.executions import Tick

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
    assert world.kept() == ["01:00 succeeded", missed]
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
    assert world.kept() == ["02:00 succeeded", "03:00 succeeded", "04:00 succeeded"]
    assert world.state().next_run_at is None
    assert world.clock.earliest() is None
    world.check()


def test_a_tick_meets_the_overlap_policy_and_a_full_line(world: World):
    world.agent(interval={"minutes": 1}, concurrency={"queue_limit": 1})
    world.hold("agent")
    world.live(minutes=3)
    assert world.kept() == ["00:01 running", "00:02 pending", "00:03 skipped (queue_full)"]
    world.edit("agent", concurrency={"on_overlap": "skip"})
    world.live(minutes=1)
    assert world.kept()[-1] == "00:04 skipped (overlap)"


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
    assert {line[6:] for line in world.kept()} == {"succeeded"}


def test_lateness_counts_from_the_end_of_the_jitter(world: World):
    world.agent(cron="0 * * * *", jitter_seconds=3000, catch_up="skip")
    _, at = alarm(world)
    world.at(at + timedelta(minutes=5))
    world.beat()
    world.at(alarm(world)[1] + timedelta(minutes=5, seconds=1))
    world.beat()
    assert [line[6:] for line in world.kept()] == ["succeeded", "skipped (missed)"]


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
    assert world.kept() == ["01:00 skipped (coalesced)", "02:00 succeeded"]
    world.live(seconds=1)
    assert world.kept()[-1] == "03:00 succeeded"


# Armed periods


@pytest.mark.parametrize("verbs", [("pause", "resume"), ("stop", "start")])
def test_ticks_while_it_was_not_armed_are_not_missed(world: World, verbs: tuple[str, str]):
    world.agent(cron="0 * * * *")
    world.live(hours=1, minutes=30)
    getattr(lifecycle, verbs[0])(world.ports, "agent")
    world.live(hours=3, step=300)
    getattr(lifecycle, verbs[1])(world.ports, "agent")
    world.live(hours=1, step=60)
    assert world.kept() == ["01:00 succeeded", "05:00 succeeded"]
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
    assert world.kept() == ["01:00 succeeded"]


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
    assert world.kept() == ["01:00 succeeded"]


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
    assert world.kept() == ["01:00 succeeded", "02:00 succeeded"]
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
    assert world.kept() == ["00:10 succeeded", "00:20 succeeded", "00:30 succeeded"]
    assert all(120 <= (row.lateness_seconds or 0) <= 60 + 120 + 15 for row in world.rows())
    world.check()


def test_each_record_names_the_one_before_it(world: World):
    world.agent(interval={"seconds": 10}, catch_up="skip")
    world.live(minutes=2)
    world.down(hours=1)
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
                world.down(minutes=length)
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
