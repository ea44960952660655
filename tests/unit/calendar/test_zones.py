"""Time zones come from the pinned tzdata package, and their changes are found to the second."""

import struct
from datetime import UTC, datetime, timedelta
from importlib import resources
from itertools import pairwise
from pathlib import Path
from zoneinfo import TZPATH, reset_tzpath

import pytest

from overnight.calendar.errors import CalendarError
from overnight.calendar.zones import Segment, segments, tzdata_version, zone, zone_names


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "US/Eastern", "Etc/GMT+5"])
def test_iana_names_and_links_are_known(name):
    assert zone(name).key == name


def test_every_name_of_the_package_is_a_zone():
    for name in zone_names():
        assert datetime(2026, 1, 1, tzinfo=zone(name)).utcoffset() is not None


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("Europe/Berln", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("utc", "UTC"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(name, suggestion):
    with pytest.raises(
        CalendarError, match=f"timezone: '{name}' is not an IANA time zone; did you mean '{suggestion}'?"
    ):
        zone(name)


@pytest.mark.parametrize("name", ["", "../zones", "/etc/localtime", "Europe", "Europe/", "Europe/Berlin\0", "+02:00"])
def test_what_is_no_name_reaches_no_file(name):
    with pytest.raises(CalendarError, match="timezone: "):
        zone(name)


def test_the_system_s_zones_are_not_asked(tmp_path: Path):
    """A folder of zones in which Chatham is UTC would be believed by `ZoneInfo(name)`."""
    (tmp_path / "Pacific").mkdir()
    utc = resources.files("tzdata").joinpath("zoneinfo", "UTC").read_bytes()
    (tmp_path / "Pacific" / "Chatham").write_bytes(utc)
    before = TZPATH
    reset_tzpath([str(tmp_path)])
    try:
        zone.cache_clear()
        offset = datetime(2026, 6, 1, tzinfo=zone("Pacific/Chatham")).utcoffset()
    finally:
        reset_tzpath(before)
        zone.cache_clear()
    assert offset == timedelta(hours=12, minutes=45)


def test_the_release_of_the_database_is_named():
    release = tzdata_version()
    assert release[:4].isdigit()
    assert release[4:].isalpha()


def test_segments_are_cut_where_the_offset_changes():
    hour = timedelta(hours=1)
    year = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    spring, autumn = datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)
    expected = [
        Segment(year[0], spring, hour, datetime(2026, 1, 1, 1)),
        Segment(spring, autumn, 2 * hour, datetime(2026, 3, 29, 3)),
        Segment(autumn, year[1], hour, datetime(2026, 10, 25, 3)),  # from 02:00 to 03:00 the clock repeats itself
    ]
    assert list(segments("Europe/Berlin", *year)) == expected
    assert list(segments("Europe/Berlin", *year, backwards=True)) == expected[::-1]
    assert list(segments("Europe/Berlin", spring, spring + hour)) == expected[1:2]


def _transitions(name: str) -> list[tuple[int, int]]:
    """The changes that a zone's file lists, as (Unix time, offset in seconds): RFC 8536, version 2."""
    data = resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
    header = struct.Struct(">4s1s15x6l")
    _, _, utc, std, leap, times, types, chars = header.unpack_from(data)
    start = header.size + times * 5 + types * 6 + chars + leap * 8 + std + utc
    _, _, _, _, _, times, types, _ = header.unpack_from(data, start)
    start += header.size
    instants = struct.unpack_from(f">{times}q", data, start)
    kinds = struct.unpack_from(f">{times}B", data, start + times * 8)
    offsets = [struct.unpack_from(">lBB", data, start + times * 9 + kind * 6)[0] for kind in range(types)]
    return [(instant, offsets[kind]) for instant, kind in zip(instants, kinds, strict=True)]


def test_every_change_that_tzdata_lists_is_found():
    """The calendar looks every three days; no zone changes its offset twice within six."""
    since, until = datetime(2015, 1, 1, tzinfo=UTC), datetime(2037, 1, 1, tzinfo=UTC)
    for name in sorted(zone_names())[::7]:
        listed = [
            (instant, offset)
            for (_, before), (instant, offset) in pairwise(_transitions(name))
            if before != offset and since.timestamp() <= instant < until.timestamp()
        ]
        found = list(segments(name, since, until))
        changes = [
            (int(after.start.timestamp()), int(after.offset.total_seconds()))
            for before, after in pairwise(found)
            if before.offset != after.offset
        ]
        assert changes[: len(listed)] == listed, name


def test_no_zone_changes_its_offset_twice_within_six_days():
    six_days = 6 * 86_400
    for name in zone_names():
        listed = [change for change in _transitions(name) if change[0] > 0]
        changes = [after[0] for before, after in pairwise(listed) if before[1] != after[1]]
        assert all(later - sooner >= six_days for sooner, later in pairwise(changes)), name
