"""Events: something that happened, for the agents that subscribe to it."""

from typing import Annotated

import typer

from overnight.cli.connection import connect
from overnight.cli.execution import short
from overnight.cli.failure import plural
from overnight.cli.noun import examples, noun
from overnight.cli.options import URL, Json, Url
from overnight.cli.terminal import print_json, say
from overnight.cli.values import json_value

__all__ = ["app"]

app = noun()


@app.callback()
def events() -> None:
    """Send events to the agents that subscribe to them."""


@app.command(
    epilog=examples(
        "overnight events send dataset.updated --data '{\"size\": 12}'",
        "overnight events send dataset.updated --data @event.json --id upload-7",
    )
)
def send(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, with dots: dataset.updated.")],
    data: Annotated[str | None, typer.Option(metavar="JSON", help="What it carries, or @file.")] = None,
    event_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The same id counts once, however often it is sent.")
    ] = None,
    json: Json = False,
    url: Url = URL,
) -> None:
    """Send an event; each agent that subscribes to it gets one execution."""
    with connect(url) as client:
        sent = client.send_event(name, data=json_value(data, "--data"), event_id=event_id)
    if json:
        print_json(sent)
        return
    again = ", sent before" if sent.get("duplicate") else ""
    say(f"event {sent['event_id']}: {plural(len(sent['execution_ids']), 'execution')}{again}")
    for execution_id in sent["execution_ids"]:
        say(f"  {short(execution_id)}")
