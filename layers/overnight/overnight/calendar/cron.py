"""Cron expressions with time zones.

Daylight saving follows the rule that EventBridge Scheduler documents ("Daylight savings time" in "Schedule types",
https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html): a local time that does not exist is
skipped, one that occurs twice fires once, on the first pass. So where midnight itself does not exist (Africa/Cairo, in
spring), `0 0 * * *` skips that one night; it loses no other day.
An expression whose minute or hour contains `*` or `/`, or whose hour contains a range, follows elapsed time instead: it
fires at every instant at which the clock on the wall matches, so in both passes, and an hourly job never pauses.
"""

from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from overnight.calendar.errors import CalendarError
from overnight.calendar.fields import FIELDS, HOUR, MINUTE, Days
from overnight.calendar.zones import CENTURY, FIRST, LAST, Segment, segments, zone

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
LONGEST_EXPRESSION = 512
"""Characters."""

_CLOCK = tuple(timedelta(minutes=minute) for minute in range(24 * 60))
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression in a time zone: `Cron.parse("0 8 * * 1-5", "Europe/Berlin")`."""

    expression: str
    timezone: str
    elapsed: bool
    """Follows elapsed time, and so fires in both passes of a repeated hour."""
    times: tuple[timedelta, ...] = field(repr=False, compare=False)
    """The times of day, in order."""
    days: Days = field(repr=False, compare=False)

    @classmethod
    def parse(cls, expression: str, timezone: str = "UTC") -> "Cron":
        """Read five fields, or a macro such as `@daily`.

        Raises:
            CalendarError: a field is wrong, no date ever matches, or there is no such time zone.
        """
        minute, hour, day, month, day_of_week = split(expression)
        minutes, hours = MINUTE.numbers(minute), HOUR.numbers(hour)
        days = Days.parse(day, month, day_of_week)
        zone(timezone)
        return cls(
            expression=expression,
            timezone=timezone,
            elapsed=any(sign in minute + hour for sign in "*/") or "-" in hour,
            times=tuple(_CLOCK[h * 60 + m] for h in sorted(hours) for m in sorted(minutes)),
            days=days,
        )

    def next(self, after: datetime) -> datetime | None:
        """The first tick later than `after`, or None if there is none within a century. The result is in UTC."""
        # A 29 February that is a Sunday can be 40 years away; and some expressions only ever name times that daylight
        # saving leaves out (`30 2 * 3 SUN#2` in New York), so the search must end.
        since = max(FIRST, min(after, LAST) + datetime.resolution)
        return next(self.ticks(since, since + CENTURY), None)

    def previous(self, before: datetime) -> datetime | None:
        """The last tick earlier than `before`, or None if there is none within a century. The result is in UTC."""
        until = max(FIRST, min(before, LAST))
        since = max(FIRST + CENTURY, until) - CENTURY
        return next(self._walk(since, until, backwards=True), None)

    def ticks(self, since: datetime, until: datetime) -> Iterator[datetime]:
        """The ticks in [since, until), in order, in UTC."""
        return self._walk(since, until, backwards=False)

    def _walk(self, since: datetime, until: datetime, *, backwards: bool) -> Iterator[datetime]:
        since, until = since.astimezone(UTC), until.astimezone(UTC)
        for segment in segments(self.timezone, since, until, backwards=backwards):
            first = _on_the_wall(max(since, segment.start), segment)
            last = _on_the_wall(min(until, segment.end), segment)
            if not self.elapsed:
                first = max(first, segment.fresh)
            midnight_in_utc = segment.start - (_on_the_wall(segment.start, segment) - _EPOCH)
            for day in self._dates(first, last, backwards=backwards):
                base = midnight_in_utc + (day - _EPOCH)
                times = self.times[bisect_left(self.times, first - day) : bisect_left(self.times, last - day)]
                for time in reversed(times) if backwards else times:
                    yield base + time

    def _dates(self, first: datetime, last: datetime, *, backwards: bool) -> Iterator[datetime]:
        """The matching days, as naive midnights, from the day of `first` to the day of `last`."""
        begin, end = first.year * 12 + first.month - 1, last.year * 12 + last.month - 1
        for number in range(end, begin - 1, -1) if backwards else range(begin, end + 1):
            year, month = divmod(number, 12)
            month += 1
            if month not in self.days.months:
                continue
            weekday, length = monthrange(year, month)
            mask = self.days.mask(length, weekday)
            if number == begin:
                mask &= -1 << first.day
            if number == end:
                mask &= (2 << last.day) - 1
            while mask:
                day = (mask if backwards else mask & -mask).bit_length() - 1
                mask ^= 1 << day
                yield datetime(year, month, day)  # noqa: DTZ001 - a date on the wall


_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - any midnight on the wall


def _on_the_wall(instant: datetime, segment: Segment) -> datetime:
    """What the clock shows at an instant of the segment, or at its end; naive."""
    return (instant + segment.offset).replace(tzinfo=None)


def split(expression: str) -> tuple[str, str, str, str, str]:
    """The five fields as text: minute, hour, day, month, day of week.

    Raises:
        CalendarError: there are more or fewer than five, or no such macro.
    """
    text = expression.strip()
    if len(text) > LONGEST_EXPRESSION:
        raise CalendarError("cron", f"must be at most {LONGEST_EXPRESSION} characters")
    if text.startswith("@"):
        if text.lower() not in MACROS:
            raise CalendarError("cron", f"{text} is not known; use one of {', '.join(MACROS)}")
        text = MACROS[text.lower()]
    fields = text.split()
    if len(fields) != len(FIELDS):
        names = ", ".join(f.name for f in FIELDS)
        hint = "; seconds and years are not fields here" if len(fields) > len(FIELDS) else ""
        raise CalendarError("cron", f"must have five fields ({names}), not {len(fields)}{hint}")
    minute, hour, day, month, day_of_week = fields
    return minute, hour, day, month, day_of_week
