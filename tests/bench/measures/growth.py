"""How what people ask of `overnight serve` through its API grows with the number of agents, and with the history."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from tests.bench.measures.filling import fill
from tests.bench.setting import HERE
from tests.bench.sizes import Sizes
from tests.support.engine_process import EngineProcess, eventually

from overnight.client import Client
from overnight.cursors import encode

__all__ = ["agents", "history"]

AGENTS_WITH_HISTORY = 100
ENOUGH_MILLISECONDS = 2_000

Call = Callable[[], object]
Figures = Mapping[str, Mapping[str, list[float]]]


def agents(sizes: Sizes, folder: Path, url: str | None) -> Figures:
    """More and more agents, armed, without a history."""
    return _grow(sizes.agents, "agents", lambda size: size, sizes, folder, url)


def history(sizes: Sizes, folder: Path, url: str | None) -> Figures:
    """More and more executions of a hundred agents, ticks of a month at most."""
    many = min(AGENTS_WITH_HISTORY, *sizes.executions)
    return _grow(sizes.executions, "history", lambda _: many, sizes, folder, url)


def _grow(
    stages: tuple[int, ...],
    kind: str,
    agents_at: Callable[[int], int],
    sizes: Sizes,
    folder: Path,
    url: str | None,
) -> Figures:
    grown: dict[str, dict[str, list[float]]] = {}
    data, filled = folder / "data", 0
    for stage in stages:
        numbers = (filled, stage) if kind == "agents" else (agents_at(stage), filled, stage)
        fill(data, url, kind, *numbers)
        filled = stage
        for name, values in _stage(sizes, folder, url, agents_at(stage)):
            grown.setdefault(name, {}).setdefault(f"{stage:,}", []).extend(values)
        if url is None:
            grown.setdefault("database, MiB", {})[f"{stage:,}"] = [(data / "overnight.db").stat().st_size / 2**20]
    return grown


def _stage(sizes: Sizes, folder: Path, url: str | None, many: int) -> Iterator[tuple[str, list[float]]]:
    """Start it some times, then ask it everything."""
    database = ("--database", url) if url else ()
    process = EngineProcess(folder / "data", HERE, "--log-level", "ERROR", "--workers", "2", *database)
    for start in range(sizes.starts):
        yield "start to the first result, ms", [_milliseconds(lambda: _started(process))]
        if start < sizes.starts - 1:
            process.stop()
    try:
        with Client(process.url, timeout_seconds=900) as client:
            for name, call in _calls(client, many).items():
                yield name, _repeated(call, sizes.calls)
        yield "memory of the engine, MiB", [psutil.Process(process.pid).memory_full_info().uss / 2**20]
    finally:
        process.stop()


def _started(process: EngineProcess) -> None:
    """Launch it, and have it run something."""
    process.launch()
    with process.client() as client:
        eventually(process.answers, 120, every=0.01)
        id_ = client.trigger("agent-000000")["id"]
        eventually(lambda: client.execution(id_)["status"] == "succeeded", 120, every=0.01)


def _calls(client: Client, many: int) -> dict[str, Call]:
    """What is asked, by the names that the page has."""
    now = datetime.now(UTC)
    since = (now - timedelta(minutes=30)).isoformat()
    agent = f"agent-{many // 2:06}"
    execution = client.trigger(agent)["id"]
    return {
        "list agents, ms": client.agents,
        "list agents, from the middle, ms": lambda: client.agents(cursor=encode(agent)),
        "list agents, of a status that none has, ms": lambda: client.agents(status="PAUSED"),
        "show an agent, ms": lambda: client.agent(agent),
        "list schedules, ms": client.schedules,
        "list webhooks, of which there are none, ms": client.webhooks,
        "list executions, ms": client.executions,
        "list executions of an agent, ms": lambda: client.executions(agent=agent),
        "list failed executions, ms": lambda: client.executions(status="failed"),
        "list failed executions of an agent, ms": lambda: client.executions(agent=agent, status="failed"),
        "list executions by webhooks, of which there are none, ms": lambda: client.executions(kind="webhook"),
        "list executions by a reason that none has, ms": lambda: client.executions(reason="depth"),
        "list executions of a trigger that none has, ms": lambda: client.executions(trigger="none"),
        "show an execution, ms": lambda: client.execution(execution),
        "trigger, ms": lambda: client.trigger(agent),
        "verify an agent, half an hour, ms": lambda: client.verify(agent=agent, since=since),
        "verify all agents, half an hour, ms": lambda: client.verify(since=since),
    }


def _repeated(call: Call, calls: int) -> list[float]:
    """How long each took, in milliseconds; what takes long is not repeated as often."""
    took: list[float] = []
    while len(took) < calls and sum(took) < ENOUGH_MILLISECONDS:
        took.append(_milliseconds(call))
    return took


def _milliseconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000
