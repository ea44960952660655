"""From the trigger to the recorded end, over calling the Langflow flow directly in a process that is warm."""

import json
import statistics
import time
from pathlib import Path

from tests.bench.setting import engine

from overnight.agents import AgentDocument
from overnight.core import fire, lifecycle
from overnight.flows import Allowed, Call, CallInput, LangflowFlow, preload, run

RUNS = 60
FLOW = Path(__file__).parents[3] / "examples" / "flows" / "hello.json"


def measure() -> dict[str, float]:
    text = FLOW.read_text()
    preload()
    direct = []
    for number in range(RUNS + 5):
        began = time.perf_counter()
        call = Call(
            f"{number:032}", "agent", "agent", 1, LangflowFlow(text), CallInput(input_value="hi", session_id="s")
        )
        run(call, Allowed())
        direct.append((time.perf_counter() - began) * 1000)
    through = []
    with engine() as opened:
        digest = opened.ports.blobs.put(json.dumps(json.loads(text)).encode())
        document = {"name": "agent", "flow": {"langflow": digest}, "enabled": True, "input": {"input_value": "hi"}}
        lifecycle.create(opened.ports, AgentDocument.model_validate(document))
        opened.warm(120, langflow=True)
        for _ in range(RUNS + 20):
            began = time.perf_counter()
            id_ = fire.trigger(opened.ports, "agent").execution.id
            while not opened.ports.store.execution(id_).status.terminal:
                time.sleep(0.0005)
            through.append((time.perf_counter() - began) * 1000)
    a, b = statistics.median(direct[5:]), statistics.median(through[20:])
    return {"called directly, median ms": a, "through Overnight, median ms": b, "overhead, ms": b - a}
