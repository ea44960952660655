"""`overnight schedules preview`: what the calendar says, without a server."""

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from overnight.calendar.preview import preview
from overnight.schedules import CronTrigger

FROM = "2026-03-27T00:00:00Z"


def locals_of(ran) -> list[str]:
    assert ran.code == 0, ran.err
    return [tick["local"] for tick in ran.json]


@pytest.mark.parametrize(
    ("options", "ticks"),
    [
        (
            ["--cron", "0 8 * * 1-5", "--timezone", "Europe/Berlin", "--count", "2"],
            ["2026-03-27T08:00:00+01:00", "2026-03-30T08:00:00+02:00"],
        ),
        (  # 02:30 does not exist on 29 March
            ["--cron", "30 2 * * *", "--timezone", "Europe/Berlin", "--count", "3"],
            ["2026-03-27T02:30:00+01:00", "2026-03-28T02:30:00+01:00", "2026-03-30T02:30:00+02:00"],
        ),
        (["--cron", "@daily", "-n", "1"], ["2026-03-27T00:00:00+00:00"]),
        (["--cron", "0 9 L * *", "-n", "1"], ["2026-03-31T09:00:00+00:00"]),
        (
            ["--interval", "hours=1,minutes=30", "--start-at", "2026-03-27T00:15:00Z", "-n", "2"],
            ["2026-03-27T00:15:00+00:00", "2026-03-27T01:45:00+00:00"],
        ),
        (["--interval", "days=1", "-n", "1"], ["2026-03-28T00:00:00+00:00"]),
        (["--date", "2026-12-24T18:00:00+01:00"], ["2026-12-24T17:00:00+00:00"]),
        (["--date", "2026-03-26T18:00:00Z"], []),
        (
            ["--cron", "0 9 * * *", "--exclude", "sat,sun", "--exclude", "2026-03-30..2026-03-31", "--exclude",
             "2026-04-01", "-n", "2"],
            ["2026-03-27T09:00:00+00:00", "2026-04-02T09:00:00+00:00"],
        ),
        (["--cron", "0 9 * * *", "--end-at", "2026-03-28T09:00:00Z"],
         ["2026-03-27T09:00:00+00:00", "2026-03-28T09:00:00+00:00"]),
    ],
)  # fmt: skip
def test_the_first_tick_is_at_or_after_from(options, ticks, overnight) -> None:
    assert locals_of(overnight("schedules", "preview", *options, "--from", FROM, "--json")) == ticks


def test_it_is_the_calendar_that_speaks(overnight) -> None:
    trigger = CronTrigger(name="t", cron="*/7 1-3 * 10 *", timezone="America/New_York")
    ticks = preview(trigger.calendar(), datetime(2026, 10, 31, tzinfo=UTC), 500)

    ran = overnight(
        "schedules", "preview", "--cron", "*/7 1-3 * 10 *", "--timezone", "America/New_York", "--from",
        "2026-10-31T00:00:00Z", "--count", "500", "--json",
    )  # fmt: skip

    assert ran.json == [{"utc": tick.utc, "local": tick.local} for tick in ticks]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--cron", "61 * * * *"], "minute: 61 is out of range; it must be from 0 to 59"),
        (["--cron", "0 0 30 2 *"], "day: no date ever matches"),
        (["--cron", "* * * * *", "--timezone", "Europe/Berln"], "did you mean 'Europe/Berlin'?"),
        (["--interval", "hours=0"], "interval: must be at least one second"),
        (["--interval", "fortnights=1"], "interval.fortnights: "),
        (["--date", "2026-12-24"], "date: '2026-12-24' is not an RFC 3339 instant"),
        (["--cron", "* * * * *", "--start-at", "tomorrow"], "start_at: 'tomorrow' is not an RFC 3339 instant"),
        (["--cron", "* * * * *", "--exclude", "someday"], "exclude.weekdays.0: "),
    ],
)
def test_what_is_wrong_is_told_in_one_line(options, told, overnight) -> None:
    ran = overnight("schedules", "preview", *options)

    assert ran.code == 1
    assert told in ran.error


def test_the_table_shows_both_clocks(overnight) -> None:
    ran = overnight(
        "schedules", "preview", "--cron", "0 8 * * *", "--timezone", "Asia/Tokyo", "--from", FROM, "-n", "1"
    )

    assert ran.out.splitlines()[0].split() == ["Asia/Tokyo", "UTC"]
    assert "Fri 2026-03-27 08:00:00+09:00" not in ran.out
    assert "Sat 2026-03-28 08:00:00+09:00  2026-03-27T23:00:00Z" in ran.out


def test_eventbridge_is_given_expressions(overnight) -> None:
    command = ["schedules", "preview", "--cron", "0 8 * * 1-5", "--timezone", "Europe/Berlin", "--eventbridge"]
    given = overnight(*command, "--json").json

    assert given
    assert all(each.keys() == {"expression", "timezone"} for each in given)
    assert given[0]["expression"] in overnight(*command).out


AGENTS = """
agents:
  - name: one
    flow: {python: "m:f"}
    schedule: {cron: "0 8 * * *", timezone: Asia/Tokyo}
  - name: two
    flow: {python: "m:f"}
    triggers:
      - {name: a, cron: "0 1 * * *"}
      - {name: b, interval: {hours: 1}, start_at: "2026-03-27T00:30:00Z"}
      - {name: hook, webhook: {}}
"""


@pytest.mark.parametrize(
    ("choice", "local"),
    [
        (["--agent", "one"], "2026-03-28T08:00:00+09:00"),
        (["--agent", "two", "--trigger", "a"], "2026-03-27T01:00:00+00:00"),
        (["--agent", "two", "--trigger", "b"], "2026-03-27T00:30:00+00:00"),
    ],
)
def test_schedules_of_a_file(choice, local, overnight, tmp_path) -> None:
    path = tmp_path / "agents.yaml"
    path.write_text(AGENTS)

    ran = overnight("schedules", "preview", "-f", str(path), *choice, "--from", FROM, "-n", "1", "--json")

    assert locals_of(ran) == [local]


@pytest.mark.parametrize(
    ("choice", "code", "told"),
    [
        ([], 2, "declares 2 agents; choose one with --agent"),
        (["--agent", "three"], 1, "declares no agent 'three'"),
        (["--agent", "two"], 1, "two has 2 schedules; choose one with --trigger"),
        (["--agent", "two", "--trigger", "hook"], 1, "two has no schedule 'hook'; it has a, b"),
        (["--agent", "one", "--cron", "* * * * *"], 2, "--cron doesn't go with --file"),
    ],
)
def test_what_a_file_does_not_have(choice, code, told, overnight, tmp_path) -> None:
    path = tmp_path / "agents.yaml"
    path.write_text(AGENTS)
    ran = overnight("schedules", "preview", "-f", str(path), *choice)

    assert ran.code == code
    assert told in ran.error


def test_it_needs_no_server_and_no_store() -> None:
    code = (
        "import sys, json; from overnight.cli import main; "
        "code = main(['schedules', 'preview', '--cron', '* * * * *', '--json']); "
        "heavy = {'httpx', 'sqlalchemy', 'lfx', 'boto3', 'rich'} & set(sys.modules); sys.exit(code or str(heavy or ''))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert ran.stderr.strip() == ""
    assert len(json.loads(ran.stdout)) == 10
