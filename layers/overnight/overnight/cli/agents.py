"""Agents: list, create, edit, start, stop, pause, resume, trigger, delete."""

from pathlib import Path
from typing import Annotated, Any

import typer

from overnight.cli.agent import busy, print_agent, print_plan, print_stand
from overnight.cli.connection import connect
from overnight.cli.execution import change_as_text, follow, print_end, short
from overnight.cli.failure import Findings, Misuse, plural
from overnight.cli.noun import examples, noun
from overnight.cli.options import URL, Cursor, Json, Limit, Url, Yes
from overnight.cli.terminal import (
    interactive,
    may_ask,
    now,
    print_json,
    print_sheet,
    print_table,
    say,
    status_text,
    warn,
)
from overnight.cli.times import instant, moment
from overnight.cli.values import assigned, interval, json_value, named

__all__ = ["app"]

app = noun()

Ref = Annotated[str, typer.Argument(metavar="NAME", help="The agent's name or id.")]


@app.command(
    "list",
    epilog=examples("overnight agents list", "overnight agents list --status PAUSED", "overnight agents list --json"),
)
def list_(
    status: Annotated[str | None, typer.Option(metavar="STATUS", help="ACTIVE, PAUSED, STOPPED or ERROR.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    json: Json = False,
    url: Url = URL,
) -> None:
    """List agents by name."""
    with connect(url) as client:
        page = client.agents(status=status.upper() if status else None, cursor=cursor, limit=limit)
    if json:
        print_json(page)
        return
    at = now()
    rows = [
        (
            agent["name"],
            status_text(agent["status"]),
            moment(agent.get("next_run_at"), at),
            moment(agent.get("last_run_at"), at),
            busy(agent),
        )
        for agent in page["items"]
    ]
    headings = ("NAME", "STATUS", "NEXT RUN", "LAST RUN", "NOW")
    print_table(headings, rows, keep=("STATUS",), empty="no agents; make some with `overnight apply -f agents.yaml`")
    if page.get("cursor"):
        warn(f"more: --cursor {page['cursor']}")


@app.command(epilog=examples("overnight agents show hello", "overnight agents show hello --json"))
def show(agent: Ref, json: Json = False, url: Url = URL) -> None:
    """Show an agent: what it runs, when, and by which policies."""
    with connect(url) as client:
        view = client.agent(agent)
    if json:
        print_json(view)
    else:
        print_agent(view)


@app.command(
    epilog=examples(
        'overnight agents create hello --flow flows/hello.json --cron "0 8 * * *" --timezone Europe/Berlin --start',
        'overnight agents create report --flow reports.daily:run --interval hours=6 --input "Report on today"',
        "overnight agents create chat --flow chat.json --var OPENAI_API_KEY=secret:openai",
    )
)
def create(
    agent: Annotated[str, typer.Argument(metavar="NAME", help="Its name: letters, digits, _ and -.")],
    flow: Annotated[str, typer.Option(metavar="FLOW", help="A Langflow flow's JSON file, or package.module:callable.")],
    cron: Annotated[
        str | None, typer.Option(metavar="EXPRESSION", help="Five cron fields, or @hourly … @yearly.")
    ] = None,
    interval_text: Annotated[
        str | None, typer.Option("--interval", metavar="LENGTH", help="How often, such as hours=1 or minutes=30.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="The cron expression's zone; UTC if not given.")
    ] = None,
    input_value: Annotated[str | None, typer.Option("--input", metavar="TEXT", help="What each run is given.")] = None,
    variables: Annotated[
        list[str] | None, typer.Option("--var", metavar="NAME=REF", help="A variable: NAME=secret:name or NAME=env:X.")
    ] = None,
    start: Annotated[bool, typer.Option("--start", help="Start it at once.")] = False,
    json: Json = False,
    url: Url = URL,
) -> None:
    """Create an agent with one schedule, or none.

    It is STOPPED without --start. `overnight apply` takes all that an agent can be.
    """
    from overnight.cli.flow import flow_document  # noqa: PLC0415 - reads flow files

    if cron and interval_text:
        raise Misuse("give --cron or --interval, not both")
    if timezone and not cron:
        raise Misuse("--timezone goes with --cron")
    document: dict[str, Any] = {"name": agent, "flow": flow_document(flow, Path()), "enabled": start}
    if cron:
        document["schedule"] = {"cron": cron} | ({"timezone": timezone} if timezone else {})
    if interval_text:
        document["schedule"] = {"interval": interval(interval_text, "--interval")}
    if input_value is not None:
        document["input"] = {"input_value": input_value}
    if variables:
        document["variables"] = named(variables, "--var")
    with connect(url) as client:
        view = client.create_agent(document)
    print_stand(view, json=json)


@app.command(
    epilog=examples(
        "overnight agents edit hello --set timeout_seconds=60 --set retries.attempts=5",
        'overnight agents edit hello --set \'input={"input_value": "Good morning"}\'',
        "overnight agents edit hello --set notify=null   # null takes a field away",
    )
)
def edit(
    agent: Ref,
    changes: Annotated[
        list[str],
        typer.Option("--set", metavar="FIELD=VALUE", help="A field and its new value, as JSON or plain text."),
    ],
    if_version: Annotated[int | None, typer.Option(metavar="N", help="Only if it still has this version.")] = None,
    json: Json = False,
    url: Url = URL,
) -> None:
    """Change fields of an agent."""
    patch = assigned(changes, "--set")
    with connect(url) as client:
        view = client.edit_agent(agent, patch, if_match=if_version)
    if json:
        print_json(view)
    else:
        say(f"{view['name']} is at version {view['version']}")


@app.command(epilog=examples("overnight agents start hello"))
def start(agent: Ref, json: Json = False, url: Url = URL) -> None:
    """Start an agent: arm its schedules, open its webhooks."""
    with connect(url) as client:
        view = client.start(agent)
    print_stand(view, json=json)


@app.command(epilog=examples("overnight agents stop hello", "overnight agents stop hello --cancel-running"))
def stop(
    agent: Ref,
    cancel_running: Annotated[
        bool, typer.Option("--cancel-running", help="Cancel what is running, too; else it ends by itself.")
    ] = False,
    json: Json = False,
    url: Url = URL,
) -> None:
    """Stop an agent: disarm its schedules, cancel its line."""
    with connect(url) as client:
        view = client.stop(agent, cancel_running=cancel_running)
    print_stand(view, json=json)


@app.command(
    epilog=examples("overnight agents pause hello", 'overnight agents pause hello --note "until the key is new"')
)
def pause(
    agent: Ref,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; it is shown with the status.")] = None,
    json: Json = False,
    url: Url = URL,
) -> None:
    """Pause an agent: disarm its schedules, let its line wait."""
    with connect(url) as client:
        view = client.pause(agent, note=note)
    print_stand(view, json=json)


@app.command(epilog=examples("overnight agents resume hello"))
def resume(agent: Ref, json: Json = False, url: Url = URL) -> None:
    """Resume an agent that is paused."""
    with connect(url) as client:
        view = client.resume(agent)
    print_stand(view, json=json)


@app.command(
    epilog=examples(
        "overnight agents trigger hello --wait",
        'overnight agents trigger hello --input "Report on Monday" --wait',
        "overnight agents trigger hello --payload '{\"order\": 42}' --idempotency-key order-42",
        "overnight agents trigger hello --payload @order.json",
    )
)
def trigger(
    agent: Ref,
    input_value: Annotated[str | None, typer.Option("--input", metavar="TEXT", help="What it is given.")] = None,
    payload: Annotated[str | None, typer.Option(metavar="JSON", help="The firing's payload, or @file.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The same key runs once, however often it is sent.")
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="Mark it as a test.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait until it has ended, print its text; exit 1 unless it succeeded.")
    ] = False,
    json: Json = False,
    url: Url = URL,
) -> None:
    """Run an agent now."""
    with connect(url) as client:
        view = client.trigger(
            agent,
            input_value=input_value,
            payload=json_value(payload, "--payload"),
            test=test,
            idempotency_key=idempotency_key,
        )
        if wait:
            view = follow(client, view["id"], None if json or not interactive() else change_as_text)
    if json:
        print_json(view)
    elif not wait:
        say(f"{view['id']} is {view['status']}" + (f" ({view['reason']})" if view.get("reason") else ""))
    else:
        print_end(view)
    if wait and view["status"] != "succeeded":
        raise Findings


@app.command(epilog=examples("overnight agents delete hello", "overnight agents delete hello --yes"))
def delete(agent: Ref, yes: Yes = False, url: Url = URL) -> None:
    """Delete an agent; its executions are kept for a while."""
    with connect(url) as client:
        name = client.agent(agent)["name"]
        if not yes:
            if not may_ask():
                raise Misuse(f"this deletes {name}; say --yes")
            typer.confirm(f"Delete {name}?", abort=True)
        client.delete_agent(agent)
    say(f"{name} is deleted")


@app.command(epilog=examples("overnight agents status hello"))
def status(agent: Ref, json: Json = False, url: Url = URL) -> None:
    """Show what an agent does now, and what comes next."""
    with connect(url) as client:
        view = client.status(agent)
    if json:
        print_json(view)
        return
    at = now()
    running = [
        f"{short(slot['execution_id'])} attempt {slot['attempt']}, since {moment(slot['since'], at)}"
        for slot in view["running"]
    ]
    print_sheet(
        [
            ("agent", view["name"]),
            ("status", status_text(view["status"], view.get("note"))),
            ("since", moment(view.get("changed_at"), at)),
            ("last run", moment(view.get("last_run_at"), at)),
            ("next run", moment(view.get("next_run_at"), at)),
            ("running", "\n".join(running)),
            ("waiting", "\n".join(map(short, view["waiting"]))),
            ("failures", f"{view['failures']} in a row" if view.get("failures") else None),
        ]
    )
    if view["schedules"]:
        say("")
        rows = [
            (each["trigger"], moment(each.get("next_tick_at"), at), moment(each.get("last_tick_at"), at))
            for each in view["schedules"]
        ]
        print_table(("TRIGGER", "NEXT TICK", "LAST TICK"), rows, empty="")


@app.command(epilog=examples("overnight agents notifications hello", "overnight agents notifications hello --secret"))
def notifications(
    agent: Ref,
    secret: Annotated[bool, typer.Option("--secret", help="Show the secret that its receiver needs.")] = False,
    json: Json = False,
    url: Url = URL,
) -> None:
    """Show whom an agent tells, and how that went."""
    with connect(url) as client:
        view = client.notifications(agent)
    if json:
        print_json(view)
        return
    print_sheet(
        [
            ("url", view["url"] or "none; name one in its `notify`"),
            ("gone", "it answered 410: edit the agent to notify it again" if view["gone"] else None),
            ("on", ", ".join(view["on"])),
            ("secret", view["secret"] if secret else "shown by --secret"),
        ]
    )
    if view["deliveries"]:
        say("")
        at = now()
        rows = [
            (
                short(each["execution_id"]),
                each["status"],
                each["tries"],
                moment(each["created_at"], at),
                moment(each["due"], at),
                each["error"],
            )
            for each in view["deliveries"]
        ]
        print_table(("EXECUTION", "STATUS", "TRIES", "CREATED", "NEXT TRY", "ERROR"), rows, keep=("STATUS",), empty="")


@app.command(
    epilog=examples(
        "overnight agents backfill hello --since 7d --dry-run",
        "overnight agents backfill hello --since 2026-11-01T00:00:00Z --until 2026-11-08T00:00:00Z --yes",
    )
)
def backfill(
    agent: Ref,
    since: Annotated[str, typer.Option(metavar="TIME", help="From this time on: RFC 3339, a date, 2h, 7d.")],
    until: Annotated[str, typer.Option(metavar="TIME", help="Before this time, written likewise.")] = "now",
    trigger: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this trigger.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False,
    yes: Yes = False,
    json: Json = False,
    url: Url = URL,
) -> None:
    """Run ticks of a time that never ran; the plan comes first."""
    at = now()
    first, last = instant(since, "--since", at) or "", instant(until, "--until", at) or ""
    with connect(url) as client:
        plan = client.backfill(agent, since=first, until=last, trigger=trigger, dry_run=True)
        if not json:
            print_plan(plan)
        if dry_run or not plan["count"]:
            if json:
                print_json(plan)
            return
        if not yes:
            if not may_ask():
                raise Misuse(f"this runs {plural(plan['count'], 'tick')}; say --yes, or --dry-run")
            typer.confirm(f"Run {plural(plan['count'], 'tick')}?", abort=True)
        done = client.backfill(agent, since=first, until=last, trigger=trigger)
    if json:
        print_json(done)
    else:
        say(f"backfill {done['backfill_id']}: {plural(len(done['execution_ids']), 'execution')}")
