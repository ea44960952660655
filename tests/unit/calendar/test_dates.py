"""Instants are RFC 3339, on every supported Python."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.calendar.dates import Once, format_instant, parse_instant
from overnight.calendar.errors import CalendarError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T08:00:00Z", "2026-11-20T08:00:00Z"),
        ("2026-11-20t08:00:00z", "2026-11-20T08:00:00Z"),
        ("2026-11-20T08:00:00+00:00", "2026-11-20T08:00:00Z"),
        ("2026-11-20T08:00:00-00:00", "2026-11-20T08:00:00Z"),
        ("2026-11-20T09:30:00+05:30", "2026-11-20T04:00:00Z"),
        ("2026-12-31T20:00:00-05:00", "2027-01-01T01:00:00Z"),
        ("2026-11-20T08:00:00.5Z", "2026-11-20T08:00:00.500000Z"),
        ("2026-11-20T08:00:00.000Z", "2026-11-20T08:00:00Z"),
        ("2026-11-20T08:00:00.123456789Z", "2026-11-20T08:00:00.123456Z"),
        ("2028-02-29T00:00:00Z", "2028-02-29T00:00:00Z"),
    ],
)
def test_rfc_3339_is_read_and_written_in_utc(text, expected):
    instant = parse_instant(text)
    assert instant.tzinfo is UTC
    assert format_instant(instant) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2026-11-20",
        "2026-11-20T08:00:00",
        "2026-11-20T08:00Z",
        "20261120T080000Z",
        "2026-W47-5T08:00:00Z",
        "2026-11-20T08:00:00+0100",
        "2026-11-20T08:00:00+24:00",
        "2026-11-20T08:00:00+01:60",
        "2026-11-20T24:00:00Z",
        "2026-11-20T08:00:60Z",
        "2027-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "2026-11-20T08:00:00,5Z",
        "٢026-11-20T08:00:00Z",
    ],
)
def test_anything_else_is_refused_with_the_name_of_the_field(text):
    with pytest.raises(CalendarError, match=r"^end_at: "):
        parse_instant(text, "end_at")


@given(
    st.datetimes(
        datetime(1, 1, 2),
        datetime(9999, 12, 30),
        timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
    )
)
def test_what_is_written_is_read_again(instant):
    assert parse_instant(format_instant(instant)) == instant
    assert parse_instant(instant.isoformat()) == instant


def test_a_naive_time_is_no_instant():
    with pytest.raises(CalendarError, match="has no offset"):
        format_instant(datetime(2026, 11, 20))


def test_a_date_is_one_tick():
    instant, second = datetime(2026, 12, 24, 17, tzinfo=UTC), timedelta(seconds=1)
    once = Once(instant)
    assert once.next(instant - second) == instant
    assert once.next(instant) is None
    assert once.previous(instant + second) == instant
    assert once.previous(instant) is None
    assert list(once.ticks(instant, instant + second)) == [instant]
    assert list(once.ticks(instant - second, instant)) == []
