"""The engine and its workers are killed at random moments, with executions of every kind under way."""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest
from tests.support.effects import Effects, check_gathered, come_to_rest, every_execution, mixed
from tests.support.engine_process import EngineProcess, engine_process

from overnight.client import ApiError, NoEngine


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


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_doubled_or_stuck_however_often_engine_and_workers_are_killed(tmp_path: Path, seed: int):
    chance = random.Random(seed)
    project = tmp_path / "project"
    effects = Effects(project)
    with engine_process(tmp_path / "data", project, "--workers", "4", "--drain-seconds", "5") as engine:
        with engine.client() as client:
            for document in mixed():
                client.create_agent(document)

        triggered, events = storm(engine, chance, 25)

        # Retries and what was lost in between come to an end by themselves.
        with engine.client() as client:
            come_to_rest(client, mixed())
            report = client.verify()
        assert report["findings"] == []
        assert report["ticks"] > 50

        with engine.client() as client:
            executions = every_execution(client)
        by_id = {execution["id"]: execution for execution in executions}
        assert triggered <= by_id.keys(), "an acknowledged trigger is lost"
        assert all(by_id[id_]["status"] == "succeeded" for id_ in triggered)
        read = {e["dedupe_key"] for e in executions if e["agent"] == "reader"}
        assert {f"event:{event}" for event in events} <= read, "an acknowledged event is lost"
        with engine.client() as client:
            check_gathered(client, executions, events)
        followed = [e for e in executions if e["agent"] == "follower"]
        assert len(followed) == len([e for e in executions if e["agent"] == "manual" and e["status"] == "succeeded"])

        effects.check(executions)
        assert engine.stop() == 0
