"""Executions: what ran, why, with which result; cancel it, run it again."""

import time
from typing import Annotated

import typer

from overnight.cli.connection import connect
from overnight.cli.execution import (
    HEADINGS,
    POLL_SECONDS,
    TERMINAL,
    change_as_text,
    follow,
    print_execution,
    resolve,
    row,
    short,
    stands,
)
from overnight.cli.failure import Findings, Misuse, plural
from overnight.cli.noun import examples, noun
from overnight.cli.options import URL, Agent, Cursor, Json, Limit, Since, Until, Url, Yes
from overnight.cli.terminal import may_ask, now, print_json, print_json_line, print_table, say, warn
from overnight.cli.times import instant

__all__ = ["app"]

app = noun()

Id = Annotated[str, typer.Argument(metavar="ID", help="The execution's id, or how it begins.")]


@app.command(
    "list",
    epilog=examples(
        "overnight executions list",
        "overnight executions list --agent hello --status failed --since 1d",
        "overnight executions list --json | jq -r '.items[].id'",
    ),
)
def list_(
    agent: Agent = None,
    status: Annotated[
        str | None,
        typer.Option(metavar="STATUS", help="pending, running, retrying, succeeded, failed, cancelled or skipped."),
    ] = None,
    trigger: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this trigger.")] = None,
    kind: Annotated[
        str | None, typer.Option(metavar="KIND", help="schedule, webhook, event, manual or backfill.")
    ] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    json: Json = False,
    url: Url = URL,
) -> None:
    """List executions, newest first."""
    at = now()
    where = {
        "agent": agent,
        "status": status,
        "trigger": trigger,
        "kind": kind,
        "since": instant(since, "--since", at),
        "until": instant(until, "--until", at),
    }
    with connect(url) as client:
        page = client.executions(cursor=cursor, limit=limit, **where)
    if json:
        print_json(page)
        return
    print_table(
        HEADINGS, map(row, page["items"]), keep=("ID", "STATUS", "TOOK"), spare=("TRIGGER",), empty="no executions"
    )
    if page.get("cursor"):
        warn(f"older ones: --cursor {page['cursor']}")


@app.command(epilog=examples("overnight executions show 3f2a9c41b0", "overnight executions show 3f2a9c41b0 --json"))
def show(execution: Id, json: Json = False, url: Url = URL) -> None:
    """Show an execution: its firing, attempts, result or error."""
    with connect(url) as client:
        view = client.execution(resolve(client, execution))
    if json:
        print_json(view)
    else:
        print_execution(view)


@app.command(epilog=examples("overnight executions logs 3f2a9c41b0", "overnight executions logs 3f2a9c41b0 --follow"))
def logs(
    execution: Id,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the execution has ended.")] = False,
    json: Json = False,
    url: Url = URL,
) -> None:
    """Print what its attempts said."""
    if follow and json:
        raise Misuse("--follow and --json don't go together; ask again when it has ended")
    with connect(url) as client:
        execution_id = resolve(client, execution)
        printed = 0
        while True:
            ended = not follow or client.execution(execution_id)["status"] in TERMINAL
            page = client.logs(execution_id)
            if json:
                print_json(page)
                return
            for entry in page["items"][printed:]:
                attempt = f"#{entry['attempt']}" if entry.get("attempt") is not None else ""
                say(f"{entry['at']} {attempt:>3} {entry['level']:<7} {entry['message']}")
            printed = len(page["items"])
            if ended:
                break
            time.sleep(POLL_SECONDS)
    if not printed:
        warn("nothing was logged")


@app.command(
    epilog=examples(
        "overnight executions watch                # all that happens, until Ctrl-C",
        "overnight executions watch --agent hello",
        "overnight executions watch 3f2a9c41b0   # until it ends; exit 1 unless it succeeded",
    )
)
def watch(
    execution: Annotated[
        str | None, typer.Argument(metavar="ID", help="Only this one, until it has ended.", show_default=False)
    ] = None,
    agent: Agent = None,
    json: Json = False,
    url: Url = URL,
) -> None:
    """Watch executions as they change.

    One line for each change; with --json, each line is a JSON object.
    """
    tell = print_json_line if json else change_as_text
    with connect(url) as client:
        if execution is not None:
            view = follow(client, resolve(client, execution), tell)
            text = (view.get("output") or {}).get("text")
            if text and not json:
                say(text)
            if view["status"] != "succeeded":
                raise Findings
            return
        seen: dict[str, tuple[str, int]] | None = None
        while True:
            page = client.executions(agent=agent, limit=50)["items"]
            for view in reversed(page):
                # What had ended before is no change.
                if seen is None and view["status"] in TERMINAL:
                    continue
                if seen is None or seen.get(view["id"]) != stands(view):
                    tell(view)
            seen = {view["id"]: stands(view) for view in page}
            time.sleep(POLL_SECONDS)


@app.command(epilog=examples("overnight executions cancel 3f2a9c41b0"))
def cancel(execution: Id, json: Json = False, url: Url = URL) -> None:
    """Cancel an execution.

    Its record says so at once; its slot is free when the worker lets go.
    """
    with connect(url) as client:
        view = client.cancel(resolve(client, execution))
    if json:
        print_json(view)
    else:
        say(f"{view['id']} is {view['status']}")


@app.command(
    epilog=examples(
        "overnight executions redrive 3f2a9c41b0",
        "overnight executions redrive --agent hello --since 1d   # all that failed",
    )
)
def redrive(
    execution: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="The failed execution; or choose by --agent, --since.", show_default=False),
    ] = None,
    agent: Agent = None,
    since: Since = None,
    until: Until = None,
    latest: Annotated[
        bool, typer.Option("--latest", help="Run the agent as it is now, not as it was at admission.")
    ] = False,
    yes: Yes = False,
    json: Json = False,
    url: Url = URL,
) -> None:
    """Run failed executions again.

    Each keeps its id and its history, and gets a new budget of tries.
    """
    chosen = agent or since or until
    if execution is not None and chosen:
        raise Misuse("give the id of an execution, or --agent, --since, --until, not both")
    if execution is None and not chosen:
        raise Misuse("give the id of an execution, or choose with --agent, --since, --until")
    at = now()
    with connect(url) as client:
        if execution is not None:
            view = client.redrive(resolve(client, execution), latest=latest)
            told = f"{view['id']} is {view['status']}"
        else:
            if not yes and may_ask():
                typer.confirm(f"Run again all that failed{f' of {agent}' if agent else ''}?", abort=True)
            view = client.redrive_all(
                agent=agent,
                since=instant(since, "--since", at),
                until=instant(until, "--until", at),
                latest=latest,
            )
            told = f"redriven: {plural(view['count'], 'execution')}"
    if json:
        print_json(view)
    else:
        say(told)


@app.command(
    epilog=examples(
        "overnight executions replay 3f2a9c41b07d",
        "overnight executions replay 3f2a9c41b07d --key ticket-17   # the same key replays once",
    )
)
def replay(
    execution: Id,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The same key gives the same execution, however often it is said.")
    ] = None,
    json: Json = False,
    url: Url = URL,
) -> None:
    """Fire again what came from outside.

    A webhook, an event or a manual call becomes a new execution that names the first, by the agent as it is now.
    """
    with connect(url) as client:
        view = client.replay(resolve(client, execution), idempotency_key=key)
    if json:
        print_json(view)
    else:
        say(f"{view['id']} is {view['status']}, a replay of {short(view['replay_of'])}")
