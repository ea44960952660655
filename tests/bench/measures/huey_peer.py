"""The same with Huey on SQLite with `fsync`, results kept, as many worker processes; enqueued by 16 threads."""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.measures.throughput import EXECUTIONS, THREADS


def measure() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BENCH_HUEY"] = str(Path(folder) / "huey.db")
        from tests.bench import huey_tasks  # noqa: PLC0415 - it opens the database of the environment

        command = [
            sys.executable,
            "-m",
            "huey.bin.huey_consumer",
            "tests.bench.huey_tasks.huey",
            "-w",
            "4",
            "-k",
            "process",
        ]
        command += ["-d", "0.001", "-m", "0.01", "-n", "-q"]
        consumer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            huey_tasks.nothing().get(blocking=True, timeout=60)
            began = time.monotonic()
            with ThreadPoolExecutor(THREADS) as threads:
                list(threads.map(lambda _: huey_tasks.nothing(), range(EXECUTIONS)))
            admitted = time.monotonic() - began
            while huey_tasks.huey.result_count() < EXECUTIONS:
                if consumer.poll() is not None or time.monotonic() - began > 300:
                    raise RuntimeError("Huey's consumer did not get through")
                time.sleep(0.02)
            seconds = time.monotonic() - began
        finally:
            consumer.terminate()
            consumer.wait()
        return {"executions/s": EXECUTIONS / seconds, "admissions/s": EXECUTIONS / admitted}
