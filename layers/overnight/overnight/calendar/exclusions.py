"""Exclusions: when a tick of a schedule is not to run."""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from overnight.calendar.zones import LAST, local, segments, zone

_DAY = timedelta(days=1)


class Exclusions(NamedTuple):
    """Days of the schedule's time zone, and stretches of time, in which its ticks are `skipped (excluded)`."""

    dates: frozenset[date] = frozenset()
    weekdays: frozenset[int] = frozenset()
    """Monday = 0, as Python counts."""
    days: tuple[tuple[date, date], ...] = ()
    """First and last day, both excluded."""
    spans: tuple[tuple[datetime, datetime], ...] = ()
    """From, inclusive; to, exclusive."""

    def __bool__(self) -> bool:
        return bool(self.dates or self.weekdays or self.days or self.spans)

    def cover(self, instant: datetime, timezone: str) -> bool:
        """Whether a tick at that instant is excluded."""
        if any(start <= instant < end for start, end in self.spans):
            return True
        if not (self.dates or self.weekdays or self.days):
            return False
        return self._covers_day(local(timezone, instant).date())

    def _covers_day(self, day: date) -> bool:
        if day in self.dates or day.weekday() in self.weekdays:
            return True
        return any(first <= day <= last for first, last in self.days)

    def end(self, instant: datetime, timezone: str) -> datetime:
        """For an excluded instant: a later one, up to which all are excluded; there may be more."""
        for _, end in (span for span in self.spans if span[0] <= instant < span[1]):
            return end
        day = local(timezone, instant).date()
        last = max((last for first, last in self.days if first <= day <= last), default=day)
        midnight = datetime.combine(last + _DAY, datetime.min.time(), zone(timezone)).astimezone(UTC)
        # A clock that is set back across midnight shows the day before again, so no further than its next change.
        segment = next(segments(timezone, instant, LAST))
        return min(midnight, segment.end)
