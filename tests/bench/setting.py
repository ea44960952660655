"""An engine to measure: the real one, without HTTP; and the processes that belong to this one."""

import base64
import logging
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from overnight.agents import AgentDocument
from overnight.core import lifecycle
from overnight.embedded.engine import Engine
from overnight.embedded.wiring import Settings, open_engine

__all__ = ["HERE", "KEY", "agent", "cpu_seconds", "engine", "memory_mib", "percentiles", "server_seconds"]

HERE = Path(__file__).parent
KEY = base64.b64encode(bytes(range(32))).decode()
"""The master key of every engine here."""


@contextmanager
def engine(data: Path, url: str | None = None, *, workers: int = 4, started: bool = True) -> Iterator[Engine]:
    """An engine with its workers warm, on SQLite in its folder, or on the PostgreSQL database behind the URL."""
    logging.getLogger("overnight").setLevel(logging.ERROR)
    environ = {"OVERNIGHT_MASTER_KEY": KEY}
    opened = open_engine(Settings(data, database=url, folders=(HERE,), workers=workers, environ=environ))
    try:
        if started:
            opened.start()
            opened.warm(120)
        yield opened
    finally:
        opened.stop(5)


def agent(opened: Engine, name: str, flow: str, **rest: object) -> None:
    """An active agent that runs a flow of `tests.bench.flows`."""
    document = {"name": name, "flow": {"python": f"flows:{flow}"}, "enabled": True, **rest}
    lifecycle.create(opened.ports, AgentDocument.model_validate(document))


def percentiles(values: Sequence[float], *wanted: int) -> list[float]:
    """Of the values, in their own unit."""
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return [cuts[each - 1] for each in wanted]


def cpu_seconds() -> float:
    """What this process and all below it that live have used."""
    return sum(sum(process.cpu_times()[:2]) for process in _family())


def server_seconds() -> float:
    """What PostgreSQL's processes on this machine have used, those that have ended, too."""
    processes = psutil.process_iter(["name", "cpu_times"])
    return sum(sum(process.info["cpu_times"][:4]) for process in processes if process.info["name"] == "postgres")


def memory_mib() -> float:
    """What this process and all below it have to themselves."""
    return sum(process.memory_full_info().uss for process in _family()) / 2**20


def _family() -> list[psutil.Process]:
    this = psutil.Process()
    return [this, *this.children(recursive=True)]
