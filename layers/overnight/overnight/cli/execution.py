"""One execution on the terminal: its id from how it begins, a line of a table, a sheet, and watching it to its end."""

import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from overnight.cli.failure import Failure
from overnight.cli.terminal import console, interactive, now, print_sheet, print_table, say, status_text
from overnight.cli.times import duration, moment

if TYPE_CHECKING:
    from overnight.client import Client, View

__all__ = [
    "HEADINGS",
    "POLL_SECONDS",
    "TERMINAL",
    "Watcher",
    "change_as_text",
    "follow",
    "print_end",
    "print_execution",
    "resolve",
    "row",
    "short",
    "stands",
]

HEADINGS = ("ID", "AGENT", "STATUS", "TRIGGER", "CREATED", "TOOK")
TERMINAL = frozenset({"succeeded", "failed", "cancelled", "skipped"})
POLL_SECONDS = 0.5
"""Between two looks at what is watched."""

_ID_LENGTH = 32
_SHORT = 10
"""Hex digits of an id in a table: enough to tell millions apart, and every command takes them."""
_SHORTEST = 4
_SEARCHED_PAGES = 10
_HEX = re.compile(r"[0-9a-f]+")

Watcher = Callable[["View"], None]
"""Is told each change of an execution."""


def resolve(client: "Client", ref: str) -> str:
    """The id that begins so, looked for among the newest executions; a full id is taken as it is.

    Raises:
        Failure: none or several begin so.
    """
    ref = ref.lower()
    if len(ref) >= _ID_LENGTH or not _HEX.fullmatch(ref):
        return ref
    if len(ref) < _SHORTEST:
        raise Failure(f"{ref!r} is too short for an id; give at least {_SHORTEST} digits")
    found: set[str] = set()
    cursor: str | None = None
    searched = 0
    for _ in range(_SEARCHED_PAGES):
        page = client.executions(cursor=cursor, limit=200)
        searched += len(page["items"])
        found |= {view["id"] for view in page["items"] if view["id"].startswith(ref)}
        if len(found) > 1:
            raise Failure(f"several executions begin with {ref!r}: {', '.join(sorted(found))}")
        if not (cursor := page.get("cursor")):
            break
    if not found:
        among = f" among the newest {searched:,}; give its full id" if cursor else ""
        raise Failure(f"no execution begins with {ref!r}{among}")
    return found.pop()


def short(execution_id: str) -> str:
    """The id in a table: its first digits where a person reads it, all of it in a pipe."""
    return execution_id[:_SHORT] if interactive() else execution_id


def row(execution: "View") -> tuple[Any, ...]:
    """An execution as a line of a table under HEADINGS."""
    return (
        short(execution["id"]),
        execution["agent"],
        status_text(execution["status"], execution.get("reason")),
        execution.get("trigger") or execution["kind"],
        moment(execution["created_at"], now()),
        duration(_took(execution)),
    )


def stands(execution: "View") -> tuple[str, int]:
    """What changes when an execution changes: its status and the number of its attempt."""
    return execution["status"], execution.get("attempt") or 0


def follow(client: "Client", execution_id: str, tell: Watcher | None = None) -> "View":
    """Wait until the execution has ended, telling each change; its last view."""
    stood: tuple[str, int] | None = None
    pause = 0.05
    while True:
        view = client.execution(execution_id)
        if stands(view) != stood and tell:
            tell(view)
        if view["status"] in TERMINAL:
            return view
        stood = stands(view)
        time.sleep(pause)
        pause = min(pause * 1.5, POLL_SECONDS)


def change_as_text(view: "View") -> None:
    """Print a change as one line."""
    status = view["status"] + (f" ({view['reason']})" if view.get("reason") else "")
    attempt = f"attempt {view['attempt']}" if view.get("attempt") else ""
    failure = view.get("failure") if view["status"] != "succeeded" else None
    told = "  ".join(filter(None, [attempt, _failure_text(failure) if failure else ""]))
    clock = now().astimezone().strftime("%H:%M:%S")
    line = f"{clock}  {short(view['id'])}  {view['agent']:<16}  {status:<11}  {told}".rstrip()
    say(line[: console().width], at_once=True)


def print_end(view: "View") -> None:
    """The text of an execution that succeeded; of any other, all that a person asks of it."""
    text = (view.get("output") or {}).get("text")
    if view["status"] == "succeeded":
        say(text or f"{view['id']} succeeded")
        return
    print_execution(view)


def print_execution(view: "View") -> None:
    """All that a person asks of an execution."""
    at = now()
    output, failure = view.get("output") or {}, view.get("failure") or {}
    usage = view.get("usage") or {}
    print_sheet(
        [
            ("id", view["id"]),
            ("agent", f"{view['agent']} (version {view['agent_version']})"),
            ("status", status_text(view["status"], view.get("reason"))),
            ("into", view.get("into")),
            ("trigger", " ".join(dict.fromkeys(filter(None, [view["kind"], view.get("trigger")])))),
            ("nominal", moment(view.get("nominal"), at)),
            ("missed ticks", len(view.get("missed_ticks") or []) or None),
            ("created", moment(view["created_at"], at)),
            ("started", moment(view.get("started_at"), at)),
            ("finished", moment(view.get("finished_at"), at)),
            ("due", moment(view.get("due"), at)),
            ("took", duration(_took(view))),
            ("late", duration(view.get("lateness_seconds"))),
            ("tries", view.get("tries") or None),
            ("redrives", view.get("redrives") or None),
            ("tokens", usage.get("total_tokens") or None),
            ("payload", view.get("payload")),
            ("input", view.get("input")),
            ("output", output.get("text") or output.get("outputs")),
            ("error", _failure_text(failure) if failure else None),
        ]
    )
    attempts = view.get("attempts") or []
    if attempts:
        say("")
        rows = [
            (
                attempt["number"],
                attempt["outcome"],
                moment(attempt["started_at"], at),
                duration(_between(attempt["started_at"], attempt["finished_at"])),
                _failure_text(attempt["failure"]) if attempt.get("failure") else "",
            )
            for attempt in attempts
        ]
        print_table(
            ("ATTEMPT", "OUTCOME", "STARTED", "TOOK", "ERROR"),
            rows,
            keep=("ATTEMPT", "OUTCOME", "STARTED", "TOOK"),
            empty="",
        )
        trace = (attempts[-1].get("failure") or {}).get("traceback")
        if trace:
            say("\n" + trace.rstrip())


def _failure_text(failure: "View") -> str:
    return f"{failure['type']}: {failure['message']}"


def _took(view: "View") -> float | None:
    if not view.get("started_at") or not view.get("finished_at"):
        return None
    return _between(view["started_at"], view["finished_at"])


def _between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
