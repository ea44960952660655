"""Times as people read and write them."""

from datetime import UTC, datetime, timedelta

import pytest

from overnight.cli.failure import Misuse
from overnight.cli.times import duration, instant, moment, relative

NOW = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (None, None),
        ("now", "2026-11-20T12:00:30Z"),
        ("90s", "2026-11-20T11:59:00Z"),
        ("15m", "2026-11-20T11:45:30Z"),
        ("2h", "2026-11-20T10:00:30Z"),
        ("7d", "2026-11-13T12:00:30Z"),
        ("1w", "2026-11-13T12:00:30Z"),
        ("2026-11-20T08:00:00Z", "2026-11-20T08:00:00Z"),
        ("2026-11-20T08:00:00.25+01:00", "2026-11-20T07:00:00.250000Z"),
    ],
)
def test_what_a_user_writes(text, meant) -> None:
    assert instant(text, "--since", NOW) == meant


def test_a_date_is_the_local_midnight() -> None:
    assert instant("2026-11-20", "--since", NOW) == instant(
        datetime(2026, 11, 20).astimezone().isoformat(), "--since", NOW
    )


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-20T08:00:00", "2026-13-01", "5x", "-2h", "0001-01-01"])
def test_what_is_no_time_is_a_misuse(text) -> None:
    with pytest.raises(Misuse, match="--since: "):
        instant(text, "--since", NOW)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.4, "now"), (3, "in 3 s"), (-59, "59 s ago"), (-119, "119 s ago"), (150, "in 2 min"), (-7_200, "2 h ago"),
     (86_400, "in 24 h"), (-200_000, "2 d ago")],
)  # fmt: skip
def test_how_far_away(seconds, told) -> None:
    assert relative(NOW + timedelta(seconds=seconds), NOW) == told


def test_a_moment_is_on_the_local_clock_and_says_how_far_away() -> None:
    at = NOW + timedelta(days=2)

    assert moment(None, NOW) == ""
    assert moment(at.isoformat(), NOW) == f"{at.astimezone():%d %b %H:%M} (in 2 d)"
    assert moment(NOW.isoformat(), NOW) == f"{NOW.astimezone():%H:%M:%S} (now)"
    assert moment("2025-01-01T12:00:00Z", NOW).startswith("2025-01-01")


@pytest.mark.parametrize(
    ("seconds", "told"), [(None, ""), (0.1234, "0.12 s"), (12.34, "12.3 s"), (180, "3 min"), (7_300, "2 h")]
)
def test_how_long(seconds, told) -> None:
    assert duration(seconds) == told
