"""What was measured on, as far as a reader needs it to judge the figures; no names, no paths."""

import os
import platform
import sqlite3
import statistics
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

__all__ = ["describe"]

PACKAGES = ("overnight", "sqlalchemy", "psycopg", "huey", "apscheduler", "dbos", "procrastinate", "lfx")
SYNCS = 200

BUSY = 0.5
"""A load above this is told of: what else goes on has a part in every figure."""


def describe(server: dict[str, str] | None) -> dict[str, str]:
    """Machine, versions and what goes on beside it. `server` are the facts of the PostgreSQL server, if one is used."""
    load = f"{', '.join(f'{each:.1f}' for each in os.getloadavg())} (1, 5, 15 minutes)"
    if os.getloadavg()[0] > BUSY:
        load += "; it was busy with other things, so these figures are less than it can do"
    facts = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "CPU": f"{os.cpu_count()} cores, {_cpu()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}, {platform.machine()}",
        "disk": f"{_filesystem()}; a sync of 4 KiB takes {_sync_milliseconds():.2f} ms (median)",
        "load before": load,
        "Python": platform.python_version(),
        "SQLite": f"{sqlite3.sqlite_version}, write-ahead log, synchronous=FULL, for everybody",
    }
    if server is not None:
        facts["PostgreSQL"] = (
            f"{server['server_version']} on the same machine, fsync={server['fsync']}, "
            f"synchronous_commit={server['synchronous_commit']}, shared_buffers={server['shared_buffers']}"
        )
    facts["packages"] = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return facts


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _filesystem() -> str:
    """The kind of the one that temporary folders are on."""
    folder = Path(tempfile.gettempdir()).resolve()
    mounts = [mount for mount in psutil.disk_partitions(all=True) if folder.is_relative_to(mount.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else "unknown"


def _sync_milliseconds() -> float:
    with tempfile.TemporaryFile() as file:
        took = []
        for _ in range(SYNCS):
            began = time.perf_counter()
            os.write(file.fileno(), bytes(4096))
            os.fsync(file.fileno())
            took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)
