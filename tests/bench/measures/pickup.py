"""From the record of a manual trigger to the start of its attempt, one at a time."""

import time

from tests.bench.setting import agent, engine, percentiles

from overnight.core import fire

TRIGGERS = 300


def measure() -> dict[str, float]:
    waits = []
    with engine() as opened:
        agent(opened, "agent")
        for _ in range(TRIGGERS):
            id_ = fire.trigger(opened.ports, "agent").execution.id
            while not (row := opened.ports.store.execution(id_)).status.terminal:
                time.sleep(0.001)
            waits.append((row.started_at - row.created_at).total_seconds() * 1000)
            time.sleep(0.005)
    p50, p95, p99 = percentiles(waits, 50, 95, 99)
    return {"p50, ms": p50, "p95, ms": p95, "p99, ms": p99}
