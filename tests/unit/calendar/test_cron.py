"""Cron expressions: what they mean, which are refused, and what daylight saving does to them."""

import pickle
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from time import perf_counter

import pytest
from croniter import croniter

from overnight.calendar.cron import Cron
from overnight.calendar.errors import CalendarError
from overnight.calendar.zones import local


def instant(text):
    return datetime.fromisoformat(text)


def local_ticks(expression, timezone, since, until):
    """The ticks as `07T02:30-0500`."""
    ticks = Cron.parse(expression, timezone).ticks(instant(since), instant(until))
    return [local(timezone, tick).strftime("%dT%H:%M%z") for tick in ticks]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 8 * * 1-5", "2026-11-20T08:00 2026-11-23T08:00 2026-11-24T08:00"),
        ("0 8 * * MON-FRI", "2026-11-20T08:00 2026-11-23T08:00 2026-11-24T08:00"),
        ("0 0 * * 7", "2026-11-22T00:00 2026-11-29T00:00"),
        ("0 0 * * 0", "2026-11-22T00:00 2026-11-29T00:00"),
        ("0 0 * * sun-sun", "2026-11-22T00:00 2026-11-29T00:00"),
        ("0 0 * * fri-sun", "2026-11-21T00:00 2026-11-22T00:00 2026-11-27T00:00"),
        ("0 0 * * 5-7", "2026-11-21T00:00 2026-11-22T00:00 2026-11-27T00:00"),
        ("0 0 L * *", "2026-11-30T00:00 2026-12-31T00:00 2027-01-31T00:00 2027-02-28T00:00"),
        ("0 0 15,L * *", "2026-11-30T00:00 2026-12-15T00:00 2026-12-31T00:00"),
        ("0 0 * * MON#2", "2026-12-14T00:00 2027-01-11T00:00"),
        ("0 0 * * 1#1,5#3", "2026-12-07T00:00 2026-12-18T00:00 2027-01-04T00:00"),
        ("0 0 * * L5", "2026-11-27T00:00 2026-12-25T00:00 2027-01-29T00:00"),
        ("0 0 * * LFRI", "2026-11-27T00:00 2026-12-25T00:00 2027-01-29T00:00"),
        ("0 0 13 * 5", "2026-11-27T00:00 2026-12-04T00:00 2026-12-11T00:00 2026-12-13T00:00"),  # either
        ("0 0 */2 * MON", "2026-11-23T00:00 2026-12-07T00:00 2026-12-21T00:00"),  # both: it begins with *
        ("0 0 1 * */2", "2026-12-01T00:00 2027-04-01T00:00 2027-05-01T00:00"),
        ("5/20 3 * * *", "2026-11-20T03:05 2026-11-20T03:25 2026-11-20T03:45 2026-11-21T03:05"),
        ("*/90 * * * *", "2026-11-20T01:00 2026-11-20T02:00"),
        ("0 0 29 FEB *", "2028-02-29T00:00 2032-02-29T00:00"),
        ("0  0\t1 jan,Jul *", "2027-01-01T00:00 2027-07-01T00:00"),
        ("@hourly", "2026-11-20T01:00 2026-11-20T02:00"),
        ("@daily", "2026-11-21T00:00 2026-11-22T00:00"),
        ("@midnight", "2026-11-21T00:00 2026-11-22T00:00"),
        ("@weekly", "2026-11-22T00:00 2026-11-29T00:00"),
        ("@monthly", "2026-12-01T00:00 2027-01-01T00:00"),
        ("@yearly", "2027-01-01T00:00 2028-01-01T00:00"),
        ("@Annually", "2027-01-01T00:00 2028-01-01T00:00"),
    ],
)
def test_an_expression_means_what_vixie_cron_and_its_additions_say(expression, expected):
    cron, tick = Cron.parse(expression), instant("2026-11-20T00:00:00Z")
    for text in expected.split():
        tick = cron.next(tick)
        assert tick == instant(f"{text}Z")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("60 * * * *", "minute: 60 is out of range"),
        ("* 24 * * *", "hour: 24 is out of range"),
        ("* * 0 * *", "day: 0 is out of range"),
        ("* * 32 * *", "day: 32 is out of range"),
        ("* * * 13 *", "month: 13 is out of range"),
        ("* * * * 8", "day_of_week: 8 is out of range"),
        ("* * * FOO *", "month: 'FOO' cannot be read"),
        ("-5 * * * *", "minute: '-5' cannot be read"),
        ("1.5 * * * *", "minute: '1.5' cannot be read"),
        ("٣ * * * *", "minute: '٣' cannot be read"),
        ("1,,2 * * * *", "minute: an item of the list is empty"),
        ("*/0 * * * *", "minute: a step must be at least 1"),
        ("0 22-4 * * *", "hour: the range 22-4 runs backwards; write 22-23,0-4"),
        ("0 0 * * 5-0", "day_of_week: the range 5-0 runs backwards"),
        ("0 0 ? * *", "day: '?' is not known here; write '*'"),
        ("0 0 L-3 * *", "day: 'L' cannot be read"),
        ("0 0 15W * *", "day: '15W' cannot be read"),
        ("0 0 * * L", "day_of_week: 'L' cannot be read"),
        ("0 0 * * 5L", "day_of_week: '5L' cannot be read"),
        ("0 0 * * MON#6", "day_of_week: #6 is out of range"),
        ("0 0 * * MON#12", "day_of_week: #12 is out of range"),
        ("0 0 * * MON#0", "day_of_week: #0 is out of range"),
        ("R * * * *", "minute: R: random and hashed values are refused"),
        ("R(0-10) * * * *", "minute: R(0-10): random and hashed"),
        ("0 H(8-18)/2 * * *", "hour: H(8-18)/2: random and hashed"),
        ("0 0 * * h", "day_of_week: h: random and hashed"),
        ("0 0 30 2 *", "day: no date ever matches"),
        ("0 0 31 4,6 *", "day: no date ever matches"),
        ("0 0 */30 2 MON#5", "day: no date ever matches"),
        ("* * * * * *", "cron: must have five fields (minute, hour, day, month, day_of_week), not 6"),
        ("* * * *", "cron: must have five fields"),
        ("", "cron: must have five fields"),
        ("@reboot", "cron: @reboot is not known"),
        ("0," * 300 + "0 * * * *", "cron: must be at most 512 characters"),
    ],
)
def test_what_is_wrong_is_refused_with_the_name_of_the_field(expression, message):
    with pytest.raises(CalendarError) as refused:
        Cron.parse(expression)
    assert str(refused.value).startswith(message)


def test_the_fifth_monday_of_february_is_a_date():
    assert Cron.parse("0 0 * 2 MON#5").next(instant("2026-01-01T00:00:00Z")) == instant("2044-02-29T00:00:00Z")


# New York, 2026: the clock goes from 02:00 to 03:00 on 8 March, from 02:00 to 01:00 on 1 November.
SPRING = ("2026-03-07T12:00:00-05:00", "2026-03-09T12:00:00-05:00")
AUTUMN = ("2026-10-31T12:00:00-05:00", "2026-11-02T12:00:00-05:00")


@pytest.mark.parametrize(
    ("expression", "night", "expected"),
    [
        ("30 2 * * *", SPRING, "09T02:30-0400"),
        ("30 1 * * *", AUTUMN, "01T01:30-0400 02T01:30-0500"),
        ("0 0 * * *", SPRING, "08T00:00-0500 09T00:00-0400"),
        ("0 0 * * *", AUTUMN, "01T00:00-0400 02T00:00-0500"),
        ("0 1,2,3 * * *", SPRING, "08T01:00-0500 08T03:00-0400 09T01:00-0400 09T02:00-0400 09T03:00-0400"),
        (
            "0 1,2,3 * * *",
            AUTUMN,
            "01T01:00-0400 01T02:00-0500 01T03:00-0500 02T01:00-0500 02T02:00-0500 02T03:00-0500",
        ),
        # The hour has a range, `*` or `/`: elapsed time, both passes.
        ("0 1-2 * * *", AUTUMN, "01T01:00-0400 01T01:00-0500 01T02:00-0500 02T01:00-0500 02T02:00-0500"),
        ("0 */8 * * 0", AUTUMN, "01T00:00-0400 01T08:00-0500 01T16:00-0500"),
        ("*/30 1 * * *", AUTUMN, "01T01:00-0400 01T01:30-0400 01T01:00-0500 01T01:30-0500 02T01:00-0500 02T01:30-0500"),
        ("20/30 1 1 11 *", AUTUMN, "01T01:20-0400 01T01:50-0400 01T01:20-0500 01T01:50-0500"),
        ("*/30 2 8 3 *", SPRING, ""),
        # A range of minutes alone is no elapsed time.
        ("29-30 1 1 11 *", AUTUMN, "01T01:29-0400 01T01:30-0400"),
    ],
)
def test_daylight_saving_in_new_york_2026(expression, night, expected):
    assert " ".join(local_ticks(expression, "America/New_York", *night)) == expected


@pytest.mark.parametrize("night", [SPRING, AUTUMN])
@pytest.mark.parametrize("expression", ["0 * * * *", "@hourly", "30 */1 * * *", "15 0-23 * * *"])
def test_an_hourly_job_never_pauses(expression, night):
    ticks = list(Cron.parse(expression, "America/New_York").ticks(*map(instant, night)))
    assert len(ticks) == 48
    assert {b - a for a, b in pairwise(ticks)} == {timedelta(hours=1)}


@pytest.mark.parametrize("timezone", ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Antarctica/Troll"])
def test_midnight_loses_no_day_where_every_day_has_one(timezone):
    ticks = list(
        Cron.parse("0 0 * * *", timezone).ticks(instant("2026-01-01T12:00:00Z"), instant("2027-01-01T12:00:00Z"))
    )
    assert len(ticks) == 365


def test_where_midnight_does_not_exist_that_night_alone_is_skipped():
    """Cairo goes from 00:00 to 01:00 on 24 April 2026."""
    ticks = local_ticks("0 0 * * *", "Africa/Cairo", "2026-04-22T12:00:00Z", "2026-04-26T12:00:00Z")
    assert ticks == ["23T00:00+0200", "25T00:00+0300", "26T00:00+0300"]


def test_a_date_that_is_left_out_of_the_calendar_is_skipped():
    """Samoa went from 29 to 31 December 2011."""
    ticks = local_ticks("0 12 * * *", "Pacific/Apia", "2011-12-28T00:00:00Z", "2011-12-31T12:00:00Z")
    assert ticks == ["28T12:00-1000", "29T12:00-1000", "31T12:00+1400"]


def test_a_time_that_daylight_saving_always_leaves_out_has_no_next_tick():
    cron = Cron.parse("30 2 * 3 SUN#2", "America/New_York")
    assert cron.next(instant("2026-01-01T00:00:00Z")) is None


def test_next_is_strictly_later_and_previous_strictly_earlier():
    cron, tick = Cron.parse("0 8 * * *"), instant("2026-11-20T08:00:00Z")
    moment = timedelta(microseconds=1)
    assert cron.next(tick) == tick + timedelta(days=1)
    assert cron.next(tick - moment) == tick
    assert cron.previous(tick) == tick - timedelta(days=1)
    assert cron.previous(tick + moment) == tick


def test_ticks_include_since_and_leave_out_until():
    since = instant("2026-11-20T08:00:00Z")
    assert list(Cron.parse("0 8 * * *").ticks(since, since + timedelta(days=2))) == [since, since + timedelta(days=1)]


def test_times_of_any_zone_are_taken_and_utc_is_given():
    cron, moment = Cron.parse("0 * * * *", "Europe/Berlin"), instant("2026-11-20T23:30:00-05:00")
    assert cron.next(moment).isoformat() == "2026-11-21T05:00:00+00:00"
    assert cron.previous(moment).isoformat() == "2026-11-21T04:00:00+00:00"


@pytest.mark.parametrize("extreme", [datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)])
def test_the_ends_of_time_are_no_error(extreme):
    cron = Cron.parse("0 8 * * *", "Europe/Berlin")
    assert cron.next(extreme) is None or cron.next(extreme) > extreme
    assert cron.previous(extreme) is None or cron.previous(extreme) < extreme


def test_equal_expressions_are_equal_and_travel():
    cron = Cron.parse("0 8 * * *", "Europe/Berlin")
    assert cron == Cron.parse("0 8 * * *", "Europe/Berlin")
    assert hash(cron) == hash(Cron.parse("0 8 * * *", "Europe/Berlin"))
    assert cron != Cron.parse("0 8 * * *", "Europe/Paris")
    assert pickle.loads(pickle.dumps(cron)).next(instant("2026-11-20T08:00:00Z")) == instant("2026-11-21T07:00:00Z")


@pytest.mark.parametrize(
    "expression",
    ["*/7 3-9 * * *", "0 0 1,15 * MON", "5 4 * 2,3 *", "0 0 29 2 *", "0 0 * * L5", "0 0 * * TUE#3", "0 12 L * *"],
)
def test_where_croniter_is_right_it_agrees(expression):
    """In UTC, where there is no daylight saving to get wrong."""
    cron, start = Cron.parse(expression), datetime(2026, 11, 20, tzinfo=UTC)
    peer, tick = croniter(expression, start), start
    for _ in range(30):
        tick = cron.next(tick)
        assert tick == peer.get_next(datetime)


def test_ten_thousand_schedules_are_recomputed_in_a_moment():
    """Typically 5 µs each; the bound leaves room for a slow machine."""
    crons = [Cron.parse(f"{n % 60} {n % 24} * * 1-5", "Europe/Berlin") for n in range(100)]
    now = instant("2026-11-20T08:00:00Z")
    crons[0].next(now)
    started = perf_counter()
    for cron in crons * 100:
        cron.next(now)
    assert perf_counter() - started < 1


def test_a_year_of_minutes_is_enumerated_in_a_moment():
    cron, since = Cron.parse("* * * * *", "Europe/Berlin"), instant("2026-01-01T00:00:00Z")
    started = perf_counter()
    assert sum(1 for _ in cron.ticks(since, since + timedelta(days=365))) == 365 * 24 * 60
    assert perf_counter() - started < 2
