"""What EventBridge Scheduler is given for a schedule: expressions whose union covers every tick.

An expression covers a tick if it fires in the tick's minute. It may fire more often, as the tick function asks the
calendar and drops what is no tick; so the calendar alone decides, and what Scheduler cannot say (Vixie's rules of days,
odd intervals, seconds, exclusions, bounds) is exact all the same.

A cron expression of fixed hours keeps its zone, as Scheduler follows the same rule of daylight saving. One that follows
elapsed time goes in UTC, for every offset that its zone has, as Scheduler fires in a repeated hour but once.

Syntax: https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html, all in the numbers of Scheduler:
Sunday is 1. Day of month and day of week cannot both be restricted, `#` and `L` stand alone in their field.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from math import gcd
from typing import NamedTuple

from overnight.calendar.cron import Cron, split
from overnight.calendar.dates import Once
from overnight.calendar.errors import CalendarError
from overnight.calendar.fields import DaysOfMonth, DaysOfWeek, lengths
from overnight.calendar.interval import Interval
from overnight.calendar.ticks import Calendar
from overnight.calendar.zones import segments

LONGEST_EXPRESSION = 256
"""Characters; the limit of `ScheduleExpression`."""
FIRST_YEAR, LAST_YEAR = 1970, 2199

_FEWEST_STEPS = 3
_MOST_GROUPS = 6  # more kinds of hours than this become one kind, which fires in the minutes of all of them

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_WEEK = timedelta(weeks=1)
_MINUTES, _HOURS, _DAYS, _MONTHS, _WEEKDAYS = range(60), range(24), range(1, 32), range(1, 13), range(1, 8)

# The offsets of a zone are those it has in these years; when tzdata changes, a deployment arms everything again.
_SINCE, _UNTIL = datetime(2020, 1, 1, tzinfo=UTC), datetime(2060, 1, 1, tzinfo=UTC)


class Expression(NamedTuple):
    """The `ScheduleExpression` and `ScheduleExpressionTimezone` of one schedule."""

    expression: str
    timezone: str


def expressions(calendar: Calendar) -> tuple[Expression, ...]:
    """Expressions whose union fires in the minute of every tick, in so few pieces as is sensible.

    Raises:
        CalendarError: Scheduler would refuse it: a date out of its years, or an expression that is too long.
    """
    rule = calendar.rule
    if isinstance(rule, Cron):
        found = _of_cron(rule)
    elif isinstance(rule, Interval):
        found = _of_interval(rule)
    elif isinstance(rule, Once):
        found = _of_date(rule)
    else:
        raise TypeError(f"no expression is known for {type(rule).__name__}")
    return tuple(_accepted(expression) for expression in dict.fromkeys(found))


def _accepted(expression: Expression) -> Expression:
    if len(expression.expression) > LONGEST_EXPRESSION:
        raise CalendarError("cron", f"EventBridge Scheduler takes at most {LONGEST_EXPRESSION} characters")
    return expression


# Dates and intervals.


def _of_date(once: Once) -> Iterator[Expression]:
    if not FIRST_YEAR <= once.instant.year <= LAST_YEAR:
        raise CalendarError("date", f"EventBridge Scheduler knows the years {FIRST_YEAR} to {LAST_YEAR}")
    yield Expression(f"at({once.instant:%Y-%m-%dT%H:%M:%S})", "UTC")


def _of_interval(interval: Interval) -> Iterator[Expression]:
    midnight = datetime(interval.anchor.year, interval.anchor.month, interval.anchor.day, tzinfo=UTC)
    phase = interval.anchor - midnight
    if interval.every % _WEEK == timedelta(0):
        yield _cron(_Clock.at({phase // _MINUTE})[0], _Days(day_of_week=str(interval.anchor.isoweekday() % 7 + 1)))
        return
    # Modulo a day, the ticks are at most so far apart; where days and interval have little in common, that is little.
    step = datetime.resolution * gcd(interval.every // datetime.resolution, _DAY // datetime.resolution)
    if step <= _MINUTE:
        minutes = set(range(24 * 60))
    else:
        minutes = {(phase + step * n) % _DAY // _MINUTE for n in range(_DAY // step)}
    for clock in _Clock.at(minutes):
        yield _cron(clock, _Days(day="*"))


# Cron.


def _of_cron(cron: Cron) -> Iterator[Expression]:
    local = {time // _MINUTE for time in cron.times}
    if not cron.elapsed:
        for days in _days(cron, 0):
            for clock in _Clock.at(local):
                yield _cron(clock, days, cron.timezone)
        return
    minutes: defaultdict[int, set[int]] = defaultdict(set)  # of the day, by how many days UTC is ahead of the zone
    for offset in _offsets(cron.timezone):
        for minute in local:
            ahead, minute_in_utc = divmod((_MINUTE * minute - offset) // _MINUTE, 24 * 60)
            minutes[ahead].add(minute_in_utc)
    if list(_days(cron, 0)) == [_Days(day="*")]:
        minutes = defaultdict(set, {0: set().union(*minutes.values())})
    for ahead in sorted(minutes):
        for days in _days(cron, ahead):
            for clock in _Clock.at(minutes[ahead]):
                yield _cron(clock, days)


@cache
def _offsets(timezone: str) -> frozenset[timedelta]:
    return frozenset(segment.offset for segment in segments(timezone, _SINCE, _UNTIL))


# The fields.


class _Clock(NamedTuple):
    """The fields of the time of day."""

    minutes: str
    hours: str

    @classmethod
    def at(cls, minutes_of_day: set[int]) -> list["_Clock"]:
        """All of these minutes of the day; the hours that have the same minutes are one clock."""
        minutes: defaultdict[int, set[int]] = defaultdict(set)
        for minute in minutes_of_day:
            minutes[minute // 60].add(minute % 60)
        hours: defaultdict[frozenset[int], set[int]] = defaultdict(set)
        for hour, of_hour in minutes.items():
            hours[frozenset(of_hour)].add(hour)
        if len(hours) > _MOST_GROUPS:
            hours = defaultdict(set, {frozenset().union(*hours): set(minutes)})
        groups = sorted(hours.items(), key=lambda group: min(group[1]))
        return [cls(_text(group, _MINUTES), _text(of_group, _HOURS)) for group, of_group in groups]


class _Days(NamedTuple):
    """The fields of the date; one of the days is always `?`."""

    day: str = "?"
    months: str = "*"
    day_of_week: str = "?"


def _cron(clock: _Clock, days: _Days, timezone: str = "UTC") -> Expression:
    fields = (clock.minutes, clock.hours, days.day, days.months, days.day_of_week, "*")
    return Expression(f"cron({' '.join(fields)})", timezone)


def _days(cron: Cron, ahead: int) -> Iterator[_Days]:
    """The days of the expression, or those so many days (-1, 0 or 1) later."""
    _, _, day, _, day_of_week = split(cron.expression)
    of_month, of_week, months = DaysOfMonth.parse(day), DaysOfWeek.parse(day_of_week), cron.days.months
    all_of_month, all_of_week = len(of_month.numbers) == len(_DAYS), len(of_week.weekdays) == len(_WEEKDAYS)
    if day.startswith("*") or day_of_week.startswith("*"):
        # Both must match, which Scheduler cannot say: it gets the one with fewer days.
        by_week = not all_of_week and (all_of_month or _per_month(of_week) < _per_month(of_month))
        yield from _by_week(of_week, months, ahead) if by_week else _by_month(of_month, months, ahead)
    elif all_of_month or all_of_week:
        yield from _by_month(DaysOfMonth(frozenset(_DAYS), last=False), months, ahead)
    else:
        yield from _by_month(of_month, months, ahead)
        yield from _by_week(of_week, months, ahead)


def _per_month(days: DaysOfMonth | DaysOfWeek) -> float:
    if isinstance(days, DaysOfMonth):
        return len(days.numbers) + days.last
    return len(days.weekdays) * 365.25 / 12 / 7 + len(days.nth) + len(days.last)


def _by_month(days: DaysOfMonth, months: frozenset[int], ahead: int) -> Iterator[_Days]:
    possible = lengths(months)
    if ahead == 0:
        yield from _dates(days.numbers, months)
        if days.last:
            yield from _last_day(months)
    elif ahead > 0:
        yield from _dates({number + 1 for number in days.numbers}, months)
        ends = {month for month in months if days.last or days.numbers & lengths(frozenset({month}))}
        yield from _dates({1}, _shift(ends, 1))
    else:
        numbers = {number - 1 for number in days.numbers} | (
            {length - 1 for length in possible} if days.last else set()
        )
        yield from _dates(numbers, months)
        if 1 in days.numbers:
            yield from _last_day(_shift(months, -1))


def _dates(numbers: Iterable[int], months: Iterable[int]) -> Iterator[_Days]:
    months = frozenset(months)
    if months and (real := {number for number in numbers if 1 <= number <= max(lengths(months))}):
        yield _Days(day=_text(real, _DAYS), months=_text(months, _MONTHS))


def _last_day(months: Iterable[int]) -> Iterator[_Days]:
    yield _Days(day="L", months=_text(months, _MONTHS))


def _by_week(days: DaysOfWeek, months: frozenset[int], ahead: int) -> Iterator[_Days]:
    ordinal = [f"{weekday + 1}#{n}" for weekday, n in sorted(days.nth)] + [f"{w + 1}L" for w in sorted(days.last)]
    weekdays = {weekday + 1 for weekday in days.weekdays}
    if ahead or len(ordinal) > _MOST_GROUPS:
        # The day after the second Monday is the second or the third Tuesday: every Tuesday covers it.
        weekdays |= {weekday + 1 for weekday, _ in days.nth} | {weekday + 1 for weekday in days.last}
        weekdays = {(weekday - 1 + ahead) % len(_WEEKDAYS) + 1 for weekday in weekdays}
        months, ordinal = months | _shift(months, ahead), []
    if weekdays:
        yield _Days(day_of_week=_text(weekdays, _WEEKDAYS), months=_text(months, _MONTHS))
    for text in ordinal:
        yield _Days(day_of_week=text, months=_text(months, _MONTHS))


def _shift(months: Iterable[int], by: int) -> frozenset[int]:
    return frozenset((month - 1 + by) % len(_MONTHS) + 1 for month in months)


def _text(numbers: Iterable[int], field: range) -> str:
    """The numbers as a field: all of them, every so many to the end, or a list of numbers and ranges."""
    ordered = sorted(numbers)
    if len(ordered) == len(field):
        return "*"
    if field in (_MINUTES, _HOURS) and len(ordered) >= _FEWEST_STEPS:
        step = ordered[1] - ordered[0]
        if step > 1 and ordered == list(range(ordered[0], field.stop, step)):
            return f"{ordered[0]}/{step}"
    return ",".join(_runs(ordered))


def _runs(ordered: Sequence[int]) -> Iterator[str]:
    first = last = ordered[0]
    for number in [*ordered[1:], None]:
        if number == last + 1:
            last = number
            continue
        if last - first > 1:
            yield f"{first}-{last}"
        else:
            yield from (str(n) for n in range(first, last + 1))
        if number is not None:
            first = last = number
