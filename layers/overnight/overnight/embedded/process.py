"""A worker process: it has a pipe of its own, carries out one call at a time, and can be killed."""

import contextlib
import os
import pickle
import select
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, NamedTuple

from overnight.embedded import worker
from overnight.flows.call import Allowed, Call

__all__ = ["MOMENT_SECONDS", "End", "Gone", "Process"]

MOMENT_SECONDS = 0.001
"""What takes no longer than this keeps nobody waiting."""

SLIGHT_BYTES = 250
"""An answer as small as this has less than a kilobyte of JSON in it, and so nothing that goes to the blob store."""

EXIT_SECONDS = 1.0
"""How long a process that has closed its pipe may take to end."""


class Gone(Exception):
    """The process ended, and gave no answer."""


class End(NamedTuple):
    """How a process ended, and the end of what its attempt had printed."""

    exitcode: int | None
    printed: str

    def __str__(self) -> str:
        """As it stands in a message."""
        code = self.exitcode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


class Process:
    """A process that has been started; `ready` before the first call."""

    def __init__(self, context: BaseContext, allowed: Allowed, log: Path) -> None:
        """Start it.

        Args:
            context: how.
            allowed: what flows may import, and whether Langflow servers may be private.
            log: the file for what attempts print.

        Raises OSError, or what else keeps a process from starting.
        """
        self._log = log
        self._connection, its_end = context.Pipe()
        # It is no daemon, since those may have no processes of their own, and flows may.
        self._process = context.Process(  # type: ignore[attr-defined]
            target=worker.serve, args=(its_end, allowed, str(log)), name="overnight-worker"
        )
        with contextlib.closing(its_end):
            self._process.start()
        self.pid: int = self._process.pid
        self._exit = _exit(self._process)
        self._events = select.poll()
        self._events.register(self._connection.fileno(), select.POLLIN)
        self._events.register(self._exit, select.POLLIN)

    @property
    def is_free(self) -> bool:
        """Whether it is there, and nothing of an earlier call is left."""
        return not self._events.poll(0)

    def ready(self) -> None:
        """Wait until it takes calls. Raises Gone."""
        self._answer(None, lambda: None)

    def carry_out(self, call: Call, seconds: float, late: Callable[[], None]) -> worker.Answer:
        """Have a call carried out; `late` is called when that takes longer than a moment, or gives much to be kept.

        Raises TimeoutError after so long, and Gone; then it is to be ended.
        """
        with contextlib.suppress(OSError):  # it is gone, then
            self._connection.send_bytes(pickle.dumps(call))
        given = self._answer(seconds, late)
        if len(given) > SLIGHT_BYTES:
            late()
        answer: worker.Answer = pickle.loads(given)  # noqa: S301 - of our own process
        return answer

    def kill(self) -> None:
        """Have it be gone, soon; any thread may ask for it."""
        self._process.kill()

    def end(self) -> End:
        """Kill it, and let go of all that was its."""
        self._process.kill()
        wait([self._exit], EXIT_SECONDS)
        while (exitcode := self._process.exitcode) is None:  # or another thread has just been told, by starting one
            time.sleep(0.001)
        self._process.join()
        self._connection.close()
        if self._exit != self._process.sentinel:
            os.close(self._exit)
        return End(exitcode, worker.log_tail(self._log))

    def _answer(self, seconds: float | None, late: Callable[[], None]) -> bytes:
        events = self._events.poll(MOMENT_SECONDS * 1_000)
        if not events:
            late()
            events = self._events.poll(None if seconds is None else max(0.0, seconds - MOMENT_SECONDS) * 1_000)
        if not events:
            raise TimeoutError
        ready = {descriptor for descriptor, _ in events}
        # A process that the flow has left behind may hold the pipe open, so that it doesn't end with ours.
        if self._connection.fileno() in ready or self._connection.poll():
            with contextlib.suppress(EOFError, OSError):
                return self._connection.recv_bytes()
        wait([self._exit], EXIT_SECONDS)  # its exit code tells why
        raise Gone


def _exit(process: Any) -> int:
    """A descriptor that can be read from as soon as the process has ended."""
    try:
        return os.pidfd_open(process.pid)
    except (AttributeError, ProcessLookupError):  # not on Linux, or it has ended
        sentinel: int = process.sentinel
        return sentinel
