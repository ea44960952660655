"""What EventBridge Scheduler is given covers every tick, and is what Scheduler accepts.

What tests/support/eventbridge.py says of an expression is independent of the calendar.
"""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.support.eventbridge import Scheduler

from overnight.calendar.cron import Cron
from overnight.calendar.dates import Once
from overnight.calendar.errors import CalendarError
from overnight.calendar.eventbridge import expressions
from overnight.calendar.interval import Interval
from overnight.calendar.ticks import Calendar

MINUTE = timedelta(minutes=1)


def given_to_scheduler(calendar):
    return [Scheduler(expression) for expression in expressions(calendar)]


def uncovered(calendar, since, until):
    schedulers = given_to_scheduler(calendar)
    assert 1 <= len(schedulers) <= 40
    return [
        tick
        for tick in calendar.ticks(since, until)
        if not any(scheduler.fires_in_the_minute_of(tick) for scheduler in schedulers)
    ]


def invocations(calendar, since, until):
    schedulers = given_to_scheduler(calendar)
    minutes = (since + MINUTE * n for n in range((until - since) // MINUTE))
    return [minute for minute in minutes if any(s.fires_in_the_minute_of(minute) for s in schedulers)]


def shown(calendar):
    return [f"{e.expression} {e.timezone}" for e in expressions(calendar)]


@pytest.mark.parametrize(
    ("expression", "timezone", "expected"),
    [
        ("0 8 * * 1-5", "Europe/Berlin", ["cron(0 8 ? * 2-6 *) Europe/Berlin"]),
        ("0 0 * * *", "Africa/Cairo", ["cron(0 0 * * ? *) Africa/Cairo"]),
        ("30 6,18 L 2 *", "Asia/Tokyo", ["cron(30 6,18 L 2 ? *) Asia/Tokyo"]),
        ("0 0 13 * FRI", "UTC", ["cron(0 0 13 * ? *) UTC", "cron(0 0 ? * 6 *) UTC"]),
        ("0 0 */2 * MON", "UTC", ["cron(0 0 ? * 2 *) UTC"]),
        ("0 0 1 * */2", "UTC", ["cron(0 0 1 * ? *) UTC"]),
        ("0 0 1-31 * MON", "UTC", ["cron(0 0 * * ? *) UTC"]),
        ("0 0 * * MON#2,L5", "UTC", ["cron(0 0 ? * 2#2 *) UTC", "cron(0 0 ? * 6L *) UTC"]),
        ("0 0 31 2 SUN", "UTC", ["cron(0 0 ? 2 1 *) UTC"]),
        ("*/15 * * * *", "Europe/Berlin", ["cron(0/15 * * * ? *) UTC"]),
        ("0 * * * *", "Asia/Kathmandu", ["cron(15 * * * ? *) UTC"]),
        ("0 * * * *", "Australia/Lord_Howe", ["cron(0,30 * * * ? *) UTC"]),
        (
            "0 9-17 * * 1-5",
            "America/Los_Angeles",
            ["cron(0 16-23 ? * 2-6 *) UTC", "cron(0 0,1 ? * 3-7 *) UTC"],
        ),
        ("0 */6 1 1 *", "Asia/Tokyo", ["cron(0 15,21 L 12 ? *) UTC", "cron(0 3,9 1 1 ? *) UTC"]),
    ],
)
def test_cron_becomes_what_scheduler_says(expression, timezone, expected):
    assert shown(Calendar(Cron.parse(expression, timezone), timezone)) == expected


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ({"seconds": 1}, ["cron(* * * * ? *) UTC"]),
        ({"seconds": 50}, ["cron(* * * * ? *) UTC"]),
        ({"minutes": 2, "seconds": 30}, [f"cron({','.join(str(n * 5 // 2) for n in range(24))} * * * ? *) UTC"]),
        ({"minutes": 5}, ["cron(0/5 * * * ? *) UTC"]),
        ({"minutes": 7}, ["cron(* * * * ? *) UTC"]),
        ({"minutes": 45}, ["cron(30 0/3 * * ? *) UTC", "cron(15 1/3 * * ? *) UTC", "cron(0,45 2/3 * * ? *) UTC"]),
        ({"hours": 2}, ["cron(0 0/2 * * ? *) UTC"]),
        ({"hours": 7}, ["cron(0 * * * ? *) UTC"]),
        ({"days": 1}, ["cron(0 8 * * ? *) UTC"]),
        ({"weeks": 1}, ["cron(0 8 ? * 6 *) UTC"]),
    ],
)
def test_an_interval_becomes_cron_in_utc(interval, expected):
    anchor = datetime(2026, 11, 20, 8, 0, 15, tzinfo=UTC)  # a Friday
    assert shown(Calendar(Interval(timedelta(**interval), anchor))) == expected


def test_a_date_becomes_one_instant():
    calendar = Calendar(Once(datetime(2026, 12, 24, 17, 0, 30, tzinfo=UTC)))
    assert shown(calendar) == ["at(2026-12-24T17:00:30) UTC"]
    assert uncovered(calendar, datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)) == []


def test_what_scheduler_would_refuse_is_refused():
    with pytest.raises(CalendarError, match="date: EventBridge Scheduler knows the years 1970 to 2199"):
        expressions(Calendar(Once(datetime(2200, 1, 1, tzinfo=UTC))))


@pytest.mark.parametrize(
    ("expression", "timezone"),
    [
        ("0 8 * * 1-5", "Europe/Berlin"),
        ("0,30 1,2,3 * * *", "America/New_York"),
        ("15 2 15,L * SUN#2,L3", "Australia/Lord_Howe"),
        ("0 0 * * *", "Africa/Cairo"),
        ("*/20 * * * *", "Asia/Kathmandu"),
    ],
)
def test_what_scheduler_can_say_is_said_without_surplus(expression, timezone):
    calendar = Calendar(Cron.parse(expression, timezone), timezone)
    since, until = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)
    assert invocations(calendar, since, until) == list(calendar.ticks(since, until))


@pytest.mark.parametrize(
    ("expression", "timezone", "most"),
    [
        ("*/15 9-17 * * 1-5", "America/New_York", 1.15),
        ("0 */2 * * *", "Europe/Berlin", 2.05),
        ("*/10 22-23 1 * *", "America/Los_Angeles", 2.1),
        ("0 0 */2 * MON", "UTC", 2.3),
    ],
)
def test_what_it_cannot_say_costs_little_surplus(expression, timezone, most):
    calendar = Calendar(Cron.parse(expression, timezone), timezone)
    since, until = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)
    assert len(invocations(calendar, since, until)) <= most * len(list(calendar.ticks(since, until)))


# Everything is covered.

ZONES = st.sampled_from(
    [
        "UTC", "Europe/Berlin", "America/New_York", "America/Los_Angeles", "Asia/Tokyo", "Asia/Kathmandu",
        "Australia/Lord_Howe", "Pacific/Chatham", "Pacific/Apia", "Pacific/Kiritimati", "Pacific/Pago_Pago",
        "Antarctica/Troll", "Africa/Casablanca", "Africa/Cairo", "America/Nuuk", "America/St_Johns", "Asia/Gaza",
        "Asia/Tehran", "America/Havana",
    ]
)  # fmt: skip


def field(low, high):
    number = st.integers(low, high)
    item = st.one_of(
        number.map(str),
        st.tuples(number, number).map(sorted).map("{0[0]}-{0[1]}".format),
        st.integers(2, 40).map("*/{}".format),
    )
    return st.just("*") | st.lists(item, min_size=1, max_size=3).map(",".join)


DAY = st.one_of(field(1, 31), st.sampled_from(["L", "1", "1,L", "28,29", "31", "30"]))
DAY_OF_WEEK = st.one_of(field(0, 7), st.sampled_from(["MON#1", "SUN#5", "L5", "0#1,6#2,L3", "MON#2,FRI"]))
EXPRESSIONS = st.tuples(field(0, 59), field(0, 23), DAY, field(1, 12), DAY_OF_WEEK).map(" ".join)
DAYS = st.integers(0, 21 * 365).map(lambda n: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=n))
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def check_cron(expression, timezone, since):
    try:
        cron = Cron.parse(expression, timezone)
    except CalendarError:
        return
    calendar = Calendar(cron, timezone)
    first = cron.next(since)
    if first is not None:
        assert uncovered(calendar, first, first + timedelta(hours=3)) == []
    schedulers = given_to_scheduler(calendar)
    for month in range(1, 13):  # where a day in UTC belongs to another month than on the wall, mistakes are likely
        new_month = datetime(since.year, month, 1, tzinfo=UTC)
        ticks = list(cron.ticks(new_month - timedelta(hours=36), new_month + timedelta(hours=60)))
        for tick in ticks[:: len(ticks) // 40 + 1]:
            assert any(scheduler.fires_in_the_minute_of(tick) for scheduler in schedulers), tick


@settings(RELAXED, max_examples=200)
@given(EXPRESSIONS, ZONES, DAYS)
@example("*/30 * 1 3 *", "America/New_York", datetime(2026, 1, 1, tzinfo=UTC))
@example("*/30 * L 2 *", "Asia/Tokyo", datetime(2027, 1, 1, tzinfo=UTC))
@example("*/30 * 29 2 *", "America/Los_Angeles", datetime(2027, 1, 1, tzinfo=UTC))
@example("*/30 * * 1 MON#1", "Pacific/Kiritimati", datetime(2027, 1, 1, tzinfo=UTC))
@example("*/30 * L * *", "Pacific/Pago_Pago", datetime(2027, 1, 1, tzinfo=UTC))
def test_every_tick_of_a_cron_expression_is_covered(expression, timezone, since):
    check_cron(expression, timezone, since)


@pytest.mark.slow
@settings(RELAXED, max_examples=4_000)
@given(EXPRESSIONS, ZONES, DAYS)
def test_every_tick_of_thousands_of_cron_expressions_is_covered(expression, timezone, since):
    check_cron(expression, timezone, since)


@settings(RELAXED, max_examples=200)
@given(
    st.one_of(
        st.integers(1, 400).map(lambda n: timedelta(seconds=n)),
        st.integers(1, 3_000).map(lambda n: timedelta(minutes=n)),
        st.integers(1, 1_000).map(lambda n: timedelta(hours=n)),
        st.integers(1, 60).map(lambda n: timedelta(weeks=n)),
        st.timedeltas(timedelta(seconds=1), timedelta(days=400)),
    ),
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),
)
def test_every_tick_of_an_interval_is_covered(every, anchor):
    calendar = Calendar(Interval(every, anchor, at_anchor=True))
    assert uncovered(calendar, anchor, anchor + every * 200) == []
