"""The slots of an engine: how many attempts run here at once, and which.

A slot is taken before a message is received, and free again as soon as its worker is: what is then written about the
attempt's end holds nobody up.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from overnight.embedded.workers import Workers
from overnight.ports import RunReport, RunRequest

__all__ = ["Slots"]


class Slots:
    """The engine's `FlowRunner`: the workers, with a bound on how many of them are asked for."""

    def __init__(self, workers: Workers, count: int) -> None:
        self.count = count
        self._workers = workers
        self._free = threading.BoundedSemaphore(count)
        self._mine = threading.local()
        self._attempts: dict[str, int] = {}

    @property
    def running(self) -> tuple[tuple[str, int], ...]:
        """The executions that run here, with their attempts."""
        return tuple(self._attempts.items())

    def take(self, seconds: float) -> int:
        """Take all free slots, waiting up to so long for the first; how many they are."""
        if not self._free.acquire(timeout=seconds):
            return 0
        taken = 1
        while self._free.acquire(blocking=False):
            taken += 1
        return taken

    def give_back(self, count: int) -> None:
        """Free that many slots that were taken and not needed."""
        if count:
            self._free.release(count)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold one of the taken slots for this thread, until its attempt has run, or to the end of the block."""
        self._mine.held = True
        try:
            yield
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if getattr(self._mine, "held", False):
            self._mine.held = False
            self._free.release()

    def warm(self, *, langflow: bool, seconds: float = 0) -> bool:
        """Start worker processes ahead of need, and wait so long for them; whether they are ready."""
        return self._workers.warm(langflow=langflow, seconds=seconds)

    def worker_of(self, execution_id: str) -> int | None:
        """The process id of the worker that runs an execution, if it runs here."""
        return self._workers.worker_of(execution_id)

    # The port

    def run(self, request: RunRequest) -> RunReport:
        """Run one attempt, and free this thread's slot."""
        id_ = request.execution.id
        self._attempts[id_] = request.execution.attempt
        try:
            return self._workers.run(request)
        finally:
            self._attempts.pop(id_, None)
            self._let_go()

    def cancel(self, execution_id: str) -> None:
        """End the attempt at once, if it runs here."""
        self._workers.cancel(execution_id)

    def interrupt(self) -> None:
        """End all that runs, for another time."""
        self._workers.interrupt()

    def close(self) -> None:
        """End the workers."""
        self._workers.close()
