"""The fields of a cron expression, as sets of numbers and as the days of a month.

The rules are those of Vixie cron (crontab(5)), plus `L` (last day of the month) in the day, and `MON#2` (second Monday)
and `L5` (last Friday) in the day of week. `5/15` means `5-59/15`. A range that runs backwards is refused, as by Vixie;
only a range of names may end in Sunday, as in `FRI-SUN`.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from overnight.calendar.errors import CalendarError

DAYS_OF_WEEK = MappingProxyType({"SUN": 0, "MON": 1, "TUE": 2, "WED": 3, "THU": 4, "FRI": 5, "SAT": 6})
MONTHS = MappingProxyType(
    {
        name: number
        for number, name in enumerate("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(), start=1)  # noqa: SIM905
    }
)
_LENGTHS = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # of the months, in a leap year
_FEBRUARY = 2
_SHORTEST = 28
_SUNDAY = 7

_ITEM = re.compile(r"(?:(?P<star>\*)|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>\d+))?", re.ASCII)
_NTH = re.compile(r"(\w+)#(\d+)", re.ASCII)
_LAST = re.compile(r"L(\w+)", re.ASCII)
_RANDOM = re.compile(r"[RH](\(.*\))?(/.*)?", re.ASCII)


class Field(NamedTuple):
    """One of the five: its name, its range, and the names that stand for numbers in it."""

    name: str
    low: int
    high: int
    names: Mapping[str, int] = {}

    def error(self, reason: str) -> CalendarError:
        return CalendarError(self.name, reason)

    def numbers(self, text: str) -> frozenset[int]:
        """The numbers that a list of values, ranges and steps stands for."""
        return frozenset(number for item in text.split(",") for number in self._item(item))

    def _item(self, item: str) -> range:
        match = _ITEM.fullmatch(item)
        if match is None:
            raise self.error(self._unreadable(item))
        step = self._step(match["step"])
        if match["star"]:
            return range(self.low, self.high + 1, step)
        low = self.number(match["low"])
        if match["high"]:
            high = self.number(match["high"])
            if self is DAY_OF_WEEK and low > high and match["high"].upper() == "SUN":
                high = _SUNDAY
            if high < low:
                parts = f"{match['low']}-{self.high},{self.low}-{match['high']}"
                raise self.error(f"the range {item} runs backwards; write {parts}")
        else:
            high = self.high if match["step"] else low
        return range(low, high + 1, step)

    def _step(self, text: str | None) -> int:
        step = int(text) if text else 1
        if step == 0:
            raise self.error("a step must be at least 1")
        return step

    def number(self, text: str) -> int:
        """The number that a name or a figure stands for."""
        if text.upper() in self.names:
            return self.names[text.upper()]
        highest = _SUNDAY if self is DAY_OF_WEEK else self.high
        if not text.isdigit():
            raise self.error(self._unreadable(text))
        if not self.low <= (number := int(text)) <= highest:
            raise self.error(f"{text} is out of range; it must be from {self.low} to {highest}")
        return number

    def _unreadable(self, item: str) -> str:
        if not item:
            return "an item of the list is empty"
        if _RANDOM.fullmatch(item.upper()):
            return f"{item}: random and hashed values are refused, as their ticks cannot be recomputed"
        if item == "?":
            return "'?' is not known here; write '*'"
        return f"{item!r} cannot be read; write numbers, ranges, lists and steps such as 1-5, 1,15 or */10"


MINUTE = Field("minute", 0, 59)
HOUR = Field("hour", 0, 23)
DAY = Field("day", 1, 31)
MONTH = Field("month", 1, 12, MONTHS)
DAY_OF_WEEK = Field("day_of_week", 0, 6, DAYS_OF_WEEK)
FIELDS = (MINUTE, HOUR, DAY, MONTH, DAY_OF_WEEK)


class Days(NamedTuple):
    """Which days of a month match, for every kind of month: 28 to 31 days long, beginning on any day of the week.

    `masks[length - 28][weekday of the 1st, Monday = 0]` has bit d set where day d matches.
    """

    months: frozenset[int]
    masks: tuple[tuple[int, ...], ...]

    @classmethod
    def parse(cls, day: str, month: str, day_of_week: str) -> "Days":
        """Day of month and day of week: both must match where one begins with `*`, else either does."""
        of_month, of_week = DaysOfMonth.parse(day), DaysOfWeek.parse(day_of_week)
        both = day.startswith("*") or day_of_week.startswith("*")
        months = MONTH.numbers(month)
        masks = tuple(
            tuple(_combine(of_month.mask(length), of_week.mask(length, first), both=both) for first in range(7))
            for length in range(_SHORTEST, 32)
        )
        # Every month begins on every day of the week sooner or later, so these are all the dates there can be.
        if not any(mask for length in lengths(months) for mask in masks[length - _SHORTEST]):
            raise CalendarError("day", f"no date ever matches day {day}, month {month}, day of week {day_of_week}")
        return cls(months, masks)

    def mask(self, length: int, first: int) -> int:
        """Bit d is set where day d matches, in a month of that length whose 1st is that weekday (Monday = 0)."""
        return self.masks[length - _SHORTEST][first]


def lengths(months: frozenset[int]) -> frozenset[int]:
    """How long these months can be, leap years included."""
    return frozenset(_LENGTHS[month] for month in months) | ({_SHORTEST} if _FEBRUARY in months else set())


def _combine(of_month: int, of_week: int, *, both: bool) -> int:
    return of_month & of_week if both else of_month | of_week


class DaysOfMonth(NamedTuple):
    """The field `day`, read."""

    numbers: frozenset[int]
    last: bool
    """The last day of the month, `L`."""

    @classmethod
    def parse(cls, text: str) -> "DaysOfMonth":
        items = text.split(",")
        plain = [item for item in items if item.upper() != "L"]
        return cls(DAY.numbers(",".join(plain)) if plain else frozenset(), len(plain) < len(items))

    def mask(self, length: int) -> int:
        bits = sum(1 << number for number in self.numbers if number <= length)
        return bits | (1 << length) if self.last else bits


class DaysOfWeek(NamedTuple):
    """The field `day_of_week`, read; Sunday = 0."""

    weekdays: frozenset[int]
    nth: frozenset[tuple[int, int]]
    """Weekday and how often it has occurred in the month, `MON#2`."""
    last: frozenset[int]
    """Weekdays that occur no more in the month, `L5`."""

    @classmethod
    def parse(cls, text: str) -> "DaysOfWeek":
        weekdays: set[int] = set()
        nth: set[tuple[int, int]] = set()
        last: set[int] = set()
        for item in text.split(","):
            if match := _NTH.fullmatch(item):
                nth.add((DAY_OF_WEEK.number(match[1]) % 7, _ordinal(match[2])))
            elif match := _LAST.fullmatch(item.upper()):
                last.add(DAY_OF_WEEK.number(match[1]) % 7)
            else:
                weekdays |= {number % 7 for number in DAY_OF_WEEK.numbers(item)}
        return cls(frozenset(weekdays), frozenset(nth), frozenset(last))

    def mask(self, length: int, first: int) -> int:
        """`first` counts from Monday, as Python does; cron counts from Sunday."""
        bits = 0
        for day in range(1, length + 1):
            weekday = (first + day) % 7
            ordinal = (day + 6) // 7
            if (
                weekday in self.weekdays
                or (weekday, ordinal) in self.nth
                or (weekday in self.last and day > length - 7)
            ):
                bits |= 1 << day
        return bits


def _ordinal(text: str) -> int:
    if text not in {"1", "2", "3", "4", "5"}:
        raise DAY_OF_WEEK.error(f"#{text} is out of range; a weekday occurs up to 5 times in a month: #1 to #5")
    return int(text)
