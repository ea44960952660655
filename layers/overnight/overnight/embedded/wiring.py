"""Builds the embedded engine: the only place that knows which adapter fills which port."""

import fcntl
import os
import random
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from overnight.core import events
from overnight.core.due import look_at
from overnight.core.ledger import alarm_at
from overnight.embedded.blobs import FolderBlobStore
from overnight.embedded.bus import LocalBus
from overnight.courier import HttpCourier
from overnight.embedded.engine import Engine
from overnight.embedded.observe import Metrics
from overnight.embedded.secrets import FileSecretStore
from overnight.embedded.slots import Slots
from overnight.embedded.sql import Database, SqlAlarmClock, SqlStore, SqlWorkQueue, open_database
from overnight.embedded.workers import Workers
from overnight.errors import Unavailable
from overnight.executions import Event
from overnight.flows.call import Allowed
from overnight.ports import Ports

__all__ = ["Settings", "open_engine", "open_store"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What an embedded engine is started with."""

    data: Path
    """The folder of everything it keeps; nothing else does."""
    database: str | None = None
    """An SQLAlchemy URL; None is SQLite in the data folder."""
    folders: Sequence[Path] = field(default_factory=lambda: (Path.cwd(),))
    """The folders of the Python agents: what lies below may be run."""
    packages: Sequence[str] = ()
    """Installed top-level packages that may be run, too."""
    workers: int = field(default_factory=lambda: max(4, 2 * (os.cpu_count() or 1)))
    """How many attempts run at once."""
    allow_private: bool = True
    """Whether Langflow servers and receivers of notifications may have private addresses."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    """Where `env:NAME` is looked up, and OVERNIGHT_MASTER_KEY."""


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


def open_engine(settings: Settings) -> Engine:
    """Open the data folder and build the engine over it; it isn't started yet.

    Raises Unavailable when another engine has the folder, or the database does not answer; Invalid (`database`).
    """
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = _lock(settings.data)
    metrics = Metrics()
    database = _open_database(settings)
    queue = SqlWorkQueue(database, now)
    store = SqlStore(database, queue, look_at, now)
    clock = SqlAlarmClock(database, alarm_at)
    allowed = Allowed(
        tuple(str(folder.resolve()) for folder in settings.folders), tuple(settings.packages), settings.allow_private
    )
    workers = Workers(settings.workers, allowed, settings.data / "running")
    slots = Slots(workers, settings.workers)
    ports: Ports

    def observe(happened: str, /, **facts: Any) -> None:
        metrics(happened, **facts)
        if happened.startswith("agent.") and facts.get("flow") == "langflow":
            workers.warm(langflow=True)  # lfx takes seconds to import: begin before the first run asks for it

    def fan_out(event: Event) -> object:
        return events.fan_out(ports, event)

    ports = Ports(
        store=store,
        clock=clock,
        queue=queue,
        runner=workers,
        secrets=FileSecretStore(settings.data, settings.environ),
        blobs=FolderBlobStore(settings.data / "blobs"),
        bus=LocalBus(store, fan_out),
        courier=HttpCourier(allow_private=settings.allow_private),
        observe=observe,
        now=now,
        chance=random.random,
        new_id=lambda: uuid.uuid4().hex,
        worker=f"{socket.gethostname()}:{os.getpid()}",
    )

    def close() -> None:
        database.close()
        lock.close()

    engine = Engine(ports, clock, queue, slots, registry=metrics.registry, alone=True, close=close)
    queue.wake = engine.wake_dispatch
    clock.wake = engine.wake_alarms
    return engine


def open_store(settings: Settings) -> tuple[SqlStore, Callable[[], None]]:
    """The store of a data folder, beside an engine or without one, to be read; and what closes it."""
    database = _open_database(settings)
    return SqlStore(database, SqlWorkQueue(database, now), look_at, now), database.close


def _open_database(settings: Settings) -> Database:
    url = settings.database or f"sqlite:///{settings.data.resolve() / 'overnight.db'}"
    return open_database(url)


def _lock(data: Path) -> IO[str]:
    """One engine a data folder: the lock goes with the process, however it ends."""
    file = (data / "engine.lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise Unavailable(f"another engine is using {data}; stop it first, or choose another --data folder") from error
    return file
