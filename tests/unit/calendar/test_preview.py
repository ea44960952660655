"""The preview: what a person is shown before a schedule runs."""

from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta

from overnight.calendar.cron import Cron
from overnight.calendar.exclusions import Exclusions
from overnight.calendar.interval import Interval
from overnight.calendar.preview import Preview, preview
from overnight.calendar.ticks import Calendar

SINCE = datetime(2026, 3, 27, tzinfo=UTC)


def workdays(**kwargs):
    return Calendar(Cron.parse("0 8 * * 1-5", "Europe/Berlin"), "Europe/Berlin", **kwargs)


def test_runs_are_shown_in_utc_and_on_the_wall():
    assert preview(workdays(), SINCE, 2) == [
        Preview("2026-03-27T07:00:00Z", "2026-03-27T08:00:00+01:00"),
        Preview("2026-03-30T06:00:00Z", "2026-03-30T08:00:00+02:00"),
    ]


def test_a_preview_becomes_json_as_it_is():
    assert asdict(preview(workdays(), SINCE, 1)[0]) == {
        "utc": "2026-03-27T07:00:00Z",
        "local": "2026-03-27T08:00:00+01:00",
    }


def test_the_first_run_is_at_or_after_since():
    tick = datetime(2026, 3, 27, 7, tzinfo=UTC)
    assert preview(workdays(), tick, 1)[0].utc == "2026-03-27T07:00:00Z"
    assert preview(workdays(), tick + timedelta(microseconds=1), 1)[0].utc == "2026-03-30T06:00:00Z"


def test_excluded_ticks_are_left_out():
    exclusions = Exclusions(dates=frozenset({date(2026, 3, 27)}))
    assert preview(workdays(exclusions=exclusions), SINCE, 1)[0].utc == "2026-03-30T06:00:00Z"


def test_a_schedule_that_ends_has_a_short_preview():
    assert len(preview(workdays(end_at=datetime(2026, 4, 1, tzinfo=UTC)), SINCE, 20)) == 3


def test_a_schedule_that_never_runs_has_an_empty_one():
    mondays = Calendar(Cron.parse("* * * * 1"), exclusions=Exclusions(weekdays=frozenset({0})))
    assert preview(mondays, SINCE, 20) == []
    assert preview(mondays, datetime.max.replace(tzinfo=UTC), 20) == []


def test_an_interval_is_shown_in_utc():
    every = Calendar(Interval(timedelta(minutes=90), SINCE, at_anchor=True))
    assert [run.local for run in preview(every, SINCE, 2)] == [
        "2026-03-27T00:00:00+00:00",
        "2026-03-27T01:30:00+00:00",
    ]
