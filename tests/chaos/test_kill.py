"""The engine and its workers are killed at random moments, with executions of every kind under way."""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.support.engine_process import EngineProcess, engine_process, eventually

from overnight.client import ApiError, NoEngine

AGENTS = """
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
"""

RETRIES = {"attempts": 50, "backoff_seconds": 0.1, "backoff": "fixed", "jitter": "none"}


def documents() -> list[dict]:
    def agent(name: str, flow: str, **rest: object) -> dict:
        return {"name": name, "flow": {"python": f"chaos_agents:{flow}"}, "enabled": True, "retries": RETRIES, **rest}

    every = {"schedule": {"interval": {"seconds": 1}}}
    return [
        agent("ticks", "quick", **every),
        agent("queue", "slow", concurrency={"max_parallel": 2, "queue_limit": 1000}, **every),
        agent("skip", "slow", concurrency={"on_overlap": "skip"}, **every),
        agent("newest", "slow", concurrency={"on_overlap": "queue_one"}, **every),
        agent("moody", "moody", concurrency={"max_parallel": 3}, **every),
        agent("manual", "quick", concurrency={"max_parallel": None}),
        agent("follower", "quick", triggers=[{"name": "on", "event": {"name": "overnight.execution.succeeded",
              "filter": "agent == 'manual'"}}], concurrency={"max_parallel": 5, "queue_limit": 1000}),
        agent("reader", "quick", triggers=[{"name": "on", "event": {"name": "news.*"}}],
              concurrency={"max_parallel": 5, "queue_limit": 1000}),
    ]  # fmt: skip


def storm(engine: EngineProcess, chance: random.Random, seconds: float) -> tuple[set[str], set[str]]:
    """Trigger, send and kill for a while; the executions and events that were acknowledged."""
    triggered: set[str] = set()
    events: set[str] = set()
    until = time.monotonic() + seconds
    number = 0
    next_kill = time.monotonic() + chance.uniform(0.5, 2)
    while time.monotonic() < until:
        number += 1
        with contextlib.suppress(NoEngine, ApiError), engine.client() as client:
            triggered.add(client.trigger("manual", idempotency_key=f"key-{number}")["id"])
            client.send_event("news.late", event_id=f"event-{number}", data={"number": number})
            events.add(f"event-{number}")
        time.sleep(chance.uniform(0, 0.05))
        if time.monotonic() > next_kill:
            next_kill = time.monotonic() + chance.uniform(0.5, 2.5)
            workers = engine.workers()
            if workers and chance.random() < 0.6:
                try:
                    os.kill(chance.choice(workers), signal.SIGKILL)
                except ProcessLookupError:
                    continue
            else:
                engine.kill()
                time.sleep(chance.uniform(0, 1))
                engine.start()
    return triggered, events


def every_execution(engine: EngineProcess, **where: str) -> list[dict]:
    found: list[dict] = []
    cursor = None
    with engine.client() as client:
        while True:
            page = client.executions(cursor=cursor, limit=200, **where)
            found += page["items"]
            cursor = page["cursor"]
            if cursor is None:
                return found


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_doubled_or_stuck_however_often_engine_and_workers_are_killed(tmp_path: Path, seed: int):
    chance = random.Random(seed)
    project = tmp_path / "project"
    project.mkdir()
    (project / "chaos_agents.py").write_text(AGENTS)
    with engine_process(tmp_path / "data", project, "--workers", "4", "--drain-seconds", "5") as engine:
        with engine.client() as client:
            for document in documents():
                client.create_agent(document)

        triggered, events = storm(engine, chance, 25)

        # Retries and what was lost in between come to an end by themselves.
        with engine.client() as client:
            for document in documents():
                if "schedule" in document:
                    client.pause(document["name"])

            def idle() -> bool:
                unfinished = ("pending", "running", "retrying")
                waits = any(client.executions(status=status, limit=1)["items"] for status in unfinished)
                for document in documents():
                    if "schedule" in document and client.agent(document["name"])["waiting"]:
                        client.resume(document["name"])
                        client.pause(document["name"])
                return not waits

            eventually(idle, 180, every=1.0)
            report = client.verify()
        assert report["findings"] == []
        assert report["ticks"] > 50

        executions = every_execution(engine)
        by_id = {execution["id"]: execution for execution in executions}
        assert triggered <= by_id.keys(), "an acknowledged trigger is lost"
        assert all(by_id[id_]["status"] == "succeeded" for id_ in triggered)
        read = {e["dedupe_key"] for e in executions if e["agent"] == "reader"}
        assert {f"event:{event}" for event in events} <= read, "an acknowledged event is lost"
        followed = [e for e in executions if e["agent"] == "follower"]
        assert len(followed) == len([e for e in executions if e["agent"] == "manual" and e["status"] == "succeeded"])

        effects = Counter((project / "effects").read_text().splitlines())
        for execution in executions:
            if execution["status"] == "succeeded":
                mark = f"done {execution['agent']} {execution['id']} {execution['attempt']}"
                assert effects[mark] == 1, f"{mark}: {effects[mark]}"
        assert engine.stop() == 0
