"""Procrastinate: jobs in PostgreSQL, and a worker that is told of new ones (LISTEN and NOTIFY)."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from procrastinate.connector import BaseConnector
from tests.bench import flows
from tests.bench.contenders.contender import THREADS, WORKERS, Contender, Tally

URL = "BENCH_PROCRASTINATE"


def open_app(connector: BaseConnector) -> tuple[App, dict[str, Callable[[], object]]]:
    """An application, and what queues each of the tasks."""
    opened = App(connector=connector)
    return opened, {name: opened.task(name=name)(getattr(flows, name)).defer for name in ("nothing", "tell")}


class Peer(Contender):
    """The queue in this process, the worker in its own."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        super().__init__(folder, url)
        assert url is not None
        self._url = url
        self._app, self._tasks = open_app(SyncPsycopgConnector(conninfo=url, min_size=THREADS, max_size=THREADS))
        self._worker: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._app.open()
        self._app.schema_manager.apply_schema()
        command = [sys.executable, "-m", "procrastinate", f"--app={__name__}.app", "worker", f"--concurrency={WORKERS}"]
        environment = os.environ | {URL: self._url}
        self._worker = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    def queue(self, task: str) -> None:
        self._tasks[task]()

    def tally(self) -> Tally:
        return Tally(self._url, "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'")

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.terminate()
            self._worker.wait()
        self._app.close()


if URL in os.environ:  # this is the worker
    app, _ = open_app(PsycopgConnector(conninfo=os.environ[URL]))
