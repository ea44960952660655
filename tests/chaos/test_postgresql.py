"""Four engines on one PostgreSQL: engines and workers are killed at random, and the database crashes twice."""

import base64
import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.effects import Effects, agent, check_gathered, come_to_rest, every_execution, mixed
from tests.support.engine_process import EngineProcess, eventually
from tests.support.postgresql import Server

from overnight.client import ApiError, NoEngine

ENGINES = 4
STORM_SECONDS = int(os.environ.get("OVERNIGHT_CHAOS_SECONDS", "75"))
"""300 make 10,000 ticks."""
TICKING = [agent(f"tick-{number}", "quick", ticks=True) for number in range(24)]
PRINTING = [agent(f"talk-{number}", "talkative", ticks=True) for number in range(4)]
DOCUMENTS = [*mixed(), *TICKING, *PRINTING]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


class Fleet:
    """Engines with a folder of their own each, and nothing in common but the database and the key."""

    def __init__(self, folder: Path, project: Path, url: str, chance: random.Random) -> None:
        self.chance = chance
        more = ("--workers", "3", "--drain-seconds", "3", "--database", url)
        self.engines = [EngineProcess(folder / f"engine-{number}", project, *more) for number in range(ENGINES)]
        self.dead: dict[EngineProcess, float] = {}
        self.starting: list[EngineProcess] = []

    @property
    def any(self) -> EngineProcess:
        absent = {*self.dead, *self.starting}
        return self.chance.choice([engine for engine in self.engines if engine not in absent])

    def strike(self) -> None:
        """Kill a worker or an engine, or ask one to end, with what it does put back."""
        engine = self.any
        workers = engine.workers()
        if workers and self.chance.random() < 0.5:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.chance.choice(workers), signal.SIGKILL)
        elif len(self.dead) + len(self.starting) < ENGINES - 1:
            if self.chance.random() < 0.3:
                assert engine.stop() == 0
            else:
                engine.kill()
            self.dead[engine] = time.monotonic() + self.chance.uniform(0, 4)

    def revive(self) -> None:
        """Start those again that have been dead for long enough, or found no database when they were started."""
        for engine in self.starting:
            if engine.ended:
                self.dead[engine] = time.monotonic() + 1
        self.starting = [engine for engine in self.starting if engine not in self.dead and not engine.answers()]
        for engine, at in list(self.dead.items()):
            if time.monotonic() > at:
                engine.launch()
                del self.dead[engine]
                self.starting.append(engine)

    def whole(self) -> bool:
        """Have all of them back; whether they are."""
        self.revive()
        return not self.dead and not self.starting

    def close(self) -> None:
        for engine in self.engines:
            engine.close()


def storm(fleet: Fleet, server: Server) -> tuple[set[str], set[str]]:
    """Trigger, send, and do harm for a while; the executions and events that were acknowledged."""
    triggered: set[str] = set()
    events: set[str] = set()
    began = time.monotonic()
    crashes = [began + STORM_SECONDS / 3, began + STORM_SECONDS * 2 / 3]
    next_strike = began + 2
    number = 0
    while time.monotonic() < began + STORM_SECONDS:
        number += 1
        with contextlib.suppress(NoEngine, ApiError), fleet.any.client() as client:
            triggered.add(client.trigger("manual", idempotency_key=f"key-{number}")["id"])
        with contextlib.suppress(NoEngine, ApiError), fleet.any.client() as client:
            client.send_event("news.late", event_id=f"event-{number}", data={"number": number})
            events.add(f"event-{number}")
        if crashes and time.monotonic() > crashes[0]:
            crashes.pop(0)
            server.crash()
            time.sleep(2)
            with fleet.any.client() as client, pytest.raises(ApiError) as refused:
                client.health()
            assert refused.value.status == 503
            server.start()
            eventually(fleet.any.answers)
        elif time.monotonic() > next_strike:
            next_strike = time.monotonic() + fleet.chance.uniform(0.5, 2.5)
            fleet.strike()
        fleet.revive()
        time.sleep(fleet.chance.uniform(0.05, 0.2))
    assert crashes == [], "the database did not crash twice"
    return triggered, events


@pytest.mark.slow
@pytest.mark.timeout(600 + 3 * STORM_SECONDS)
def test_nothing_is_lost_doubled_or_stuck_whichever_engine_dies_and_though_the_database_crashes(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OVERNIGHT_MASTER_KEY", base64.b64encode(os.urandom(32)).decode())
    effects = Effects(tmp_path / "project")
    fleet = Fleet(tmp_path, tmp_path / "project", server.url, random.Random(1))
    try:
        for engine in fleet.engines:
            engine.launch()
        for engine in fleet.engines:
            eventually(engine.answers)
        with fleet.any.client() as client:
            for document in DOCUMENTS:
                client.create_agent(document)

        triggered, events = storm(fleet, server)

        eventually(fleet.whole, 60)
        with fleet.any.client() as client:
            come_to_rest(client, DOCUMENTS)
            report = client.verify()
            executions = every_execution(client)
        assert report["findings"] == []
        assert report["ticks"] > 20 * STORM_SECONDS

        by_id = {execution["id"]: execution for execution in executions}
        assert triggered <= by_id.keys(), "an acknowledged trigger is lost"
        assert all(by_id[id_]["status"] == "succeeded" for id_ in triggered)
        read = {execution["dedupe_key"] for execution in executions if execution["agent"] == "reader"}
        assert {f"event:{event}" for event in events} <= read, "an acknowledged event is lost"
        with fleet.any.client() as client:
            check_gathered(client, executions, events)
        effects.check(executions)
        assert [engine.stop() for engine in fleet.engines] == [0] * ENGINES
    finally:
        fleet.close()
