"""An engine without its loops, whose clock stands still: real stores, and a flow that does as its input says."""

import threading
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from overnight.core.due import look_at
from overnight.core.run import run
from overnight.courier import HttpCourier
from overnight.embedded.blobs import FolderBlobStore
from overnight.embedded.secrets import FileSecretStore
from overnight.embedded.sql import SqlAlarmClock, SqlStore, SqlWorkQueue, open_database
from overnight.executions import AttemptOutcome, Event, Failure
from overnight.ports import Ports, RunReport, RunRequest

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Runner:
    """Says what it was given, unless the input says that the flow fails."""

    def run(self, request: RunRequest) -> RunReport:
        """Run it."""
        value = request.input.get("input_value")
        if value == "fail":
            failure = Failure(type="ValueError", message="it was told to", retryable=False)
            return RunReport(AttemptOutcome.FAILED, failure=failure, log="about to fail\n")
        return RunReport(AttemptOutcome.SUCCEEDED, text=f"ran {value}", log="one\ntwo\n")

    def cancel(self, execution_id: str) -> None:
        """Nothing runs beside the caller."""


class Bus:
    """Forgets what happened."""

    def publish(self, event: Event) -> None:
        """Publish."""


class Courier(HttpCourier):
    """Delivers to nobody."""

    def post(self, url: str, body: bytes, headers: object) -> int:
        """Post."""
        return 204


class Engine:
    """The ports of an engine whose clock stands still, until it is told to move on."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.time = NOON
        self.lock = threading.Lock()
        self.ids = count(1)
        self.database = open_database("sqlite://")
        self.queue = SqlWorkQueue(self.database, self.now)
        self.store = SqlStore(self.database, self.queue, look_at, self.now)
        self.ports = Ports(
            store=self.store,
            clock=SqlAlarmClock(self.database),
            queue=self.queue,
            runner=Runner(),
            secrets=FileSecretStore(data, {}),
            blobs=FolderBlobStore(data / "blobs"),
            bus=Bus(),
            courier=Courier(),
            observe=lambda happened, /, **facts: None,
            now=self.now,
            chance=lambda: 0.5,
            new_id=self.new_id,
        )

    def now(self) -> datetime:
        """The time."""
        return self.time

    def new_id(self) -> str:
        """An id that comes in order, so that answers can be compared as a whole."""
        with self.lock:
            return f"{next(self.ids):032x}"

    def after(self, seconds: float) -> None:
        """Let time pass."""
        self.time += timedelta(seconds=seconds)

    def work(self) -> None:
        """Run what is in the queue, and what that puts there."""
        while messages := self.queue.receive(10, self.time):
            for message in messages:
                run(self.ports, message)

    def close(self) -> None:
        """Close the store."""
        self.database.close()
