"""Times as people read and write them: local, with how far away they are."""

import re
from datetime import UTC, date, datetime, timedelta

from overnight.cli.failure import Misuse

__all__ = ["duration", "instant", "moment", "relative", "rfc3339"]

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_AGO = re.compile(r"(\d+)([smhdw])")
_LONGEST_AGO = timedelta(days=36_525)
_STEPS = ((86_400.0 * 2, 86_400, "d"), (3_600.0 * 2, 3_600, "h"), (60.0 * 2, 60, "min"), (0.0, 1, "s"))


def instant(text: str | None, option: str, now: datetime) -> str | None:
    """What a user wrote for a time, as RFC 3339 in UTC: an instant, a local date, `now`, or how long ago (`2h`).

    Raises:
        Misuse: it is none of these; the message names the option.
    """
    if text is None:
        return None
    text = text.strip()
    if text == "now":
        return rfc3339(now)
    if ago := _AGO.fullmatch(text):
        distance = timedelta(seconds=min(int(ago[1][:12]) * _UNITS[ago[2]], _LONGEST_AGO.total_seconds()))
        return rfc3339(now - distance)
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            day = date.fromisoformat(text)
            return rfc3339(datetime(day.year, day.month, day.day).astimezone())
        # fromisoformat takes more than RFC 3339; the T and the offset are what matters.
        parsed = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise _unreadable(text, option) from error
    if parsed.tzinfo is None:
        raise _unreadable(text, option)
    return rfc3339(parsed)


def _unreadable(text: str, option: str) -> Misuse:
    return Misuse(
        f"{option}: {text!r} is no time; write 2026-11-20T08:00:00Z, 2026-11-20, or how long ago: 90m, 2h, 7d"
    )


def rfc3339(moment: datetime) -> str:
    """In UTC, with `Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def moment(text: str | None, now: datetime) -> str:
    """An instant of the API for a table: on the local clock, and how far away; empty where there is none."""
    if not text:
        return ""
    at = datetime.fromisoformat(text).astimezone()
    today = now.astimezone()
    if at.date() == today.date():
        clock = at.strftime("%H:%M:%S")
    elif at.year == today.year:
        clock = at.strftime("%d %b %H:%M")
    else:
        clock = at.strftime("%Y-%m-%d %H:%M")
    return f"{clock} ({relative(at, now)})"


def relative(at: datetime, now: datetime) -> str:
    """`in 3 min`, `2 h ago`, `now`."""
    seconds = (at - now).total_seconds()
    if abs(seconds) < 1:
        return "now"
    distance = _rounded(abs(seconds))
    return f"in {distance}" if seconds > 0 else f"{distance} ago"


def duration(seconds: float | None) -> str:
    """`0.12 s`, `7.5 s`, `3 min`."""
    if seconds is None:
        return ""
    if seconds < 10:  # noqa: PLR2004 - where two digits say more than one
        return f"{seconds:.2f} s"
    return f"{seconds:.1f} s" if seconds < 120 else _rounded(seconds)  # noqa: PLR2004 - two minutes, as in relative()


def _rounded(seconds: float) -> str:
    for least, length, unit in _STEPS:
        if seconds >= least:
            return f"{seconds / length:.0f} {unit}"
    return "0 s"
