"""Secrets: the values that `secret:name` refers to."""

import sys
from typing import Annotated

import typer

from overnight.cli.connection import connect
from overnight.cli.failure import Failure
from overnight.cli.noun import examples, noun
from overnight.cli.options import URL, Json, Url
from overnight.cli.terminal import print_json, say

__all__ = ["app"]

app = noun()

Name = Annotated[str, typer.Argument(metavar="NAME", help="What `secret:NAME` refers to.")]


@app.command(
    "set",
    epilog=examples(
        "overnight secrets set openai                    # asks for the value",
        "overnight secrets set openai < key.txt",
        "pass show openai | overnight secrets set openai",
    ),
)
def set_(
    name: Name,
    value: Annotated[
        str | None,
        typer.Option(
            metavar="VALUE",
            help="The value; others on this machine may see it, so better let it be asked for.",
        ),
    ] = None,
    url: Url = URL,
) -> None:
    """Keep a secret.

    Its value is asked for, or read from standard input without the end of its last line.
    """
    if value is None:
        value = typer.prompt("Value", hide_input=True) if sys.stdin.isatty() else sys.stdin.read().rstrip("\r\n")
    if not value:
        raise Failure(f"the value of {name} is empty")
    with connect(url) as client:
        client.set_secret(name, value)
    say(f"{name} is kept; refer to it as secret:{name}")


@app.command("list", epilog=examples("overnight secrets list"))
def list_(json: Json = False, url: Url = URL) -> None:
    """List the names of the secrets; their values are never shown."""
    with connect(url) as client:
        page = client.secrets()
    if json:
        print_json(page)
        return
    for secret in page["items"]:
        say(secret["name"])
    if not page["items"]:
        say("no secrets")


@app.command(epilog=examples("overnight secrets delete openai"))
def delete(name: Name, url: Url = URL) -> None:
    """Forget a secret."""
    with connect(url) as client:
        client.delete_secret(name)
    say(f"{name} is forgotten")
