"""Builds the embedded engine: the only place that knows which adapter fills which port."""

import fcntl
import os
import random
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from overnight.core import events
from overnight.core.due import look_at
from overnight.core.ledger import alarm_at
from overnight.courier import HttpCourier
from overnight.embedded.blobs import FolderBlobStore
from overnight.embedded.bus import LocalBus
from overnight.embedded.engine import Engine
from overnight.embedded.inbox import Inbox, prepare
from overnight.embedded.observe import Metrics
from overnight.embedded.secrets import FileSecretStore
from overnight.embedded.shared_runner import SharedRunner
from overnight.embedded.slots import Slots
from overnight.embedded.sql import Database, SqlAlarmClock, SqlStore, SqlWorkQueue, open_database
from overnight.embedded.sql.blobs import SqlBlobStore
from overnight.embedded.sql.deployment import agreed_key
from overnight.embedded.sql.queue import SHARED_VISIBILITY_SECONDS, VISIBILITY_SECONDS
from overnight.embedded.sql.secrets import SqlSecretStore
from overnight.embedded.workers import Workers
from overnight.errors import Unavailable
from overnight.executions import Event
from overnight.flows.call import Allowed
from overnight.ports import BlobStore, Ports, SecretStore

__all__ = ["Settings", "open_engine", "open_store"]

UNUSED_FOR = timedelta(days=1)
"""How long a blob stays that nobody refers to: whoever has put it may not have written the reference yet."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What an embedded engine is started with."""

    data: Path
    """The folder of everything that this engine keeps, and no other engine."""
    database: str | None = None
    """An SQLAlchemy URL; None is SQLite in the data folder. PostgreSQL may be shared with other engines."""
    folders: Sequence[Path] = field(default_factory=lambda: (Path.cwd(),))
    """The folders of the Python agents: what lies below may be run."""
    packages: Sequence[str] = ()
    """Installed top-level packages that may be run, too."""
    workers: int = field(default_factory=lambda: max(4, 2 * (os.cpu_count() or 1)))
    """How many attempts run at once."""
    private: bool | None = None
    """Whether Langflow servers and receivers of notifications may have private addresses.

    Unless that is said, a Langflow server may, since it often runs beside the engine, and a receiver may not.
    """
    inbox: Path | None = None
    """A folder of files with events, which are sent as they come."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    """Where `env:NAME` is looked up, and OVERNIGHT_MASTER_KEY."""


def open_engine(settings: Settings) -> Engine:
    """Open the data folder and build the engine over it; it isn't started yet.

    Raises Unavailable when another engine has the folder, or the database does not answer; Invalid (`database`,
    `inbox`, or OVERNIGHT_MASTER_KEY, where other engines on the database have another one).
    """
    if settings.inbox:
        prepare(settings.inbox)
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = _lock(settings.data)
    try:
        database = _open_database(settings)
        try:
            return _engine(settings, database, lock)
        except BaseException:
            database.close()
            raise
    except BaseException:
        lock.close()
        raise


def _engine(settings: Settings, database: Database, lock: IO[str]) -> Engine:
    metrics = Metrics()
    now = database.now
    queue = SqlWorkQueue(database, now, SHARED_VISIBILITY_SECONDS if database.shared else VISIBILITY_SECONDS)
    store = SqlStore(database, queue, look_at, now)
    clock = SqlAlarmClock(database, alarm_at)
    allowed = Allowed(
        tuple(str(folder.resolve()) for folder in settings.folders),
        tuple(settings.packages),
        private_addresses=settings.private is not False,
    )
    workers = Workers(settings.workers, allowed, settings.data / "running")
    slots = Slots(workers, settings.workers)
    metrics.running.set_function(lambda: len(slots.running))
    ports: Ports

    def observe(happened: str, /, **facts: Any) -> None:
        metrics(happened, **facts)
        if happened.startswith("agent.") and facts.get("flow") == "langflow":
            workers.warm(langflow=True)  # lfx takes seconds to import: begin before the first run asks for it

    def fan_out(event: Event) -> None:
        database.afterwards(lambda: events.fan_out(ports, event))

    blobs, sweep = _blobs(settings, database, store)
    ports = Ports(
        store=store,
        clock=clock,
        queue=queue,
        runner=SharedRunner(workers, database) if database.shared else workers,
        secrets=_secrets(settings, database),
        blobs=blobs,
        bus=LocalBus(store, fan_out),
        courier=HttpCourier(allow_private=settings.private is True),
        observe=observe,
        now=now,
        chance=random.random,
        new_id=lambda: uuid.uuid4().hex,
        worker=f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}",  # containers are alike
    )

    def close() -> None:
        database.close()
        lock.close()

    engine = Engine(
        ports,
        clock,
        queue,
        slots,
        registry=metrics.registry,
        alone=not database.shared,
        sweep=sweep,
        tell=database.tell,
        close=close,
        inbox=Inbox(ports, settings.inbox) if settings.inbox else None,
    )
    queue.wake = engine.wake_dispatch
    clock.wake = engine.wake_alarms
    database.listen(engine.hear)
    return engine


def open_store(settings: Settings) -> tuple[SqlStore, Callable[[], None]]:
    """The store of a data folder, beside an engine or without one, to be read; and what closes it."""
    database = _open_database(settings)
    return SqlStore(database, SqlWorkQueue(database, database.now), look_at, database.now), database.close


def _blobs(settings: Settings, database: Database, store: SqlStore) -> tuple[BlobStore, Callable[[], int]]:
    """The blob store, and what sweeps a part of it."""
    if database.shared:
        table = SqlBlobStore(database, database.now)
        return table, lambda: table.sweep(database.now() - UNUSED_FOR)
    folder = FolderBlobStore(settings.data / "blobs")
    return folder, lambda: folder.sweep(database.now() - UNUSED_FOR, store.used_blobs)


def _secrets(settings: Settings, database: Database) -> SecretStore:
    if not database.shared:
        return FileSecretStore(settings.data, settings.environ)
    return SqlSecretStore(database, agreed_key(database, settings.data, settings.environ), settings.environ)


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
