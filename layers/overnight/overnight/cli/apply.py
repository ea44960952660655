"""Applying a file of agents: checked as a whole, planned, then carried out agent by agent."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from overnight.cli.agent import said
from overnight.cli.connection import connect
from overnight.cli.failure import Failure, Misuse, plural
from overnight.cli.noun import examples, noun
from overnight.cli.options import URL, Json, Url, Yes
from overnight.cli.terminal import may_ask, print_json, say, warn

if TYPE_CHECKING:
    from overnight.cli.declarations import Declaration, Declarations
    from overnight.client import Client, View

__all__ = ["app"]

app = noun()


@app.command(
    epilog=examples(
        "overnight apply -f agents.yaml --dry-run   # what would change",
        "overnight apply -f agents.yaml",
        "overnight apply -f agents.yaml --prune     # and delete what is not in the file",
    )
)
def apply(
    file: Annotated[Path, typer.Option("--file", "-f", metavar="FILE", help="The file; `-` is standard input.")] = Path(
        "agents.yaml"
    ),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete every agent that is not in the file; asks before, unless --yes.")
    ] = False,
    yes: Yes = False,
    json: Json = False,
    url: Url = URL,
) -> None:
    """Make the engine's agents what a file says.

    Nothing is applied unless all of the file is valid. Agents run unless they say `enabled: false`. What was applied
    before a failure stays; the same command goes on from there.
    """
    from overnight.cli.declarations import read  # noqa: PLC0415 - takes the words along, which `--help` needs not

    declarations = read(file)
    if prune and not declarations.agents:
        raise Failure(f"{file} declares no agents, and --prune would delete all; delete them by name")
    with connect(url) as client:
        plan = _plan(client, declarations)
        _warn(plan)
        leaving = _left_out(client, declarations) if prune else []
        if dry_run:
            _report(plan, leaving, json=json)
            return
        if leaving and not yes:
            _ask(leaving)
        for done in _carry_out(client, plan):
            if not json:
                say(done)
        for name in leaving:
            client.delete_agent(name)
            if not json:
                say(f"deleted    {name}")
    if json:
        print_json(_as_json(plan, leaving))
    else:
        say(_summary(plan, leaving))


Plan = Sequence[tuple["Declaration", "View"]]
_DONE = {"create": "created", "update": "updated", "unchanged": "unchanged"}


def _plan(client: "Client", declarations: "Declarations") -> Plan:
    """What would become of each agent, by the engine's own word; its objections are problems of the file."""
    from overnight.client import ApiError  # noqa: PLC0415 - imports httpx
    from overnight.errors import Problem  # noqa: PLC0415

    plan: list[tuple[Declaration, View]] = []
    problems: list[str] = []
    for declared in declarations.agents:
        try:
            plan.append((declared, client.put_agent(declared.name, declared.document, dry_run=True)))
        except ApiError as error:
            if error.status in _ABOUT_THE_ENGINE:
                raise
            problems += declarations.told(declared, error.problems or [Problem("", str(error))])
    if problems:
        raise Failure(problems)
    return plan


def _warn(plan: Plan) -> None:
    """What of the flows won't work, which keeps nobody from applying them."""
    for declared, view in plan:
        for warning in view.get("warnings", ()):
            warn(f"warning: {declared.name}: {warning}")


_ABOUT_THE_ENGINE = frozenset({401, 403, 404, 405, 429, 500, 502, 503})
"""Statuses that are no fault of the document."""


def _left_out(client: "Client", declarations: "Declarations") -> list[str]:
    """The agents that are not in the file; those that a stack declares are its own business."""
    declared = {each.name for each in declarations.agents}
    return [
        agent["name"] for agent in client.every_agent() if agent["name"] not in declared and not agent.get("declared")
    ]


def _ask(leaving: Sequence[str]) -> None:
    told = f"{plural(len(leaving), 'agent')} not in the file: {', '.join(leaving)}"
    if not may_ask():
        raise Misuse(f"--prune deletes {told}; say --yes")
    typer.confirm(f"Delete {told}?", abort=True)


def _carry_out(client: "Client", plan: Plan) -> Iterator[str]:
    from overnight.errors import OvernightError  # noqa: PLC0415

    for number, (declared, view) in enumerate(plan):
        if view["action"] != "unchanged":
            try:
                client.put_agent(declared.name, declared.document)
            except OvernightError as error:
                rest = f"{number} of {plural(len(plan), 'agent')} applied; the same command goes on from here"
                raise Failure(f"{declared.name}: {error}; {rest}") from error
        yield _line(_DONE[view["action"]], declared, view)


def _line(word: str, declared: "Declaration", view: "View") -> str:
    changed = view.get("changed") or []
    fields = f" ({', '.join(changed)})" if view["action"] == "update" and changed else ""
    return f"{word:<10} {declared.name}{fields}"


def _report(plan: Plan, leaving: Sequence[str], *, json: bool) -> None:
    if json:
        print_json(_as_json(plan, leaving))
        return
    for declared, view in plan:
        say(_line(view["action"], declared, view))
        for trigger in view.get("of_flow", ()):
            say(f"{'':<10}   trigger {trigger['name']}, of the flow: {_of_node(trigger)}")
    for name in leaving:
        say(f"{'delete':<10} {name}")


def _of_node(trigger: "View") -> str:
    """What a flow's node says of its trigger: when or how it fires comes first."""
    said_first = {kind: trigger[kind] for kind in ("cron", "webhook") if kind in trigger}
    return said(said_first | {name: trigger[name] for name in _OF_NODES if name in trigger})


_OF_NODES = ("timezone", "catch_up", "share_session")


def _as_json(plan: Plan, leaving: Sequence[str]) -> dict[str, Any]:
    agents = [{"name": declared.name, **view} for declared, view in plan]
    return {"agents": agents, "deleted": list(leaving)}


def _summary(plan: Plan, leaving: Sequence[str]) -> str:
    counts = {word: sum(view["action"] == action for _, view in plan) for action, word in _DONE.items()}
    counts["deleted"] = len(leaving)
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "nothing to do"
