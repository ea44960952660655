"""Run every measurement in a process of its own, and print them beside what is to be reached.

python -m tests.bench [NAME …]
"""

import json
import os
import platform
import subprocess
import sys
from importlib import import_module
from pathlib import Path

MEASURES = {
    "throughput": "Overnight on SQLite, no-op Python agent, full history  (to reach: 1,000 executions/s)",
    "huey_peer": "Huey on SQLite, fsync, results kept",
    "pickup": "Pickup of a manual trigger  (to reach: p95 under 20 ms)",
    "lateness": "Lateness of ticks with 10,000 armed schedules  (to reach: p99 under 50 ms, never early)",
    "idle": "Idle  (to reach: under 1 % of a core)",
    "webhooks": "Signed deliveries from 50 connections, durable and run",
    "webhooks_peer": "A bare uvicorn application that only verifies and inserts them",
    "bundles": "Cold start: importing each packaged function, beside what it imports  (to reach: 1.3 times)",
    "bookkeeping": "Bookkeeping of a million scheduled executions on AWS, without their flows",
    "overhead": "Overhead over calling a Langflow flow directly  (to reach: under 5 ms)",
}


def main(names: list[str]) -> int:
    """Print all of them, or those named."""
    if names[:1] == ["--one"]:
        print(json.dumps(import_module(f"tests.bench.measures.{names[1]}").measure()))
        return 0
    python, load = platform.python_version(), os.getloadavg()[0]
    print(f"{platform.platform()}, Python {python}, {os.cpu_count()} cores, load {load:.1f}\n")
    failed = 0
    for name in names or MEASURES:
        print(MEASURES[name], flush=True)
        command = [sys.executable, "-m", "tests.bench", "--one", name]
        done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
        if done.returncode:
            failed = 1
            print(f"  failed: {done.stderr.strip().splitlines()[-1]}\n")
            continue
        for what, figure in json.loads(done.stdout.splitlines()[-1]).items():
            print(f"  {what:<36} {figure:>10,.2f}")
        print(flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
