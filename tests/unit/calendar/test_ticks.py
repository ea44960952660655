"""The calendar of a schedule: bounds, exclusions, jitter."""

from datetime import UTC, date, datetime, timedelta
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.calendar.cron import Cron
from overnight.calendar.dates import Once
from overnight.calendar.exclusions import Exclusions
from overnight.calendar.interval import Interval
from overnight.calendar.ticks import Calendar

DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)
SINCE, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


def at(text):
    return datetime.fromisoformat(text)


def daily(**kwargs):
    return Calendar(Cron.parse("0 8 * * *", "Europe/Berlin"), "Europe/Berlin", **kwargs)


def test_a_tick_at_start_at_and_one_at_end_at_count():
    first, last = at("2026-11-20T08:00:00+01:00"), at("2026-11-22T08:00:00+01:00")
    calendar = daily(start_at=first, end_at=last)
    assert list(calendar.ticks(SINCE, UNTIL)) == [first, first + DAY, last]
    assert calendar.next(SINCE) == first
    assert calendar.next(first) == first + DAY
    assert calendar.next(last) is None
    assert calendar.previous(UNTIL) == last
    assert calendar.previous(first + MOMENT) == first
    assert calendar.previous(first) is None


def test_bounds_between_ticks_move_none():
    calendar = daily(start_at=at("2026-11-20T08:00:01+01:00"), end_at=at("2026-11-22T07:59:59+01:00"))
    assert list(calendar.ticks(SINCE, UNTIL)) == [at("2026-11-21T08:00:00+01:00")]


def test_no_tick_at_all_is_none():
    calendar = daily(start_at=at("2026-11-20T09:00:00+01:00"), end_at=at("2026-11-20T10:00:00+01:00"))
    assert calendar.next(SINCE) is None
    assert calendar.previous(UNTIL) is None
    assert list(calendar.ticks(SINCE, UNTIL)) == []


def test_an_excluded_tick_is_a_tick_but_no_run():
    """Its disposition, `skipped (excluded)`, is recorded."""
    monday = at("2026-11-23T08:00:00+01:00")
    calendar = daily(exclusions=Exclusions(weekdays=frozenset({5, 6})))
    saturday = monday - 2 * DAY
    assert calendar.next(saturday - DAY) == saturday
    assert calendar.is_excluded(saturday)
    assert not calendar.is_excluded(monday)
    assert next(calendar.runs(saturday, UNTIL)) == monday


@pytest.mark.parametrize(
    ("exclusions", "excluded", "kept"),
    [
        (Exclusions(dates=frozenset({date(2026, 12, 25)})), "2026-12-24T23:30:00Z", "2026-12-25T23:30:00Z"),
        (Exclusions(weekdays=frozenset({5})), "2026-12-25T23:30:00Z", "2026-12-26T23:30:00Z"),
        (Exclusions(days=((date(2026, 7, 1), date(2026, 7, 31)),)), "2026-07-31T21:59:00Z", "2026-07-31T22:00:00Z"),
        (Exclusions(days=((date(2026, 7, 1), date(2026, 7, 31)),)), "2026-06-30T22:00:00Z", "2026-06-30T21:59:00Z"),
        (Exclusions(spans=((SINCE, SINCE + DAY),)), "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
    ],
)
def test_days_are_those_of_the_trigger_s_zone(exclusions, excluded, kept):
    calendar = daily(exclusions=exclusions)
    assert calendar.is_excluded(at(excluded))
    assert not calendar.is_excluded(at(kept))


EXCLUSIONS = st.builds(
    Exclusions,
    dates=st.frozensets(st.dates(date(2026, 3, 20), date(2026, 4, 10)), max_size=6),
    weekdays=st.frozensets(st.integers(0, 6), max_size=5),
    days=st.lists(
        st.tuples(st.dates(date(2026, 3, 20), date(2026, 4, 10)), st.integers(0, 9)).map(
            lambda pair: (pair[0], pair[0] + pair[1] * DAY)
        ),
        max_size=2,
    ).map(tuple),
    spans=st.lists(
        st.tuples(
            st.datetimes(datetime(2026, 3, 20), datetime(2026, 4, 10), timezones=st.just(UTC)),
            st.timedeltas(timedelta(minutes=1), timedelta(days=3)),
        ).map(lambda pair: (pair[0], pair[0] + pair[1])),
        max_size=2,
    ).map(tuple),
)


@given(EXCLUSIONS, st.sampled_from(["Europe/Berlin", "America/Havana", "Africa/Cairo", "America/Nuuk", "UTC"]))
def test_runs_are_the_ticks_that_are_not_excluded(exclusions, timezone):
    calendar = Calendar(Cron.parse("*/20 * * * *", timezone), timezone, exclusions=exclusions)
    since, until = at("2026-03-22T00:00:00Z"), at("2026-04-08T00:00:00Z")
    expected = [tick for tick in calendar.ticks(since, until) if not calendar.is_excluded(tick)]
    assert list(calendar.runs(since, until)) == expected


def test_a_clock_that_is_set_back_across_midnight_shows_a_day_twice():
    """In St John's, on 7 November 2010, the clock went from 00:01 back to 23:01 of the day before."""
    zone = "America/St_Johns"
    seventh = Exclusions(dates=frozenset({date(2010, 11, 7)}))
    calendar = Calendar(Cron.parse("*/10 * * * *", zone), zone, exclusions=seventh)
    since, until = at("2010-11-07T02:00:00Z"), at("2010-11-07T06:00:00Z")
    expected = [tick for tick in calendar.ticks(since, until) if not calendar.is_excluded(tick)]
    assert at("2010-11-07T02:40:00Z") in expected
    assert list(calendar.runs(since, until)) == expected


def test_the_way_over_a_long_exclusion_is_short():
    year = Exclusions(spans=((SINCE, UNTIL),))
    calendar = Calendar(Interval(timedelta(seconds=1), SINCE), exclusions=year)
    started = perf_counter()
    assert next(calendar.runs(SINCE, UNTIL + DAY)) == UNTIL
    assert perf_counter() - started < 1


def test_a_second_s_interval_is_enumerated_in_a_moment():
    calendar = Calendar(Interval(timedelta(seconds=1), SINCE))
    started = perf_counter()
    assert sum(1 for _ in calendar.ticks(SINCE, SINCE + 3 * DAY)) == 3 * 86_400 - 1
    assert perf_counter() - started < 2


# Jitter.

JITTERS = st.timedeltas(timedelta(0), timedelta(days=1))
GAPS = st.none() | st.timedeltas(timedelta(microseconds=1), timedelta(days=2))


@given(st.text(max_size=20), JITTERS, GAPS, st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)))
def test_a_delay_is_never_negative_never_past_the_jitter_never_past_the_next_tick(key, jitter, gap, naive):
    tick = naive.replace(tzinfo=UTC)
    next_tick = None if gap is None else tick + gap
    delay = daily(jitter=jitter).delay(key, tick, next_tick)
    assert timedelta(0) <= delay <= jitter
    if next_tick is not None:
        assert tick + delay < next_tick


def test_a_delay_is_the_same_on_every_engine_and_for_ever():
    """The number is the contract: another one would move every armed tick."""
    calendar, tick = daily(jitter=timedelta(seconds=30)), at("2026-11-20T08:00:00Z")
    assert calendar.delay("agent/hourly", tick, None) == timedelta(seconds=20.441998)
    assert calendar.delay("agent/hourly", at("2026-11-20T09:00:00+01:00"), None) == timedelta(seconds=20.441998)


def test_delays_spread_over_agents_and_ticks():
    calendar, tick = daily(jitter=timedelta(seconds=100)), at("2026-11-20T08:00:00Z")
    delays = [calendar.delay(f"agent-{n}/hourly", tick + n * DAY, None).total_seconds() for n in range(1_000)]
    assert all(60 < sum(1 for delay in delays if low <= delay < low + 10) < 140 for low in range(0, 100, 10))


def test_without_jitter_there_is_no_delay():
    assert daily().delay("agent/hourly", at("2026-11-20T08:00:00Z"), None) == timedelta(0)


def test_a_calendar_of_one_date():
    calendar = Calendar(Once(SINCE), end_at=UNTIL)
    assert calendar.next(SINCE - MOMENT) == SINCE
    assert calendar.next(SINCE) is None
    assert list(calendar.runs(SINCE, UNTIL)) == [SINCE]
