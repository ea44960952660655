"""Cron, minute by minute: the calendar equals a slow, obvious evaluator over many zones, 2020 to 2040.

The evaluator shares nothing with the calendar: it walks the minutes of UTC, asks `zoneinfo` for the local time of each,
and compares the five fields with it by reading their text.
"""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from overnight.calendar.cron import Cron
from overnight.calendar.errors import CalendarError

MONTHS = ["", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
MINUTE = timedelta(minutes=1)

# Half-hour and two-hour changes, changes at midnight, around Ramadan, on a Thursday, and odd offsets.
AWKWARD = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Asia/Gaza",
    "Asia/Beirut",
    "America/Nuuk",
    "America/Havana",
    "America/Santiago",
    "America/Asuncion",
    "America/St_Johns",
    "Pacific/Chatham",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Asia/Amman",
    "Europe/Dublin",
    "America/Scoresbysund",
    "UTC",
]


@cache
def zone(name):
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file)


def zones():
    names = resources.files("tzdata").joinpath("zones").read_text().split()
    return st.sampled_from(AWKWARD) | st.sampled_from(names)


@cache
def changes(name, year):
    """The hours of a year in UTC at whose end a zone has another offset than at their beginning."""
    hours = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(366 * 24)]
    offsets = [hour.astimezone(zone(name)).utcoffset() for hour in hours]
    return [hours[n] for n in range(len(hours) - 1) if offsets[n] != offsets[n + 1]]


# The evaluator.


def item_matches(item, value, low, high, names=()):
    text, _, step = item.partition("/")
    first, dash, last = text.partition("-")

    def number(word):
        return names.index(word) if word in names else int(word)

    if text == "*":
        bottom, top = low, high
    else:
        bottom = number(first)
        top = number(last) if dash else high if step else bottom
    return value in range(bottom, top + 1, int(step or 1))


def matches(text, value, low, high, names=()):
    return any(item_matches(item, value, low, high, names) for item in text.split(","))


def day_of_month_matches(text, day):
    tomorrow = day + timedelta(days=1)
    return any(
        tomorrow.month != day.month if item == "l" else matches(item, day.day, 1, 31) for item in text.split(",")
    )


def weekday_matches(text, weekday):
    return matches(text, weekday, 0, 6, WEEKDAYS) or (weekday == 0 and matches(text, 7, 0, 6, WEEKDAYS))


def day_of_week_item_matches(item, day):
    weekday = day.isoweekday() % 7
    if "#" in item:
        name, _, nth = item.partition("#")
        same_weekdays = [day - timedelta(weeks=n) for n in range(5)]  # this one, and those before it
        return weekday_matches(name, weekday) and sum(d.month == day.month for d in same_weekdays) == int(nth)
    if item.startswith("l"):
        return weekday_matches(item[1:], weekday) and (day + timedelta(weeks=1)).month != day.month
    return weekday_matches(item, weekday)


def day_of_week_matches(text, day):
    return any(day_of_week_item_matches(item, day) for item in text.split(","))


def date_matches(fields, day):
    _, _, of_month, month, of_week = fields
    if not matches(month, day.month, 1, 12, MONTHS):
        return False
    answers = day_of_month_matches(of_month, day), day_of_week_matches(of_week, day)
    return all(answers) if of_month[0] == "*" or of_week[0] == "*" else any(answers)


def reference(expression, zone_name, since, until):
    fields = minute, hour, *_ = expression.lower().split()
    twice = any(sign in minute + hour for sign in "*/") or "-" in hour
    minutes = {n for n in range(60) if matches(minute, n, 0, 59)}
    hours = {n for n in range(24) if matches(hour, n, 0, 23)}
    date_answers = {}
    instant = since
    while instant < until:
        on_the_wall = instant.astimezone(zone(zone_name))
        day = on_the_wall.date()
        if on_the_wall.minute in minutes and on_the_wall.hour in hours and (twice or on_the_wall.fold == 0):
            if day not in date_answers:
                date_answers[day] = date_matches(fields, day)
            if date_answers[day]:
                yield instant
        instant += MINUTE


# What is drawn.


def items(low, high, names=()):
    def spell(number):
        spellings = [st.just(str(number))]
        if number < len(names) and names[number]:
            spellings += [st.just(names[number]), st.just(names[number].upper())]
        return st.one_of(spellings)

    number = st.integers(low, high)
    steps = st.just("") | st.integers(1, 40).map("/{}".format)
    ranges = st.tuples(number, number).map(sorted).flatmap(lambda ends: st.tuples(spell(ends[0]), spell(ends[1])))
    return st.one_of(
        number.flatmap(spell),
        st.tuples(ranges.map("-".join), steps).map("".join),
        st.tuples(st.just("*"), steps).map("".join),
        st.tuples(number.map(str), steps).map("".join),
    )


def lists(item):
    return st.lists(item, min_size=1, max_size=3).map(",".join)


WEEKDAY = st.sampled_from(["0", "3", "7", "fri", "SUN"])
OFTEN = st.just("*")
MINUTES = lists(items(0, 59)) | st.sampled_from(["0", "30", "*", "*/15", "0,30", "59", "1"])
HOURS = lists(items(0, 23)) | st.sampled_from(["0", "1", "2", "3", "23", "*", "0,1,2,3", "1-3", "*/2"])
DAYS = lists(items(1, 31) | st.just("L")) | OFTEN
SOME_MONTHS = lists(items(1, 12, MONTHS)) | OFTEN
DAYS_OF_WEEK = OFTEN | lists(
    st.one_of(
        items(0, 6, WEEKDAYS),
        st.just("7"),
        st.just("5-7"),
        st.tuples(WEEKDAY, st.integers(1, 5)).map(lambda pair: f"{pair[0]}#{pair[1]}"),
        WEEKDAY.map("L{}".format),
    )
)
EXPRESSIONS = st.tuples(MINUTES, HOURS, DAYS, SOME_MONTHS, DAYS_OF_WEEK).map(" ".join)
# Most expressions for one night name no date in it; these do.
NIGHTLY = st.tuples(MINUTES, HOURS, OFTEN | st.just("*/2"), OFTEN, OFTEN | st.just("0,4-6")).map(" ".join)


@st.composite
def nights(draw):
    """A zone, and 40 to 70 hours of it around a change of its clocks if there is one that year."""
    name, year = draw(zones()), draw(st.integers(2020, 2040))
    around = changes(name, year)
    middle = draw(st.sampled_from(around)) if around else datetime(year, draw(st.integers(1, 12)), 15, tzinfo=UTC)
    return name, middle - draw(st.timedeltas(timedelta(hours=20), timedelta(hours=35))), middle + timedelta(hours=35)


def parsed(expression, name):
    """The Cron, or None where it is refused because no date ever matches."""
    try:
        return Cron.parse(expression, name)
    except CalendarError as error:
        if error.reason.startswith("no date ever matches"):
            return None
        raise


def forwards(cron, after, until):
    while (after := cron.next(after)) is not None and after < until:
        yield after


def backwards(cron, before, since):
    while (before := cron.previous(before)) is not None and before >= since:
        yield before


def first_minute(since):
    minute = since.replace(second=0, microsecond=0)
    return minute if minute == since else minute + MINUTE


def check_night(expression, night):
    name, since, until = night
    cron = parsed(expression, name)
    expected = list(reference(expression, name, first_minute(since), until))
    if cron is None:
        assert expected == []
        return
    assert list(cron.ticks(since, until)) == expected
    assert list(forwards(cron, since - timedelta(microseconds=1), until)) == expected
    assert list(backwards(cron, until, since)) == expected[::-1]


RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@settings(RELAXED, max_examples=400)
@given(EXPRESSIONS | NIGHTLY | NIGHTLY, nights())
@example("30 2 * * *", ("Europe/Berlin", datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 3, 30, tzinfo=UTC)))
@example("15 2 * * *", ("Australia/Lord_Howe", datetime(2026, 10, 3, tzinfo=UTC), datetime(2026, 10, 5, tzinfo=UTC)))
@example("0 0 * * *", ("Africa/Cairo", datetime(2026, 4, 23, tzinfo=UTC), datetime(2026, 4, 25, tzinfo=UTC)))
@example("30 23 * * *", ("America/Nuuk", datetime(2026, 10, 23, tzinfo=UTC), datetime(2026, 10, 26, tzinfo=UTC)))
def test_on_nights_when_the_clocks_change_the_calendar_equals_the_reference(expression, night):
    check_night(expression, night)


@pytest.mark.slow
@settings(RELAXED, max_examples=4_000)
@given(EXPRESSIONS | NIGHTLY | NIGHTLY, nights())
def test_on_thousands_of_such_nights_the_calendar_equals_the_reference(expression, night):
    check_night(expression, night)


@settings(RELAXED, max_examples=150)
@given(DAYS, SOME_MONTHS, DAYS_OF_WEEK, st.integers(2020, 2040))
@example("*/2", "*", "MON", 2026)
@example("1", "*", "*/2", 2026)
@example("13", "*", "FRI", 2026)
@example("L", "2", "*", 2028)
@example("*", "*", "MON#5", 2026)
def test_the_dates_of_a_year_and_a_half_equal_the_reference(day, month, day_of_week, year):
    expression = f"0 12 {day} {month} {day_of_week}"
    first = date(year, 1, 1)
    days = [first + timedelta(days=n) for n in range(550)]
    expected = [d for d in days if date_matches(expression.lower().split(), d)]
    cron = parsed(expression, "UTC")
    if cron is None:
        assert expected == []
        return
    since = datetime(year, 1, 1, tzinfo=UTC)
    assert [tick.date() for tick in cron.ticks(since, since + timedelta(days=550))] == expected


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(RELAXED, max_examples=40, phases=[Phase.reuse, Phase.generate])
@given(EXPRESSIONS, zones(), st.integers(2020, 2040))
def test_a_whole_year_equals_the_reference(expression, name, year):
    check_night(expression, (name, datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)))


@settings(RELAXED, max_examples=60)
@given(DAYS, SOME_MONTHS, DAYS_OF_WEEK)
def test_what_is_refused_as_never_matching_matches_no_date_in_four_hundred_years(day, month, day_of_week):
    """The Gregorian calendar repeats itself after 400 years."""
    expression = f"0 0 {day} {month} {day_of_week}"
    if parsed(expression, "UTC") is None:
        fields = expression.lower().split()
        assert not any(date_matches(fields, date(2000, 1, 1) + timedelta(days=n)) for n in range(146_097))


@settings(RELAXED, max_examples=60)
@given(EXPRESSIONS, zones(), st.datetimes(datetime(2020, 1, 1), datetime(2040, 12, 31), timezones=st.just(UTC)))
def test_next_and_previous_are_each_other_s_inverse(expression, name, after):
    cron = parsed(expression, name)
    if cron is not None and (tick := cron.next(after)) is not None:
        assert tick > after
        before = cron.previous(tick)
        assert before is None or before <= after
        assert cron.next(tick - timedelta(microseconds=1)) == tick
        assert cron.previous(tick + timedelta(microseconds=1)) == tick
