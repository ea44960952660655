"""Agents whose side effects are counted from outside: each attempt leaves its marks in a file."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.support.engine_process import eventually

from overnight.client import ApiError, Client

__all__ = ["PARTS", "Effects", "agent", "check_gathered", "come_to_rest", "every_execution", "mixed"]

SOURCE = """
import os, time
from pathlib import Path
EFFECTS = Path(__file__).with_name("effects")

def mark(context, what):
    descriptor = os.open(EFFECTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{what} {context.agent} {context.execution_id} {context.attempt}\\n".encode())
    os.close(descriptor)

def quick(context):
    mark(context, "done")

def slow(context):
    mark(context, "begun")
    time.sleep(0.4)
    mark(context, "done")

def moody(context):
    if context.attempt % 3:
        raise RuntimeError("not in the mood")
    mark(context, "done")

def talkative(context):
    print("as I was saying, " * 100)
    mark(context, "done")
    return "x" * 5_000
"""
PARTS = {"concurrency": {"max_parallel": 5, "queue_limit": 1000}}
EVERY_SECOND = {"schedule": {"interval": {"seconds": 1}}}
UNFINISHED = ("pending", "running", "retrying")
GATHERING: dict[str, dict[str, Any]] = {
    "batches": {"batch": {"size": 5, "window_seconds": 1}},
    "bursts": {"debounce": {"delay_seconds": 0.2, "max_delay_seconds": 1}},
    "begins": {"debounce": {"delay_seconds": 0.2, "max_delay_seconds": 1, "edge": "leading"}},
}
"""Agents that make one execution of many events, and how."""
RETRIES = {"attempts": 50, "backoff_seconds": 0.1, "backoff": "fixed", "jitter": "none"}


def agent(name: str, flow: str, *, ticks: bool = False, **rest: object) -> dict[str, Any]:
    """The document of an agent that runs one of the functions above, every second if it `ticks`."""
    document = {"name": name, "flow": {"python": f"chaos_agents:{flow}"}, "enabled": True, "retries": RETRIES, **rest}
    return {**document, **EVERY_SECOND} if ticks else document


def mixed() -> list[dict[str, Any]]:
    """One of each kind."""
    follow = {"name": "overnight.execution.succeeded", "filter": "agent == 'manual'"}
    return [
        agent("ticks", "quick", ticks=True),
        agent("queue", "slow", ticks=True, concurrency={"max_parallel": 2, "queue_limit": 1000}),
        agent("skip", "slow", ticks=True, concurrency={"on_overlap": "skip"}),
        agent("newest", "slow", ticks=True, concurrency={"on_overlap": "queue_one"}),
        agent("moody", "moody", ticks=True, concurrency={"max_parallel": 3}),
        agent("manual", "quick", concurrency={"max_parallel": None}),
        agent("follower", "quick", triggers=[{"name": "on", "event": follow}], **PARTS),
        agent("reader", "quick", triggers=[{"name": "on", "event": {"name": "news.*"}}], **PARTS),
        *(
            agent(name, "quick", triggers=[{"name": "on", "event": {"name": "news.*"} | how}], **PARTS)
            for name, how in GATHERING.items()
        ),
    ]


class Effects:
    """What attempts did, by their own account."""

    def __init__(self, project: Path) -> None:
        """Put the functions into a new folder."""
        project.mkdir()
        (project / "chaos_agents.py").write_text(SOURCE)
        self._file = project / "effects"

    def check(self, executions: Iterable[dict[str, Any]]) -> None:
        """What succeeded has run to its end, as the attempt that the record says; and no attempt has run twice."""
        marks = Counter(self._file.read_text().splitlines())
        assert [mark for mark, times in marks.items() if times > 1] == [], "an attempt has run twice"
        for execution in executions:
            if execution["status"] == "succeeded":
                mark = f"done {execution['agent']} {execution['id']} {execution['attempt']}"
                assert marks[mark] == 1, f"{mark}: {marks[mark]}"


def every_execution(client: Client, **where: str) -> list[dict[str, Any]]:
    """All that there are, page by page."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = client.executions(cursor=cursor, limit=200, **where)
        found += page["items"]
        cursor = page["cursor"]
        if cursor is None:
            return found


def check_gathered(client: Client, executions: Sequence[dict[str, Any]], events: set[str]) -> None:
    """Each event that was acknowledged is accounted for in exactly one execution of each agent that gathers."""
    for name in GATHERING:
        own = [execution for execution in executions if execution["agent"] == name]
        tells: dict[str, str] = {}
        for batch in (execution for execution in own if execution["dedupe_key"].startswith("batch:")):
            assert batch["status"] == "succeeded"
            for event in client.execution(batch["id"])["payload"]["events"]:
                assert tells.setdefault(event["id"], batch["id"]) == batch["id"], "an event was told twice"
        into = {e["dedupe_key"].removeprefix("event:"): e["into"] for e in own if e["reason"] == "coalesced"}
        assert events <= into.keys(), "an acknowledged event is lost"
        if name == "begins":  # a leading debounce tells of the first event of a burst
            assert tells.items() <= into.items()
            assert set(into.values()) == set(tells.values())
        else:
            assert tells == into


def come_to_rest(client: Client, documents: Iterable[dict[str, Any]], seconds: float = 180) -> None:
    """Let no more ticks come, and wait until everything has ended by itself."""
    ticking = [document["name"] for document in documents if "schedule" in document]
    for name in ticking:
        client.pause(name)

    def rests() -> bool:
        waits = any(client.executions(status=status, limit=1)["items"] for status in UNFINISHED)
        waits = waits or any(_gathers(client, name) for name in GATHERING)
        for name in ticking:
            if client.agent(name)["waiting"]:  # the line of a paused agent stands still
                client.resume(name)
                client.pause(name)
        return not waits

    eventually(rests, seconds, every=1.0)


def _gathers(client: Client, name: str) -> bool:
    """Whether the newest event of an agent still waits for others."""
    newest = client.executions(agent=name, limit=20)["items"]
    into = next((execution["into"] for execution in newest if execution["reason"] == "coalesced"), None)
    if into is None:
        return False
    try:
        client.execution(into)
    except ApiError:
        return True
    return False
