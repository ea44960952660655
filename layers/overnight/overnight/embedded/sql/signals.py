"""What engines on one PostgreSQL tell each other, so that none waits for its next look: LISTEN and NOTIFY.

A signal is a hint and may be lost; what it hints at is in the tables, where everybody looks once a second anyway. So it
is sent after the commit, and by itself: a NOTIFY within a transaction would have all commits queue up behind one lock.
Signals that are due at the same moment are sent as one.

The connection that listens measures the server's time, too.
"""

import logging
import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress

import psycopg

from overnight.embedded.sql.connections import in_a_line
from overnight.embedded.sql.conversation import Connection
from overnight.embedded.sql.servertime import ServerTime

__all__ = ["EVERYTHING", "Signals", "measure"]

EVERYTHING = "everything"
"""Heard after a time in which nothing could be heard."""

MEASURE_SECONDS = 5.0
AGAIN_SECONDS = 1.0
PAUSE_SECONDS = 0.02
"""Between two signals: what comes meanwhile goes with the second."""

_MEASURE = "SELECT clock_timestamp()"
_NOTIFY = "SELECT pg_notify(%s, %s)"
_log = logging.getLogger(__name__)


def measure(connection: Connection, server: ServerTime) -> None:
    """Measure the server's time. Raises psycopg.Error."""
    asked = server.elapsed()
    row = connection.execute(_MEASURE).fetchone()
    if row is not None:
        server.measured(asked, row[0], server.elapsed())


class Signals:
    """Hears what other engines tell, and tells them; from a thread of its own.

    Args:
        open_connection: gives a connection to listen on.
        channel: what this deployment's engines call theirs.
        sender: who we are, unlike all the others.
        server: the clock that is to be kept right.
        hear: is given each signal of another engine, by that thread; must not take long.
    """

    def __init__(
        self,
        open_connection: Callable[[], Connection],
        channel: str,
        sender: str,
        server: ServerTime,
        hear: Callable[[str], None],
    ) -> None:
        self._open = open_connection
        self._channel = channel
        self._sender = sender
        self._server = server
        self._hear = hear
        self._lock = threading.Lock()
        self._waiting: dict[str, None] = {}
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._open_pipe = True
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="signals", daemon=True)
        self._thread.start()

    def tell(self, what: str) -> None:
        """Tell the others, soon; a word or a few."""
        with self._lock:
            if not self._waiting:
                self._nudge()
            self._waiting[what] = None

    def close(self) -> None:
        """Send what waits, and end."""
        self._closing.set()
        with self._lock:
            self._nudge()
        self._thread.join(10)
        with self._lock:
            if self._open_pipe and not self._thread.is_alive():
                self._open_pipe = False
                os.close(self._reader)
                os.close(self._writer)

    def _nudge(self) -> None:
        if self._open_pipe:
            with suppress(BlockingIOError):
                os.write(self._writer, b".")

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                with closing(self._open()) as connection:
                    self._attend(connection)
            except psycopg.Error as error:
                _log.info("the connection that listens was lost: %s", in_a_line(error))
            except Exception:  # noqa: BLE001 - whatever it is, the next connection may do better
                _log.exception("listening failed")
            self._closing.wait(AGAIN_SECONDS)

    def _attend(self, connection: Connection) -> None:
        connection.add_notify_handler(lambda notify: self._heard(notify.payload))
        connection.execute("SET synchronous_commit = off")  # a signal may be lost, so nobody waits for the disk
        connection.execute(f'LISTEN "{self._channel}"')
        self._hear(EVERYTHING)
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        poll.register(self._reader, select.POLLIN)
        due = 0.0
        while True:
            if (now := time.monotonic()) >= due:
                measure(connection, self._server)
                due = now + MEASURE_SECONDS
            ready = {descriptor for descriptor, _ in poll.poll(max(0.0, due - time.monotonic()) * 1_000)}
            if ready - {self._reader}:
                self._listen(connection)
            if self._reader in ready:
                os.read(self._reader, 4_096)
                self._send(connection)
                if self._closing.is_set():
                    return
                time.sleep(PAUSE_SECONDS)

    def _listen(self, connection: Connection) -> None:
        connection.pgconn.consume_input()
        while (notify := connection.pgconn.notifies()) is not None:
            self._heard(notify.extra.decode())

    def _send(self, connection: Connection) -> None:
        with self._lock:
            waiting, self._waiting = list(self._waiting), {}
        for what in waiting:
            connection.execute(_NOTIFY, (self._channel, f"{self._sender} {what}"))

    def _heard(self, payload: str) -> None:
        sender, _, what = payload.partition(" ")
        if sender != self._sender:
            self._hear(what)
