"""Instants as RFC 3339 text, and the schedule that is one instant."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from overnight.calendar.errors import CalendarError

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)
_EXAMPLE = "such as 2026-11-20T08:00:00Z or 2026-11-20T09:00:00+01:00"


def parse_instant(text: str, field: str = "date") -> datetime:
    """The instant that an RFC 3339 date-time names, in UTC; digits below the microsecond are cut off.

    Raises:
        CalendarError: not RFC 3339, without an offset, or no such day or time; it names `field`.
    """
    match = _RFC3339.fullmatch(text.strip())
    if match is None:
        raise CalendarError(field, f"{text!r} is not an RFC 3339 instant with an offset, {_EXAMPLE}")
    *numbers, fraction, zulu, sign, hours, minutes = match.groups()
    try:
        offset = UTC if zulu else _offset(sign, int(hours), int(minutes))
        microsecond = int((fraction or "0")[:6].ljust(6, "0"))
        year, month, day, hour, minute, second = map(int, numbers)
        return datetime(year, month, day, hour, minute, second, microsecond, offset).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise CalendarError(field, f"{text!r} is no instant: {error}") from error


def _offset(sign: str, hours: int, minutes: int) -> timezone:
    if hours > 23 or minutes > 59:  # noqa: PLR2004 - the limits of RFC 3339, section 5.6
        raise ValueError("the offset must be between -23:59 and +23:59")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if sign == "-" else offset)


def format_instant(instant: datetime) -> str:
    """The instant as RFC 3339 in UTC, `2026-11-20T08:00:00Z`; a fraction only where there is one.

    Raises:
        CalendarError: the time is naive, so it names no instant.
    """
    return aware(instant, "date").astimezone(UTC).isoformat().replace("+00:00", "Z")


def aware(instant: datetime, field: str) -> datetime:
    """The same time, if it has an offset.

    Raises:
        CalendarError: it has none, so it names no instant.
    """
    if instant.utcoffset() is None:
        raise CalendarError(field, f"{instant.isoformat()} has no offset; write an instant {_EXAMPLE}")
    return instant


@dataclass(frozen=True, slots=True)
class Once:
    """The schedule of one instant: a date trigger."""

    instant: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "instant", self.instant.astimezone(UTC))

    def next(self, after: datetime) -> datetime | None:
        """The instant, if it is later than `after`."""
        return self.instant if self.instant > after else None

    def previous(self, before: datetime) -> datetime | None:
        """The instant, if it is earlier than `before`."""
        return self.instant if self.instant < before else None

    def ticks(self, since: datetime, until: datetime) -> Iterator[datetime]:
        """The instant, if it is in [since, until)."""
        if since <= self.instant < until:
            yield self.instant
