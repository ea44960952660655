"""The calendar of one schedule: its nominal ticks, which of them are excluded, and how long each is delayed."""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from overnight.calendar.dates import format_instant
from overnight.calendar.exclusions import Exclusions
from overnight.calendar.zones import FIRST, LAST

_NONE = Exclusions()
_NO_DELAY = timedelta(0)


class Rule(Protocol):
    """What a schedule repeats: `Cron`, `Interval` or `Once`. It takes any aware time, and gives ticks in UTC."""

    def next(self, after: datetime) -> datetime | None:
        """The first tick later than `after`."""

    def previous(self, before: datetime) -> datetime | None:
        """The last tick earlier than `before`."""

    def ticks(self, since: datetime, until: datetime) -> Iterator[datetime]:
        """The ticks in [since, until), in order."""


class Calendar(NamedTuple):
    """The ticks of a rule from `start_at` to `end_at`, both inclusive.

    An excluded tick is a tick, as its disposition, `skipped (excluded)`, is recorded: `next`, `previous` and `ticks`
    count it; only `runs` leaves it out.
    """

    rule: Rule
    timezone: str = "UTC"
    start_at: datetime | None = None
    end_at: datetime | None = None
    exclusions: Exclusions = _NONE
    jitter: timedelta = _NO_DELAY

    def next(self, after: datetime) -> datetime | None:
        """The first tick later than `after`, or None if there is none."""
        tick = self.rule.next(max(after, self._since - datetime.resolution))
        return tick if tick is not None and tick < self._until else None

    def previous(self, before: datetime) -> datetime | None:
        """The last tick earlier than `before`, or None if there is none."""
        tick = self.rule.previous(min(before, self._until))
        return tick if tick is not None and tick >= self._since else None

    def ticks(self, since: datetime, until: datetime) -> Iterator[datetime]:
        """The ticks in [since, until), in order."""
        return self.rule.ticks(max(since, self._since), min(until, self._until))

    @property
    def _since(self) -> datetime:
        return FIRST if self.start_at is None else max(FIRST, self.start_at)

    @property
    def _until(self) -> datetime:
        return LAST if self.end_at is None else min(LAST, self.end_at) + datetime.resolution

    def is_excluded(self, tick: datetime) -> bool:
        """Whether the tick is one that does not run."""
        return self.exclusions.cover(tick, self.timezone)

    def runs(self, since: datetime, until: datetime) -> Iterator[datetime]:
        """The ticks in [since, until) that are not excluded, in order; finds its way over long exclusions quickly."""
        if not self.exclusions:
            yield from self.ticks(since, until)
            return
        while since < until:
            for tick in self.ticks(since, until):
                if self.is_excluded(tick):
                    since = self.exclusions.end(tick, self.timezone)
                    break
                yield tick
            else:
                return

    def delay(self, key: str, tick: datetime, next_tick: datetime | None) -> timedelta:
        """How long after the tick it fires: from zero up to the jitter, and always before the next tick.

        The delay is a function of the key (of agent and trigger) and the tick, so that every engine and every restart
        comes to the same one, and agents with the same schedule are spread.
        """
        window = self.jitter if next_tick is None else min(self.jitter, next_tick - tick)
        if not window:
            return _NO_DELAY
        digest = hashlib.sha256(f"{key}\n{format_instant(tick)}".encode()).digest()
        microseconds = window // datetime.resolution
        return datetime.resolution * (int.from_bytes(digest[:8]) * microseconds >> 64)
