"""Schedules: when agents run next, and what a schedule will do before anybody arms it."""

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from overnight.cli.connection import connect
from overnight.cli.failure import Failure, Misuse
from overnight.cli.noun import examples, noun
from overnight.cli.options import URL, Agent, Cursor, Json, Limit, Url
from overnight.cli.terminal import now, print_json, print_table, status_text, warn
from overnight.cli.times import instant, moment, relative
from overnight.cli.values import interval

if TYPE_CHECKING:
    from overnight.calendar.ticks import Calendar
    from overnight.schedules import CronTrigger, DateTrigger, IntervalTrigger

    Schedule = CronTrigger | IntervalTrigger | DateTrigger

__all__ = ["app"]

app = noun()


@app.command("list", epilog=examples("overnight schedules list", "overnight schedules list --agent hello"))
def list_(agent: Agent = None, limit: Limit = 50, cursor: Cursor = None, json: Json = False, url: Url = URL) -> None:
    """List schedules with their next ticks."""
    with connect(url) as client:
        page = client.schedules(agent=agent, cursor=cursor, limit=limit)
    if json:
        print_json(page)
        return
    at = now()
    rows = [
        (
            each["agent"],
            each["trigger"],
            each["expression"],
            each["timezone"],
            moment(each.get("next_tick_at"), at) or status_text(each["status"]),
        )
        for each in page["items"]
    ]
    print_table(("AGENT", "TRIGGER", "WHEN", "ZONE", "NEXT TICK"), rows, keep=("NEXT TICK",), empty="no schedules")
    if page.get("cursor"):
        warn(f"more: --cursor {page['cursor']}")


@app.command(
    epilog=examples(
        'overnight schedules preview --cron "0 8 * * 1-5" --timezone Europe/Berlin',
        "overnight schedules preview --interval hours=1 --start-at 2026-12-01T00:00:00Z --count 3",
        'overnight schedules preview --cron "30 2 * * *" --timezone Europe/Berlin --from 2026-03-27T00:00:00Z --json',
        'overnight schedules preview --cron "0 9 * * *" --exclude sat --exclude sun --exclude 2026-12-24..2027-01-01',
        "overnight schedules preview -f agents.yaml --agent hello",
    )
)
def preview(
    cron: Annotated[
        str | None, typer.Option(metavar="EXPRESSION", help="Five cron fields, or @hourly … @yearly.")
    ] = None,
    interval_text: Annotated[
        str | None, typer.Option("--interval", metavar="LENGTH", help="How often, such as hours=1 or days=1,hours=12.")
    ] = None,
    date: Annotated[str | None, typer.Option(metavar="TIME", help="Once, at this RFC 3339 instant.")] = None,
    timezone: Annotated[str | None, typer.Option(metavar="ZONE", help="IANA name; UTC if not given.")] = None,
    start_at: Annotated[str | None, typer.Option(metavar="TIME", help="No tick before it; RFC 3339.")] = None,
    end_at: Annotated[str | None, typer.Option(metavar="TIME", help="No tick after it; RFC 3339.")] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="WHAT", help="A weekday, a date, or FIRST..LAST; may be given several times."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="Take the schedule from this agents.yaml.")
    ] = None,
    agent: Annotated[str | None, typer.Option("--agent", "-a", metavar="NAME", help="The agent in the file.")] = None,
    trigger: Annotated[
        str | None, typer.Option("--trigger", metavar="NAME", help="The agent's trigger, if it has several schedules.")
    ] = None,
    since: Annotated[
        str, typer.Option("--from", metavar="TIME", help="The first tick at or after it; RFC 3339, a date, now.")
    ] = "now",
    count: Annotated[int, typer.Option("--count", "-n", metavar="N", min=1, max=10_000, help="How many ticks.")] = 10,
    eventbridge: Annotated[
        bool, typer.Option("--eventbridge", help="Show the expressions that EventBridge Scheduler will be given.")
    ] = False,
    json: Json = False,
) -> None:
    """Show the next ticks of a schedule, without a server."""
    from overnight.calendar.preview import preview as runs  # noqa: PLC0415 - `--help` needs no calendar

    at = now().replace(microsecond=0)
    first = datetime.fromisoformat(instant(since, "--from", at) or "")
    one_of = {"cron": cron, "interval": interval(interval_text, "--interval"), "date": date}
    given = {name: value for name, value in one_of.items() if value is not None}
    bounds = {"timezone": timezone, "start_at": start_at, "end_at": end_at, "exclude": _exclude(exclude or [])}
    given |= {name: value for name, value in bounds.items() if value is not None}
    if file is not None:
        if given:
            raise Misuse(f"--{next(iter(given)).replace('_', '-')} doesn't go with --file, which says it all")
        schedule = _from_file(file, agent, trigger)
    elif agent or trigger:
        raise Misuse("--agent and --trigger go with --file; `overnight schedules list` asks a server")
    else:
        if sum(value is not None for value in one_of.values()) != 1:
            raise Misuse("give exactly one of --cron, --interval, --date, or --file")
        schedule = _schedule({"name": "preview"} | given)
    # An interval without a start is anchored where it is first armed: as if that were now.
    calendar = schedule.calendar(anchor=first)
    if eventbridge:
        _print_eventbridge(calendar, json=json)
        return
    ticks = runs(calendar, first, count)
    if json:
        print_json([{"utc": tick.utc, "local": tick.local} for tick in ticks])
        return
    rows = [(_clock(tick.local), tick.utc, relative(datetime.fromisoformat(tick.utc), at)) for tick in ticks]
    print_table((schedule.timezone, "UTC", ""), rows, empty="no tick from there on")


def _clock(local: str) -> str:
    at = datetime.fromisoformat(local)
    return f"{at:%a} {local[:10]} {local[11:]}"


_RANGE = re.compile(r"(?P<first>.+?)\.\.(?P<last>.+)")


def _exclude(texts: list[str]) -> dict[str, Any] | None:
    """`sat`, `2026-12-25`, `2026-12-24..2027-01-01`, as a trigger's `exclude`."""
    dates, weekdays, ranges = [], [], []
    for text in (part.strip() for whole in texts for part in whole.split(",")):
        if between := _RANGE.fullmatch(text):
            ranges.append({"from": between["first"], "to": between["last"]})
        elif text[:1].isdigit() and len(text) > 1:
            dates.append(text)
        else:
            weekdays.append(int(text) if text.isdigit() else text)
    found = {"dates": dates, "weekdays": weekdays, "ranges": ranges}
    return {name: value for name, value in found.items() if value} or None


def _schedule(document: dict[str, Any]) -> "Schedule":
    """A schedule from the options. Raises Failure, naming each that is wrong."""
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415

    from overnight.api.problems import describe  # noqa: PLC0415
    from overnight.triggers import Schedule  # noqa: PLC0415

    try:
        schedule: CronTrigger | IntervalTrigger | DateTrigger = TypeAdapter(Schedule).validate_python(document)
    except ValidationError as error:
        # The first step of a location is the union's tag.
        problems = [describe(each["loc"][1:], each) for each in error.errors(include_url=False)]
        raise Failure("; ".join(map(str, problems))) from error
    return schedule


def _from_file(file: Path, agent: str | None, trigger: str | None) -> "Schedule":
    from overnight.cli.declarations import read  # noqa: PLC0415

    declarations = read(file)
    if agent is None and len(declarations.agents) != 1:
        raise Misuse(f"{file} declares {len(declarations.agents)} agents; choose one with --agent")
    declared = declarations.agent(agent) if agent else declarations.agents[0]
    schedules = declared.checked.schedules
    if trigger is not None and trigger not in schedules:
        raise Failure(f"{declared.name} has no schedule {trigger!r}; it has {', '.join(schedules) or 'none'}")
    if trigger is None and len(schedules) != 1:
        raise Failure(f"{declared.name} has {len(schedules)} schedules; choose one with --trigger")
    return schedules[trigger or next(iter(schedules))]


def _print_eventbridge(calendar: "Calendar", *, json: bool) -> None:
    from overnight.calendar.errors import CalendarError  # noqa: PLC0415
    from overnight.calendar.eventbridge import expressions  # noqa: PLC0415

    try:
        given = [{"expression": each.expression, "timezone": each.timezone} for each in expressions(calendar)]
    except CalendarError as error:
        raise Failure(str(error)) from error
    if json:
        print_json(given)
    else:
        print_table(("EXPRESSION", "ZONE"), [(each["expression"], each["timezone"]) for each in given], empty="none")
