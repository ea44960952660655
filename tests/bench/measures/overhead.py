"""From the trigger to the recorded end, over calling the Langflow flow directly in a process that is warm."""

import json
import statistics
import time
from pathlib import Path

from tests.bench.measures.filling import ROOT
from tests.bench.setting import engine
from tests.bench.sizes import Sizes

from overnight.agents import AgentDocument
from overnight.core import fire, lifecycle
from overnight.flows import Allowed, Call, CallInput, LangflowFlow, preload, run

__all__ = ["measure"]

FLOW = ROOT / "examples" / "flows" / "hello.json"
WARMING = 5


def measure(sizes: Sizes, folder: Path, url: str | None) -> dict[str, float]:
    """Medians of as many calls of either kind."""
    runs = sizes.langflow_runs
    text = FLOW.read_text(encoding="utf-8")
    direct = statistics.median(_direct(text, runs + WARMING)[WARMING:])
    through = statistics.median(_through(text, runs + 4 * WARMING, folder, url)[4 * WARMING :])
    return {"called directly, ms": direct, "through Overnight, ms": through, "overhead, ms": through - direct}


def _direct(text: str, runs: int) -> list[float]:
    preload()
    took = []
    for number in range(runs):
        asked = CallInput(input_value="hi", session_id="s")
        began = time.perf_counter()
        run(Call(f"{number:032}", "agent", "agent", 1, LangflowFlow(text), asked), Allowed())
        took.append((time.perf_counter() - began) * 1000)
    return took


def _through(text: str, runs: int, folder: Path, url: str | None) -> list[float]:
    took = []
    with engine(folder / "data", url) as opened:
        digest = opened.ports.blobs.put(json.dumps(json.loads(text)).encode())
        document = {"name": "agent", "flow": {"langflow": digest}, "enabled": True, "input": {"input_value": "hi"}}
        lifecycle.create(opened.ports, AgentDocument.model_validate(document))
        opened.warm(120, langflow=True)
        for _ in range(runs):
            began = time.perf_counter()
            id_ = fire.trigger(opened.ports, "agent").execution.id
            while not opened.ports.store.execution(id_).status.terminal:
                time.sleep(0.0005)
            took.append((time.perf_counter() - began) * 1000)
    return took
