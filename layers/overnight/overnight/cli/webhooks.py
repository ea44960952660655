"""Webhooks: where senders post to, with what secret; and a sender, to try them."""

import os
import re
import uuid
from typing import TYPE_CHECKING, Annotated, Any

import typer

from overnight.cli.connection import connect
from overnight.cli.execution import change_as_text, follow, print_end
from overnight.cli.failure import Failure, Findings, Misuse
from overnight.cli.noun import examples, noun
from overnight.cli.options import URL, Agent, Cursor, Json, Limit, Url
from overnight.cli.terminal import interactive, now, print_json, print_sheet, print_table, say, warn
from overnight.cli.times import moment

if TYPE_CHECKING:
    from overnight.client import Client, View
    from overnight.webhooks import Webhook

__all__ = ["app"]

SECRET_VARIABLE = "OVERNIGHT_WEBHOOK_SECRET"  # noqa: S105 - its name
_ID = re.compile(r"[0-9a-f]{32}")

app = noun()

Ref = Annotated[
    str, typer.Argument(metavar="WEBHOOK", help="AGENT where it has one webhook, else AGENT/TRIGGER, or the id.")
]


@app.command("list", epilog=examples("overnight webhooks list", "overnight webhooks list --agent shop --json"))
def list_(agent: Agent = None, limit: Limit = 50, cursor: Cursor = None, json: Json = False, url: Url = URL) -> None:
    """List webhooks by agent, with their addresses."""
    with connect(url) as client:
        page = client.webhooks(agent=agent, cursor=cursor, limit=limit)
    if json:
        print_json(page)
        return
    rows = [
        (view["agent"], view["trigger"], view["signature"], view["status"], f"{client.front_door}{view['path']}")
        for view in page["items"]
    ]
    empty = "no webhooks; give an agent a trigger such as {name: github, webhook: {signature: github}}"
    print_table(("AGENT", "TRIGGER", "SIGNATURE", "STATUS", "ADDRESS"), rows, keep=("ADDRESS",), empty=empty)
    if page.get("cursor"):
        warn(f"more: --cursor {page['cursor']}")


@app.command(
    epilog=examples(
        "overnight webhooks show shop", "overnight webhooks show shop/stripe --secret   # to set up the sender"
    )
)
def show(
    webhook: Ref,
    secret: Annotated[bool, typer.Option("--secret", help="Show the secret that was made for it.")] = False,
    json: Json = False,
    url: Url = URL,
) -> None:
    """Show where a sender must post to, and how it must sign."""
    with connect(url) as client:
        view = client.webhook(_resolve(client, webhook))
        shown = client.webhook_secret(view["hook_id"]) if secret else {}
    view = view | ({"secret": shown["secret"]} if shown else {})
    if json:
        print_json(view)
        return
    kept = {"made": "made here, shown by --secret", "supplied": "supplied, and kept in the secret store"}
    print_sheet(
        [
            ("address", f"{client.front_door}{view['path']}"),
            ("agent", view["agent"]),
            ("trigger", view["trigger"]),
            ("signature", view["signature"]),
            ("secret", view.get("secret") or kept.get(view["secret_source"])),
            ("version", view["secret_version"]),
            ("secret before", _until(view["previous_secret_until"])),
            ("limit", f"{view['rate_limit_per_minute']} a minute" if view["rate_limit_per_minute"] else None),
        ]
    )


@app.command(
    epilog=examples(
        "overnight webhooks rotate-secret shop",
        "overnight webhooks rotate-secret shop --overlap-seconds 0   # it leaked: end the old one at once",
    )
)
def rotate_secret(
    webhook: Ref,
    overlap_seconds: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="How long the secret before is still accepted; a day if not given."),
    ] = None,
    json: Json = False,
    url: Url = URL,
) -> None:
    """Make a new secret for a webhook.

    The one before is still accepted for a while, so that the sender can change over.
    """
    with connect(url) as client:
        view = client.rotate_webhook_secret(_resolve(client, webhook), overlap_seconds=overlap_seconds)
    if json:
        print_json(view)
    else:
        print_sheet([("secret", view["secret"]), ("secret before", _until(view["previous_until"]) or "ended")])


@app.command(
    epilog=examples(
        "overnight webhooks send shop",
        "overnight webhooks send shop/stripe --data @event.json --wait",
        "overnight webhooks send repo --data '{\"ref\": \"main\"}' --header 'X-GitHub-Event: push'",
        "overnight webhooks send shop --to https://hooks.example.com   # by the public way",
    )
)
def send(
    webhook: Ref,
    data: Annotated[str, typer.Option(metavar="TEXT", help="The body, or @file.")] = '{"test": true}',
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="'NAME: VALUE'", help="A header beside those that sign; may be repeated."),
    ] = None,
    delivery_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The delivery's id; the same one counts once.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="URL", help="Post there, in place of the engine's own address.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait until it has ended, print its text; exit 1 unless it succeeded.")
    ] = False,
    json: Json = False,
    url: Url = URL,
) -> None:
    """Sign a test delivery, and post it as the sender would.

    A secret that was supplied is never shown, so it is taken from OVERNIGHT_WEBHOOK_SECRET.
    """
    from overnight.client import Client  # noqa: PLC0415 - httpx takes a while to import
    from overnight.core.webhooks.schemes import sign  # noqa: PLC0415

    body = _body(data)
    with connect(url) as client:
        view = client.webhook(_resolve(client, webhook))
        definition = _definition(client, view)
        try:
            signed = sign(definition, _secret(client, view), body, now(), delivery_id or f"test_{uuid.uuid4().hex}")
        except ValueError as error:
            raise Failure(f"{SECRET_VARIABLE}: {error}") from error
        # Without the engine's own token, which is nobody else's business.
        with Client(to or client.front_door) as sender:
            headers = {"Content-Type": _media_type(body), **signed.headers, **_headers(header or [])}
            answer = sender.deliver(view["hook_id"], body, headers, signed.query)
        execution_id = answer.get("execution_id")
        ended = None
        if wait and execution_id:
            ended = follow(client, execution_id, None if json or not interactive() else change_as_text)
    if json:
        print_json(ended or answer)
    elif ended:
        print_end(ended)
    elif execution_id:
        say(f"execution {execution_id}")
    else:
        say("answered, and nothing runs")
    if ended and ended["status"] != "succeeded":
        raise Findings


def _resolve(client: "Client", ref: str) -> str:
    """The webhook's id. Raises Failure when none or several are meant."""
    if _ID.fullmatch(ref):
        return ref
    agent, _, trigger = ref.partition("/")
    found = client.webhooks(agent=agent, limit=200)["items"]
    if trigger:
        found = [view for view in found if view["trigger"] == trigger]
    if not found:
        raise Failure(f"{agent} has no webhook" + (f" called {trigger}" if trigger else ""))
    if len(found) > 1:
        names = ", ".join(f"{agent}/{view['trigger']}" for view in found)
        raise Failure(f"{agent} has several webhooks: {names}")
    hook_id: str = found[0]["hook_id"]
    return hook_id


def _definition(client: "Client", view: "View") -> "Webhook":
    from overnight.webhooks import Webhook  # noqa: PLC0415

    triggers = client.agent(view["agent_id"])["triggers"]
    return Webhook.model_validate(next(each["webhook"] for each in triggers if each["name"] == view["trigger"]))


def _secret(client: "Client", view: "View") -> str:
    source = view["secret_source"]
    if source == "none":
        return ""
    if secret := os.environ.get(SECRET_VARIABLE):
        return secret
    if source == "supplied":
        raise Failure(f"its secret was supplied, and is never shown; give it in {SECRET_VARIABLE}")
    return str(client.webhook_secret(view["hook_id"])["secret"])


def _body(data: str) -> bytes:
    if not data.startswith("@"):
        return data.encode()
    try:
        with open(data[1:], "rb") as file:  # noqa: PTH123 - a path as the user wrote it
            return file.read()
    except OSError as error:
        raise Failure(f"{data[1:]}: {(error.strerror or str(error)).lower()}") from error


def _media_type(body: bytes) -> str:
    import json  # noqa: PLC0415 - `json` is an option of the commands here

    try:
        json.loads(body)
    except ValueError:
        return "text/plain; charset=utf-8"
    return "application/json"


def _headers(given: list[str]) -> dict[str, str]:
    headers = {}
    for each in given:
        name, colon, value = each.partition(":")
        if not colon or not name.strip():
            raise Misuse(f"--header: {each!r} is not NAME: VALUE")
        headers[name.strip()] = value.strip()
    return headers


def _until(instant: Any) -> str | None:
    return f"accepted until {moment(instant, now())}" if instant else None
