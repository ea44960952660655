"""The slots of an engine: how many attempts run here at once, and which.

A slot is taken before a message is received, and free again as soon as its worker is: what is then written about the
attempt's end holds nobody up.
"""

import threading
from collections.abc import Callable

from overnight.embedded.workers import Workers
from overnight.ports import RunReport, RunRequest

__all__ = ["Slots"]


class Slots:
    """The workers, with a bound on how many of them are asked for."""

    def __init__(self, workers: Workers, count: int) -> None:
        self.count = count
        self.workers = workers
        self._free = threading.BoundedSemaphore(count)
        self._attempts: dict[str, int] = {}

    @property
    def running(self) -> tuple[tuple[str, int], ...]:
        """The executions that run here, with their attempts."""
        return tuple(self._attempts.items())

    @property
    def full(self) -> bool:
        """Whether as many run here as may."""
        return len(self._attempts) >= self.count

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

    def fill(self, request: RunRequest, done: Callable[[RunReport], None]) -> None:
        """Run an attempt in a slot that was taken, which is free when `done` is told how it ended."""
        execution = request.execution
        self._attempts[execution.id] = execution.attempt

        def ended(report: RunReport) -> None:
            self._attempts.pop(execution.id, None)
            self._free.release()
            done(report)

        self.workers.submit(request, ended)
