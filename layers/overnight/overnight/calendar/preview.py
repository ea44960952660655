"""What a schedule will do: its next runs, as a person reads them."""

from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from overnight.calendar.dates import format_instant
from overnight.calendar.ticks import Calendar
from overnight.calendar.zones import CENTURY, FIRST, LAST, local


@dataclass(frozen=True, slots=True)
class Preview:
    """One run to come."""

    utc: str
    """RFC 3339 in UTC, with `Z`."""
    local: str
    """RFC 3339 in the schedule's time zone, with its offset."""


def preview(calendar: Calendar, since: datetime, count: int) -> list[Preview]:
    """The first `count` runs at or after `since` and within a century; excluded ticks are left out."""
    since = max(FIRST, min(since, LAST))
    runs = calendar.runs(since, since + CENTURY)
    return [Preview(format_instant(tick), local(calendar.timezone, tick).isoformat()) for tick in islice(runs, count)]
