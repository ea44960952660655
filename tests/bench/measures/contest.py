"""What each contender is measured by, side by side: idle, pickup, throughput."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from tests.bench.contenders import CONTENDERS
from tests.bench.contenders.contender import Contender
from tests.bench.flows import TOLD
from tests.bench.setting import cpu_seconds, percentiles, server_seconds
from tests.bench.sizes import Sizes

__all__ = ["TOPICS", "measure"]


def throughput(contender: Contender, sizes: Sizes) -> dict[str, float]:
    """Tasks a second from the first that is queued to the last that is recorded, 16 threads queueing meanwhile."""
    before = contender.finished()
    began, used, of_server, machine = time.monotonic(), cpu_seconds(), server_seconds(), psutil.cpu_times()
    contender.queue_many(sizes.tasks)
    queued = time.monotonic() - began
    contender.wait(before + sizes.tasks)
    seconds = time.monotonic() - began
    spent = [after - before for before, after in zip(machine, psutil.cpu_times(), strict=True)]
    waited = sum(spent[machine._fields.index(kind)] for kind in ("idle", "iowait") if kind in machine._fields)
    return {
        "executions/s": sizes.tasks / seconds,
        "queued/s": sizes.tasks / queued,
        "CPU, ms an execution": (cpu_seconds() - used) / sizes.tasks * 1000,
        "server, ms": (server_seconds() - of_server) / sizes.tasks * 1000,
        "cores in use, %": (1 - waited / sum(spent)) * 100,
    }


def pickup(contender: Contender, sizes: Sizes) -> dict[str, float]:
    """From the call that queues a task to the task's first line, one at a time."""
    with Path(os.environ[TOLD]).open("rb", buffering=0) as told:
        waits = []
        for _ in range(sizes.pickups):
            called = time.time()
            contender.queue("tell")
            while not (line := told.readline()):
                time.sleep(0.0005)
            waits.append((float(line) - called) * 1000)
            time.sleep(0.01)
    p50, p95, p99 = percentiles(waits, 50, 95, 99)
    return {"p50, ms": p50, "p95, ms": p95, "p99, ms": p99}


def idle(contender: Contender, sizes: Sizes) -> dict[str, float]:
    """What it costs while there is nothing to do, without the database's server."""
    time.sleep(1)
    began, used = time.monotonic(), cpu_seconds()
    time.sleep(sizes.idle_seconds)
    return {"CPU, % of a core": (cpu_seconds() - used) / (time.monotonic() - began) * 100}


TOPICS = {"idle": idle, "pickup": pickup, "throughput": throughput}


def measure(
    name: str, topics: Sequence[str], sizes: Sizes, folder: Path, url: str | None
) -> dict[str, dict[str, float]]:
    """Start the contender once, and measure it by these topics."""
    told = folder / "told"
    told.touch()
    os.environ[TOLD] = str(told)
    with CONTENDERS[name].build(folder, url).open() as contender:
        return {topic: TOPICS[topic](contender, sizes) for topic in TOPICS if topic in topics}
