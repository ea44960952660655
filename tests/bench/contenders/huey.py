"""Huey: a queue in SQLite, and a consumer whose workers, processes or threads, look for work every 1 to 10 ms."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from huey import SqliteHuey
from tests.bench import flows
from tests.bench.contenders.contender import WORKERS, Contender, Tally

FILE = "BENCH_HUEY"


def open_huey(file: Path | str) -> SqliteHuey:
    """A queue that keeps the results of its tasks, also where they are nothing."""
    return SqliteHuey("bench", filename=str(file), fsync=True, journal_mode="wal", timeout=60, store_none=True)


def tasks_of(opened: SqliteHuey) -> dict[str, Callable[[], object]]:
    """What queues each of the tasks."""
    return {name: opened.task(name=name)(getattr(flows, name)) for name in ("nothing", "tell")}


class Peer(Contender):
    """The queue in this process, the consumer in its own. Results of tasks are kept, as nobody reads them."""

    def __init__(self, folder: Path, url: str | None = None, workers: str = "process") -> None:
        super().__init__(folder, url)
        self._workers = workers
        self._file = folder / "huey.db"
        self._tasks = tasks_of(open_huey(self._file))
        self._consumer: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "huey.bin.huey_consumer", f"{__name__}.huey"]
        command += ["-w", str(WORKERS), "-k", self._workers, "-d", "0.001", "-m", "0.01", "-n", "-q"]
        environment = os.environ | {FILE: str(self._file)}
        self._consumer = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    def queue(self, task: str) -> None:
        self._tasks[task]()

    def tally(self) -> Tally:
        return Tally(self._file, "SELECT count(*) FROM kv")

    def stop(self) -> None:
        if self._consumer is not None:
            self._consumer.terminate()
            self._consumer.wait()


if FILE in os.environ:  # this is the consumer
    huey = open_huey(os.environ[FILE])
    tasks_of(huey)
