"""The slots of an engine: how many attempts run here at once, and which.

A slot is taken before a message is received, and free again when the attempt's end is ready to be recorded: then its
worker is free, too.
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
        self._free = count
        self._lock = threading.Lock()
        self._attempts: dict[str, int] = {}
        self.idle = threading.Event()
        """Set as soon as nothing runs here."""
        self.freed: Callable[[], None] = lambda: None
        """Called after an attempt's slot was freed."""

    @property
    def running(self) -> tuple[tuple[str, int], ...]:
        """The executions that run here, with their attempts."""
        return tuple(self._attempts.items())

    @property
    def full(self) -> bool:
        """Whether as many run here as may."""
        return len(self._attempts) >= self.count

    def take(self) -> int:
        """Take all free slots; how many they are."""
        with self._lock:
            taken, self._free = self._free, 0
        return taken

    def give_back(self, count: int) -> None:
        """Free that many slots that were taken and not needed."""
        with self._lock:
            self._free += count

    def fill(self, request: RunRequest, done: Callable[[RunReport], None]) -> None:
        """Run an attempt in a slot that was taken, which is free as soon as `done` was told how it ended."""
        execution = request.execution
        self.idle.clear()
        self._attempts[execution.id] = execution.attempt

        def ended(report: RunReport) -> None:
            done(report)
            self._attempts.pop(execution.id, None)
            self.give_back(1)
            if not self._attempts:
                self.idle.set()
            self.freed()

        try:
            self.workers.submit(request, ended)
        except BaseException:
            self._attempts.pop(execution.id, None)  # or its lease would be renewed for good
            raise
