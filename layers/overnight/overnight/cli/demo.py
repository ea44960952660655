# ruff: noqa: PLC0415 - the engine and Rich take a while to import, and `--help` needs none of it
"""The demo: an engine on a temporary folder, agents that run by themselves, a worker that is killed, and the proof."""

import logging
import os
import shlex
import signal
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from overnight.cli.apply import apply
from overnight.cli.failure import Failure
from overnight.cli.noun import examples, noun
from overnight.cli.program import program
from overnight.cli.terminal import console, grid, interactive, say, status_text
from overnight.cli.verify import verify

if TYPE_CHECKING:
    from rich.console import Group

    from overnight.client import Client
    from overnight.embedded.engine import Engine

__all__ = ["app"]

app = noun()

SECONDS = 26.0
KILL_AFTER_SECONDS = 7.0
EVENT_AFTER_SECONDS = 4.0
TELLING = frozenset(
    {
        "attempt.lost",
        "execution.dead_lettered",
        "execution.retry_scheduled",
        "execution.skipped",
        "execution.started",
        "execution.succeeded",
    }
)


@app.command(epilog=examples("overnight demo", "overnight demo --seconds 60"))
def demo(
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="SECONDS", min=15, max=3_600, help="How long it runs.")
    ] = SECONDS,
) -> None:
    """Watch agents work unattended for half a minute.

    Starts an engine on a temporary folder with the agents of examples/agents.yaml, sends an event, kills a worker in
    mid-run, and proves in the end that nothing was lost, doubled or left stuck.
    """
    folder = _examples()
    news = _News()
    with _engine(folder, news) as (engine, url):
        from overnight.client import Client

        say(f"An engine serves at {url}. It applies {folder.name}/agents.yaml:\n")
        apply(folder / "agents.yaml", url=url)
        say("", at_once=True)
        with Client(url) as client:
            _watch(client, engine, news, seconds)
            for agent in list(client.every_agent()):
                client.stop(agent["name"])
            _wait_until_idle(client)
        say("\nThe agents are stopped. Did every tick run exactly once? `overnight verify` says:\n")
        verify(url=url)
    say(_next(folder))


def _examples() -> Path:
    """The folder of the demo's agents: in the package, or in the checkout that it is installed from."""
    for folder in (Path(str(files("overnight.cli") / "examples")), Path(__file__).parents[4] / "examples"):
        if (folder / "agents.yaml").is_file():
            return folder
    raise Failure("the demo's agents, examples/agents.yaml, are not installed")


@contextmanager
def _engine(folder: Path, news: "_News") -> Iterator[tuple["Engine", str]]:
    """An engine on a temporary folder, and its URL."""
    from overnight.embedded.serve import serving
    from overnight.embedded.wiring import Settings, open_engine

    logger = logging.getLogger("overnight")
    logger.addHandler(news)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    say("Starting an engine on a temporary folder; getting Langflow ready takes some seconds.", at_once=True)
    with tempfile.TemporaryDirectory(prefix="overnight-demo-") as data:
        engine = open_engine(Settings(data=Path(data), folders=(folder,), workers=6))
        with serving(engine, port=0, drain_seconds=5) as url:
            if not engine.warm(60, langflow=True):
                raise Failure("no worker process started within a minute")
            yield engine, url


class _News(logging.Handler):
    """The latest lifecycle events, as a person reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=9)
        self.seen = interactive()
        """Whether a person sees the live table, which has these lines below it; else each is printed."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it; where nobody sees a live table, say it."""
        facts = getattr(record, "facts", {})
        if record.getMessage() in TELLING:
            self.add(_news(record.getMessage(), facts))

    def add(self, text: str) -> None:
        """One line, with its time."""
        line = f"{datetime.now(UTC):%H:%M:%S}  {text}"
        self.lines.append(line)
        if not self.seen:
            say(line, at_once=True)


def _news(event: str, facts: dict[str, Any]) -> str:
    agent = facts.get("agent", "")
    what = event.partition(".")[2].replace("_", " ")
    detail = facts.get("error") or facts.get("reason") or ""
    if event == "execution.started":
        what, detail = f"attempt {facts.get('attempt')} started", ""
        if (late := facts.get("lateness_seconds")) is not None and late < 1:
            detail = f"{late * 1000:.0f} ms after its time"
    return f"{agent:<11} {what:<18} {detail}".rstrip()


def _watch(client: "Client", engine: "Engine", news: _News, seconds: float) -> None:
    """Show what happens, and do what makes it interesting: an event, and a worker killed in mid-run."""
    from rich.live import Live

    began = time.monotonic()
    client.trigger("survivor")
    plot = [(EVENT_AFTER_SECONDS, _send_event), (KILL_AFTER_SECONDS, _kill_worker)]
    with Live(console=console(), refresh_per_second=4, transient=False, auto_refresh=False) as live:
        while (passed := time.monotonic() - began) < seconds:
            if plot and passed >= plot[0][0]:
                plot.pop(0)[1](client, engine, news)
            if news.seen:
                live.update(_picture(client, news, seconds - passed), refresh=True)
            time.sleep(0.25)
        live.update(_picture(client, news, 0), refresh=True)


def _send_event(client: "Client", engine: "Engine", news: _News) -> None:  # noqa: ARG001 - as its twin
    sent = client.send_event("dataset.uploaded", data={"name": "sales-2026", "rows": 48_000})
    news.add(f"** event dataset.uploaded sent: {len(sent['execution_ids'])} agents subscribe to it")


def _kill_worker(client: "Client", engine: "Engine", news: _News) -> None:
    """Kill the process in which `survivor` runs, as the kernel does when memory runs out."""
    (execution,) = client.executions(agent="survivor", limit=1)["items"]
    worker = engine.worker_of(execution["id"])
    if worker is None:
        raise Failure("the agent `survivor` is not running")
    os.kill(worker, signal.SIGKILL)
    news.add(f"** worker process {worker} of survivor killed (SIGKILL)")


def _picture(client: "Client", news: _News, left: float) -> "Group":
    """The live table: how every agent stands, and the latest events."""
    from rich.console import Group
    from rich.text import Text

    counts: dict[str, Counter[str]] = {}
    for execution in client.executions(limit=200)["items"]:
        counts.setdefault(execution["agent"], Counter())[execution["status"]] += execution["count"]
    rows = []
    for agent in client.every_agent():
        count = counts.get(agent["name"], Counter())
        rows.append(
            (
                agent["name"],
                status_text(agent["status"]),
                *(str(n) if n else "" for n in (agent["running"], agent["waiting"])),
                *(str(count[word] or "") for word in ("retrying", "succeeded", "failed", "skipped")),
            )
        )
    headings = ("AGENT", "STATUS", "RUNNING", "WAITING", "RETRYING", "SUCCEEDED", "FAILED", "SKIPPED")
    below = f"{left:.0f} s to go; Ctrl-C ends it" if left else ""
    lines = ["", *news.lines, "", below] if news.seen else []
    return Group(
        grid(headings, rows, keep=headings), *(Text(line, overflow="ellipsis", no_wrap=True) for line in lines)
    )


def _wait_until_idle(client: "Client", seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while any(agent["running"] for agent in client.every_agent()) and time.monotonic() < deadline:
        time.sleep(0.1)


def _next(folder: Path) -> str:
    overnight = program()
    flow = folder / "flows" / "hello.json"
    where = flow.relative_to(Path.cwd()) if flow.is_relative_to(Path.cwd()) else flow
    steps = (
        f'{overnight} run {shlex.quote(str(where))} --input "Good night"',
        f'{overnight} schedules preview --cron "0 8 * * 1-5" --timezone Europe/Berlin --count 5',
        f"{overnight} init nightly",
    )
    return "\nThree things to try next:\n" + "\n".join(f"  {step}" for step in steps)
