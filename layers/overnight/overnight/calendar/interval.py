"""Intervals: the n-th tick is anchor + n·interval, in elapsed time."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from overnight.calendar.errors import CalendarError
from overnight.calendar.zones import CENTURY, FIRST, LAST

SHORTEST = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Interval:
    """A tick every so often, whatever the clocks on the wall do: a day is 24 hours, a week is 168.

    The n-th tick is anchor + n·interval. With an anchor that the user chose (`start_at`) the first tick is the anchor
    itself (n = 0); with one that was made at the first arming it is one interval later (n = 1).

    Raises:
        CalendarError: the interval is shorter than a second or longer than a century, or the anchor is out of reach.
    """

    every: timedelta
    anchor: datetime
    at_anchor: bool = False

    def __post_init__(self) -> None:
        check_length(self.every)
        if not FIRST <= self.anchor < LAST:
            raise CalendarError("start_at", f"must be between {FIRST.year} and {LAST.year}")
        object.__setattr__(self, "anchor", self.anchor.astimezone(UTC))  # elsewhere, arithmetic is on the wall

    @property
    def first(self) -> datetime:
        """The first tick of all."""
        return self.anchor if self.at_anchor else self.anchor + self.every

    def next(self, after: datetime) -> datetime | None:
        """The first tick later than `after`, or None at the end of the calendar."""
        return next(self.ticks(min(after, LAST) + datetime.resolution, LAST), None)

    def previous(self, before: datetime) -> datetime | None:
        """The last tick earlier than `before`, or None if there is none."""
        first, before = self.first, min(before, LAST)
        if before <= first:
            return None
        return first + (before - first - datetime.resolution) // self.every * self.every

    def ticks(self, since: datetime, until: datetime) -> Iterator[datetime]:
        """The ticks in [since, until), in order."""
        tick, every, until = self.first, self.every, min(until, LAST)
        if since > tick:
            tick += -((tick - since) // every) * every  # rounded up
        while tick < until:
            yield tick
            tick += every


def check_length(every: timedelta) -> None:
    """Refuse an interval that is too short or too long.

    Raises:
        CalendarError: shorter than one second, or longer than a century.
    """
    if every < SHORTEST:
        raise CalendarError("interval", "must be at least one second")
    if every > CENTURY:
        raise CalendarError("interval", f"must be at most {CENTURY.days} days")
