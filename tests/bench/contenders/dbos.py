"""DBOS: a queue of durable workflows in SQLite or PostgreSQL, run by threads of this process."""

import logging
import sqlite3
import time
from pathlib import Path
from typing import Any

from dbos import DBOS
from sqlalchemy import event
from sqlalchemy.engine import Engine
from tests.bench import flows
from tests.bench.contenders.contender import Contender, Tally

QUEUE = "bench"
POLLING_SECONDS = 0.01


class Peer(Contender):
    """All in this process. The queue has no limit, since a workflow that does nothing needs none."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        super().__init__(folder, url)
        self._file = folder / "dbos.db"
        self._workflows = {name: DBOS.workflow(name=name)(getattr(flows, name)) for name in ("nothing", "tell")}

    def start(self) -> None:
        if self.url is None:
            event.listen(Engine, "connect", _write_ahead)
        DBOS(
            config={
                "name": "bench",
                "system_database_url": self.url or f"sqlite:///{self._file}",
                "log_level": "ERROR",
            }
        )
        logging.getLogger("dbos").setLevel(logging.CRITICAL)  # it warns of what SQLite can't do
        DBOS.launch()
        DBOS.register_queue(QUEUE, polling_interval_sec=POLLING_SECONDS)

    def queue(self, task: str) -> None:
        DBOS.enqueue_workflow(QUEUE, self._workflows[task])

    def tally(self) -> Tally:
        table = "workflow_status" if self.url is None else "dbos.workflow_status"
        return Tally(self.url or self._file, f"SELECT count(*) FROM {table} WHERE status = 'SUCCESS'")

    def stop(self) -> None:
        DBOS.destroy(destroy_registry=True)


def _write_ahead(connection: Any, _: object) -> None:
    """Have SQLite use its write-ahead log, as everybody else does here; by itself DBOS leaves it off."""
    if isinstance(connection, sqlite3.Connection):
        if sqlite3.sqlite_version_info < (3, 42):  # it asks for fractions of a second, which older ones don't tell
            connection.create_function("unixepoch", -1, lambda *_: time.time())
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
