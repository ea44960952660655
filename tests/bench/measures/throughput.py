"""Executions a second, end to end with full history: admitted by 16 threads, run by worker processes, recorded."""

import time
from concurrent.futures import ThreadPoolExecutor

from tests.bench.setting import agent, counted, engine, memory_mib, wait_for

from overnight.core import fire

EXECUTIONS = 5_000
AGENTS = 200
THREADS = 16


def measure() -> dict[str, float]:
    with engine() as opened:
        for number in range(AGENTS):
            agent(opened, f"agent-{number}", concurrency={"max_parallel": 16, "queue_limit": 1_000})
        fire.trigger(opened.ports, "agent-0")
        wait_for(opened, "execution.succeeded", 1)
        done = counted(opened, "execution.succeeded")
        began, cpu = time.monotonic(), time.process_time()
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(lambda n: fire.trigger(opened.ports, f"agent-{n % AGENTS}"), range(EXECUTIONS)))
        admitted = time.monotonic() - began
        wait_for(opened, "execution.succeeded", int(done) + EXECUTIONS)
        seconds = time.monotonic() - began
        return {
            "executions/s": EXECUTIONS / seconds,
            "admissions/s": EXECUTIONS / admitted,
            "CPU of the engine, ms/execution": (time.process_time() - cpu) / EXECUTIONS * 1000,
            "memory of the engine, MiB": memory_mib(),
        }
