"""Schedules: the triggers that time fires, cron, interval and date, in the user's words.

They are validated here and mean what `calendar()` says they mean; the definition in an armed period is their JSON.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from overnight.calendar.cron import LONGEST_EXPRESSION, Cron
from overnight.calendar.dates import Once, aware, format_instant, parse_instant
from overnight.calendar.errors import CalendarError
from overnight.calendar.exclusions import Exclusions
from overnight.calendar.fields import FIELDS
from overnight.calendar.interval import Interval, check_length
from overnight.calendar.ticks import Calendar, Rule
from overnight.calendar.zones import FIRST, LAST, zone
from overnight.words import Deferred

Kind = Literal["cron", "interval", "date", "webhook", "event"]
"""Of a trigger; time fires the first three."""
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LONG_WEEKDAYS = {
    "monday": "mon", "tuesday": "tue", "wednesday": "wed", "thursday": "thu", "friday": "fri", "saturday": "sat",
    "sunday": "sun",
}  # fmt: skip
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _instant(value: object) -> datetime:
    """YAML reads an unquoted instant as a datetime; everything else says it in RFC 3339."""
    if not isinstance(value, datetime | str):
        raise ValueError("must be RFC 3339 text such as 2026-11-20T08:00:00Z")  # noqa: TRY004 - for pydantic
    try:
        instant = parse_instant(value, "instant") if isinstance(value, str) else aware(value, "instant").astimezone(UTC)
    except CalendarError as error:
        raise ValueError(error.reason) from error
    if not FIRST <= instant < LAST:
        raise ValueError(f"must be between the years {FIRST.year} and {LAST.year}")
    return instant


def _day(value: object) -> date:
    """YAML reads an unquoted day as a date."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and _DAY.fullmatch(value.strip()):
        return date.fromisoformat(value.strip())
    raise ValueError(f"{value!r} is not a day such as 2026-12-25")


def _bound(value: object) -> date:
    is_day = isinstance(value, date) and not isinstance(value, datetime)
    return _day(value) if is_day or (isinstance(value, str) and _DAY.fullmatch(value.strip())) else _instant(value)


def _format_bound(value: date) -> str:
    return format_instant(value) if isinstance(value, datetime) else value.isoformat()


def _timezone(name: str) -> str:
    try:
        zone(name)
    except CalendarError as error:
        raise ValueError(error.reason) from error
    return name


def _weekday(value: object) -> object:
    """`sat`, `Saturday`, `SAT`, or cron's number: 0 and 7 are Sunday."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= len(WEEKDAYS):
        return WEEKDAYS[value - 1]
    if isinstance(value, str):
        return _LONG_WEEKDAYS.get(value.strip().lower(), value.strip().lower())
    return value


_FIVE_KEYS = ("month", "day", "day_of_week", "hour", "minute")  # the greatest first
_LEAST = {"month": "1", "day": "1", "day_of_week": "*", "hour": "0", "minute": "0"}


def _one_line(value: object) -> object:
    """The five keys as one line."""
    if not isinstance(value, Mapping):
        return value
    for key, field in value.items():
        if key not in _LEAST:
            raise CalendarError(str(key), f"is not a key of a cron schedule; these are: {', '.join(_FIVE_KEYS)}")
        if isinstance(field, bool) or not isinstance(field, int | str | None):
            raise CalendarError(key, "must be text or a whole number")
        if isinstance(field, str) and len(field.split()) != 1:
            raise CalendarError(key, f"{field!r} is not one field of a cron expression")
    given = [number for number, key in enumerate(_FIVE_KEYS) if value.get(key) is not None]
    if not given:
        raise CalendarError("cron", f"needs at least one of {', '.join(_FIVE_KEYS)}")
    filled = {key: "*" if number < given[-1] else _LEAST[key] for number, key in enumerate(_FIVE_KEYS)}
    filled |= {key: str(field).strip() for key, field in value.items() if field is not None}
    return " ".join(filled[field.name] for field in FIELDS)


Name = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        description="Unique within its agent. Ticks, hooks and history belong to this name.",
        examples=["hourly"],
    ),
]
Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    PlainSerializer(format_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-12-01T00:00:00Z"]}),
]
TimeZone = Annotated[
    str,
    AfterValidator(_timezone),
    Field(description="IANA name of a time zone.", examples=["Europe/Berlin"]),
]
Day = Annotated[date, BeforeValidator(_day)]
Bound = Annotated[
    datetime | date,
    BeforeValidator(_bound),
    PlainSerializer(_format_bound),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]}),
]
Weekday = Annotated[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], BeforeValidator(_weekday)]
CronExpression = Annotated[
    str,
    BeforeValidator(_one_line),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "maxLength": LONGEST_EXPRESSION},
                {
                    "type": "object",
                    "properties": {
                        field.name: {"anyOf": [{"type": "string"}, {"type": "integer"}]} for field in FIELDS
                    },
                    "additionalProperties": False,
                    "minProperties": 1,
                },
            ],
            "description": (
                "Five fields (minute, hour, day, month, day of week) or a macro such as @daily; or the five as keys. "
                "Of these, what is left out and less than the least key given is at its minimum, the rest is '*': "
                "{hour: 8} is 08:00 every day, {day_of_week: 1-5} midnight from Monday to Friday. "
                "From the greatest to the least: month, day, day_of_week, hour, minute."
            ),
            "examples": ["0 8 * * 1-5", {"minute": "*/10"}, {"day_of_week": "1-5", "hour": 8}],
        }
    ),
]


class Words(Deferred):
    """What all words have in common: they never change, and know no word that is not theirs."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )


class TriggerWords(Words):
    """What all triggers have in common."""

    name: Name
    share_session: bool | None = Field(
        default=None,
        description="Whether its runs share one session; as the agent's `input` says, if not given.",
    )


# Schedules: cron, interval, date.


class ExcludedRange(Words):
    """Days from first to last, both excluded; or, with instants, from inclusive, to exclusive."""

    from_: Bound = Field(alias="from")
    to: Bound

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if isinstance(self.from_, datetime) != isinstance(self.to, datetime):
            raise ValueError("from and to must be two dates, or two instants")
        if self.from_ > self.to or (isinstance(self.to, datetime) and self.from_ == self.to):
            raise ValueError("to must be later than from")
        return self


class Exclude(Words):
    """When ticks are `skipped (excluded)`. Dates and weekdays are those of the trigger's time zone."""

    dates: tuple[Day, ...] = Field(default=(), max_length=1_000, examples=[["2026-12-25"]])
    weekdays: tuple[Weekday, ...] = Field(default=(), max_length=7, examples=[["sat", "sun"]])
    ranges: tuple[ExcludedRange, ...] = Field(default=(), max_length=100)

    @model_validator(mode="after")
    def _leaves_a_day(self) -> Self:
        if len(set(self.weekdays)) == len(WEEKDAYS):
            raise ValueError("weekdays: all seven are excluded, so nothing would ever run")
        return self

    def exclusions(self) -> Exclusions:
        """The same for the calendar."""
        bounds = [(r.from_, r.to) for r in self.ranges]
        return Exclusions(
            dates=frozenset(self.dates),
            weekdays=frozenset(WEEKDAYS.index(day) for day in self.weekdays),
            spans=tuple((a, b) for a, b in bounds if isinstance(a, datetime) and isinstance(b, datetime)),
            days=tuple((a, b) for a, b in bounds if not (isinstance(a, datetime) or isinstance(b, datetime))),
        )


class _Schedule(TriggerWords):
    timezone: TimeZone = "UTC"
    start_at: Instant | None = Field(default=None, description="No tick before it; a tick at it counts.")
    end_at: Instant | None = Field(default=None, description="No tick after it; a tick at it counts.")
    jitter_seconds: int = Field(
        default=0,
        ge=0,
        le=86_400,
        description="Each tick is delayed by up to so many seconds, always by the same, never past the next tick.",
    )
    exclude: Exclude | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start_at is not None and self.end_at is not None and self.end_at < self.start_at:
            raise CalendarError("end_at", "must not be before start_at")
        return self

    def calendar(self, anchor: datetime | None = None) -> Calendar:
        """The ticks of this schedule.

        Args:
            anchor: when an interval without `start_at` was first armed; the others need none.

        Raises:
            CalendarError: an interval has neither `start_at` nor an anchor.
        """
        return Calendar(
            rule=self._rule(anchor),
            timezone=self.timezone,
            start_at=self.start_at,
            end_at=self.end_at,
            exclusions=self.exclude.exclusions() if self.exclude else Exclusions(),
            jitter=timedelta(seconds=self.jitter_seconds),
        )

    def _rule(self, anchor: datetime | None) -> Rule:
        raise NotImplementedError


class _Recurring(_Schedule):
    catch_up: Literal["coalesce", "skip", "all"] = Field(
        default="coalesce",
        description="What becomes of missed ticks: one execution for all of them, none, or one for each.",
    )
    catch_up_window_seconds: int = Field(
        default=86_400, ge=0, le=31_622_400, description="Ticks missed longer ago than this are skipped."
    )


@lru_cache(maxsize=16_384)
def _cron(expression: str, timezone: str) -> Cron:
    return Cron.parse(expression, timezone)


class CronTrigger(_Recurring):
    """At the times that a cron expression names, in a time zone."""

    kind: ClassVar[Kind] = "cron"

    cron: CronExpression
    """Always in one line, also where it was given as five keys."""

    @model_validator(mode="after")
    def _parses(self) -> Self:
        _cron(self.cron, self.timezone)
        return self

    def _rule(self, anchor: datetime | None) -> Rule:  # noqa: ARG002 - cron needs no anchor
        return _cron(self.cron, self.timezone)


class Every(Words):
    """A length of elapsed time, the sum of its parts; at least one second."""

    weeks: int = Field(default=0, ge=0, le=10_000)
    days: int = Field(default=0, ge=0, le=100_000)
    hours: int = Field(default=0, ge=0, le=1_000_000)
    minutes: int = Field(default=0, ge=0, le=100_000_000)
    seconds: int = Field(default=0, ge=0, le=10_000_000_000)

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        check_length(self.length)
        return self

    @property
    def length(self) -> timedelta:
        """The whole of it."""
        return timedelta(weeks=self.weeks, days=self.days, hours=self.hours, minutes=self.minutes, seconds=self.seconds)


class IntervalTrigger(_Recurring):
    """Every so often in elapsed time: first at `start_at`; without one, an interval after it is first armed."""

    kind: ClassVar[Kind] = "interval"

    interval: Every

    def _rule(self, anchor: datetime | None) -> Rule:
        if self.start_at is not None:
            return Interval(self.interval.length, self.start_at, at_anchor=True)
        if anchor is None:
            raise CalendarError("start_at", "an interval that was never armed needs it")
        return Interval(self.interval.length, anchor)


class DateTrigger(_Schedule):
    """Once, at an instant."""

    kind: ClassVar[Kind] = "date"

    date: Instant = Field(description="RFC 3339, with an offset. In the past it is refused; missed, it still runs.")

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        if (self.start_at and self.date < self.start_at) or (self.end_at and self.date > self.end_at):
            raise CalendarError("date", "must lie between start_at and end_at")
        return self

    def refuse_past(self, now: datetime) -> None:
        """For a trigger that is new.

        Raises:
            CalendarError: the instant is over.
        """
        if self.date <= now:
            raise CalendarError("date", f"{format_instant(self.date)} is in the past; it is {format_instant(now)} now")

    def _rule(self, anchor: datetime | None) -> Rule:  # noqa: ARG002 - a date needs no anchor
        return Once(self.date)
