"""From the trigger to the recorded end, over calling the Langflow flow directly in a process that is warm."""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.measures.filling import ROOT
from tests.bench.setting import engine
from tests.bench.sizes import Sizes

from overnight.agents import AgentDocument
from overnight.core import fire, lifecycle
from overnight.embedded.engine import Engine
from overnight.flows import Allowed, Call, CallInput, LangflowFlow, preload, run

__all__ = ["measure"]

FLOW = ROOT / "examples" / "flows" / "hello.json"
WARMING = 20
"""Calls that don't count: each of the workers has its first ones among them."""


def measure(sizes: Sizes, folder: Path, url: str | None) -> dict[str, float]:
    """Medians of as many calls of either kind, in turn."""
    text = FLOW.read_text(encoding="utf-8")
    direct, through = [], []
    preload()
    with engine(folder / "data", url) as opened:
        digest = opened.ports.blobs.put(json.dumps(json.loads(text)).encode())
        document = {"name": "agent", "flow": {"langflow": digest}, "enabled": True, "input": {"input_value": "hi"}}
        lifecycle.create(opened.ports, AgentDocument.model_validate(document))
        opened.warm(120, langflow=True)
        for number in range(WARMING + sizes.langflow_runs):
            direct.append(_milliseconds(lambda number=number: _called(text, number)))
            through.append(_milliseconds(lambda: _triggered(opened)))
    a, b = statistics.median(direct[WARMING:]), statistics.median(through[WARMING:])
    return {"called directly, ms": a, "through Overnight, ms": b, "overhead, ms": b - a}


def _called(text: str, number: int) -> None:
    asked = CallInput(input_value="hi", session_id="s")
    run(Call(f"{number:032}", "agent", "agent", 1, LangflowFlow(text), asked), Allowed())


def _triggered(opened: Engine) -> None:
    id_ = fire.trigger(opened.ports, "agent").execution.id
    while not opened.ports.store.execution(id_).status.terminal:
        time.sleep(0.0005)


def _milliseconds(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000
