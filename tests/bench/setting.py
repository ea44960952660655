"""An engine to measure: the real one, on a temporary folder, without HTTP."""

import logging
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from overnight.agents import AgentDocument
from overnight.core import lifecycle
from overnight.embedded.engine import Engine
from overnight.embedded.wiring import Settings, open_engine

HERE = Path(__file__).parent


@contextmanager
def engine(*, workers: int = 4, started: bool = True) -> Iterator[Engine]:
    """An engine with its workers warm."""
    logging.getLogger("overnight").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        opened = open_engine(Settings(Path(folder), folders=(HERE,), workers=workers))
        try:
            if started:
                opened.start()
                opened.warm(120)
            yield opened
        finally:
            opened.stop(5)


def agent(opened: Engine, name: str, flow: str = "nothing", **rest: object) -> None:
    """An active agent."""
    document = {"name": name, "flow": {"python": f"flows:{flow}"}, "enabled": True, **rest}
    lifecycle.create(opened.ports, AgentDocument.model_validate(document))


def counted(opened: Engine, event: str) -> float:
    """How often a lifecycle event has happened."""
    return opened.registry.get_sample_value("overnight_lifecycle_events_total", {"event": event}) or 0.0


def wait_for(opened: Engine, event: str, count: int, seconds: float = 300) -> None:
    """Until it has happened so often."""
    deadline = time.monotonic() + seconds
    while counted(opened, event) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{event}: {counted(opened, event)} of {count} after {seconds:g} s")
        time.sleep(0.002)


def percentiles(values: Sequence[float], *wanted: int) -> list[float]:
    """Of the values, in their own unit."""
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return [cuts[each - 1] for each in wanted]


def memory_mib() -> float:
    """The largest this process has been."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
