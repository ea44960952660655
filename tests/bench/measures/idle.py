"""What an engine with a hundred armed schedules costs while nothing is due."""

import time

from tests.bench.setting import agent, engine

SECONDS = 15


def measure() -> dict[str, float]:
    with engine() as opened:
        for number in range(100):
            agent(opened, f"agent-{number}", triggers=[{"name": "schedule", "cron": "0 3 * * *"}])
        time.sleep(3)
        began, cpu = time.monotonic(), time.process_time()
        time.sleep(SECONDS)
        return {"CPU of the engine, %": (time.process_time() - cpu) / (time.monotonic() - began) * 100}
