"""IANA time zones of the pinned `tzdata` package, and when their offset changes.

The system's zones are never asked: the same schedule means the same instants on every machine.
"""

import difflib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib import import_module, resources
from typing import NamedTuple
from zoneinfo import ZoneInfo

from overnight.calendar.errors import CalendarError

FIRST = datetime(1900, 1, 1, tzinfo=UTC)
"""The calendar begins here: no schedule has a tick before it."""
LAST = datetime(9000, 1, 1, tzinfo=UTC)
"""The calendar ends here: no schedule has a tick at or after it, so no arithmetic overflows."""
CENTURY = timedelta(days=36_525)
"""How far a next tick is looked for, and the longest interval."""

# In tzdata no zone has changed its offset twice within 6 days since 1970; a test watches over this.
_PROBE = timedelta(days=3)
_SECOND = timedelta(seconds=1)


class Segment(NamedTuple):
    """A stretch of time in which a zone keeps one offset from UTC."""

    start: datetime
    """UTC, inclusive."""
    end: datetime
    """UTC, exclusive."""
    offset: timedelta
    """Local time minus UTC."""
    fresh: datetime
    """Naive local time: what the clock showed in this segment before it, it had shown in an earlier one already."""


def tzdata_version() -> str:
    """The release of the IANA database in use, such as `2026a`."""
    return str(import_module("tzdata").IANA_VERSION)


@cache
def zone_names() -> frozenset[str]:
    """Every name that `zone` accepts, links such as `US/Eastern` included."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


@cache
def zone(name: str) -> ZoneInfo:
    """The zone of that IANA name.

    Raises:
        CalendarError: there is no such zone; the message suggests the nearest name.
    """
    if name not in zone_names():
        raise CalendarError("timezone", f"{name!r} is not an IANA time zone{_suggestion(name)}")
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def _suggestion(name: str) -> str:
    spellings = {known.lower(): known for known in zone_names()}
    cities = {known.rpartition("/")[2].lower(): known for known in sorted(zone_names())}
    wanted = name.strip().lower().replace(" ", "_")
    if wanted in cities:
        return f"; did you mean {cities[wanted]!r}?"
    near = difflib.get_close_matches(wanted, spellings, n=1, cutoff=0.6)
    return f"; did you mean {spellings[near[0]]!r}?" if near else ""


def local(name: str, instant: datetime) -> datetime:
    """The instant on the zone's clock, as an aware time."""
    return instant.astimezone(zone(name))


def segments(name: str, since: datetime, until: datetime, *, backwards: bool = False) -> Iterator[Segment]:
    """The segments of a zone that meet [since, until) in order of time, or the other way round. They leave no gap."""
    since, until = max(since, FIRST), min(until, LAST)
    if since >= until:
        return
    years = range(since.year, (until - datetime.resolution).year + 1)
    for year in reversed(years) if backwards else years:
        pieces = _segments_of_year(name, year)
        for piece in reversed(pieces) if backwards else pieces:
            if piece.start < until and piece.end > since:
                yield piece


@lru_cache(maxsize=16_384)
def _segments_of_year(name: str, year: int) -> tuple[Segment, ...]:
    """The segments between two New Years in UTC; a segment that meets another year is cut there."""
    begin, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    pieces: list[Segment] = []
    start = begin - _PROBE  # a change in the last days of December may still make January's first hours repeat
    seen = datetime(1, 1, 1)  # noqa: DTZ001 - a naive local time, as everything that a clock on the wall shows
    while start < end:
        offset = _offset(name, start)
        change = _next_change(name, start, end)
        if change > begin:
            kept = max(start, begin)
            fresh = max(seen, (kept + offset).replace(tzinfo=None))
            pieces.append(Segment(kept, change, offset, fresh))
        seen = max(seen, (change + offset).replace(tzinfo=None))
        start = change
    return tuple(pieces)


def _next_change(name: str, start: datetime, end: datetime) -> datetime:
    """The first instant after `start` with another offset, or `end` if there is none before it."""
    offset = _offset(name, start)
    before = start
    while before < end:
        after = min(before + _PROBE, end)
        if _offset(name, after) != offset:
            return _bisect(name, before, after)
        before = after
    return end


def _bisect(name: str, before: datetime, after: datetime) -> datetime:
    """The second at which the offset of `before` ends, known to be over at `after`."""
    offset = _offset(name, before)
    while after - before > _SECOND:
        middle = before + (after - before) // 2 // _SECOND * _SECOND
        if _offset(name, middle) == offset:
            before = middle
        else:
            after = middle
    return after


def _offset(name: str, instant: datetime) -> timedelta:
    offset = instant.astimezone(zone(name)).utcoffset()
    assert offset is not None  # noqa: S101 - a ZoneInfo always has one; for the type checker
    return offset
