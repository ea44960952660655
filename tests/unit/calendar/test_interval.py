"""Intervals: the n-th tick is anchor + n·interval in elapsed time."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.calendar.errors import CalendarError
from overnight.calendar.interval import Interval

ANCHOR = datetime(2026, 11, 20, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)
MOMENT = timedelta(microseconds=1)


def test_with_a_chosen_anchor_the_first_tick_is_the_anchor():
    interval = Interval(HOUR, ANCHOR, at_anchor=True)
    assert interval.next(ANCHOR - timedelta(days=9)) == ANCHOR
    assert interval.next(ANCHOR) == ANCHOR + HOUR
    assert interval.previous(ANCHOR) is None
    assert interval.previous(ANCHOR + MOMENT) == ANCHOR


def test_with_an_anchor_from_arming_the_first_tick_is_one_interval_later():
    interval = Interval(HOUR, ANCHOR)
    assert interval.next(ANCHOR - timedelta(days=9)) == ANCHOR + HOUR
    assert interval.next(ANCHOR) == ANCHOR + HOUR
    assert interval.previous(ANCHOR + HOUR) is None
    assert interval.previous(ANCHOR + HOUR + MOMENT) == ANCHOR + HOUR


def test_ticks_include_since_and_leave_out_until():
    interval = Interval(HOUR, ANCHOR)
    assert list(interval.ticks(ANCHOR, ANCHOR + 3 * HOUR)) == [ANCHOR + HOUR, ANCHOR + 2 * HOUR]
    assert list(interval.ticks(ANCHOR + HOUR + MOMENT, ANCHOR + 3 * HOUR)) == [ANCHOR + 2 * HOUR]


@given(
    st.timedeltas(timedelta(seconds=1), timedelta(days=30)),
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),
    st.booleans(),
)
def test_next_and_previous_are_exact_multiples(every, when, at_anchor):
    interval = Interval(every, ANCHOR, at_anchor=at_anchor)
    after, before = interval.next(when), interval.previous(when)
    assert (after - ANCHOR) % every == timedelta(0)
    assert when < after
    if after != interval.first:
        assert after <= when + every
        assert before is not None
        assert when - every <= before < when
        assert (before - ANCHOR) % every == timedelta(0)


def test_a_day_is_24_hours_through_daylight_saving():
    ticks = Interval(timedelta(days=1), ANCHOR).ticks(ANCHOR, ANCHOR + timedelta(days=365))
    assert {b - a for a, b in pairwise(ticks)} == {timedelta(hours=24)}


@pytest.mark.parametrize("every", [timedelta(0), timedelta(milliseconds=999), timedelta(days=-1)])
def test_less_than_a_second_is_refused(every):
    with pytest.raises(CalendarError, match="interval: must be at least one second"):
        Interval(every, ANCHOR)


def test_more_than_a_century_is_refused():
    with pytest.raises(CalendarError, match="interval: must be at most"):
        Interval(timedelta(days=40_000), ANCHOR)


def test_the_ends_of_time_are_no_error():
    interval = Interval(timedelta(days=36_525), datetime(8990, 1, 1, tzinfo=UTC))
    assert interval.next(datetime.max.replace(tzinfo=UTC)) is None
    assert interval.next(datetime(2026, 1, 1, tzinfo=UTC)) is None
    assert interval.previous(datetime.max.replace(tzinfo=UTC)) is None
    with pytest.raises(CalendarError, match="start_at: "):
        Interval(HOUR, datetime.max.replace(tzinfo=UTC))
