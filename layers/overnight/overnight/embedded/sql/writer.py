"""What waits to be written is done as one, all that waits at a moment: group commit.

A durable commit costs a sync of the disk, and on a server a few round trips, whether one caller's work is in it or that
of a hundred. A caller on its own is never kept waiting for company.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from overnight.embedded.sql.database import Needs, Work
from overnight.errors import Unavailable

__all__ = ["Job", "Writer", "follow"]

_log = logging.getLogger(__name__)

BATCH = 256
"""How many callers share a transaction at most."""


class Job:
    """Work that a caller waits for."""

    __slots__ = ("after_commit", "alone", "called", "error", "is_done", "needs", "result", "work")

    def __init__(self, work: Work[Any], needs: Needs) -> None:
        self.work = work
        self.needs = needs
        self.result: Any = None
        self.error: BaseException | None = None
        self.alone = False
        """Whether it could not be done with others, and is its caller's again."""
        self.after_commit: list[Callable[[], object]] = []
        self.is_done = False
        self.called: SimpleQueue[None] = SimpleQueue()
        """Has something when it is done, or when its caller should see to it; a semaphore takes more CPU."""


def follow(acts: Iterable[Callable[[], object]]) -> None:
    """Do, each once, what follows a commit."""
    for act in dict.fromkeys(acts):
        try:
            act()
        except Exception:  # noqa: BLE001 - the commit holds
            _log.exception("what follows a commit failed")


class Writer:
    """One caller after another does what waits; `do` does jobs as one, and says in each how it went.

    Whoever comes while nobody writes does so himself, for all who came meanwhile, too: no other thread has to wake up.
    """

    def __init__(self, do: Callable[[list[Job]], None]) -> None:
        self._do = do
        self._waiting: deque[Job] = deque()
        self._turn = threading.Lock()
        self._leader: int | None = None
        self._closed = False

    def carry_out(self, job: Job) -> None:
        """Have it done, and wait for that. Raises Unavailable when the writer is closed."""
        if self._leader == threading.get_ident():
            raise RuntimeError("a verb of the store was called from within another one")
        self._waiting.append(job)
        while not job.is_done:
            if self._turn.acquire(blocking=False):
                try:
                    self._lead()
                finally:
                    self._turn.release()
                self._call_next()
            else:
                job.called.get()

    def close(self) -> None:
        """Finish what is under way; the rest, and all that comes, is refused."""
        self._closed = True
        with self._turn:
            self._lead()

    def _lead(self) -> None:
        """Do what waits now."""
        jobs = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH))]
        if not jobs:
            return
        self._leader = threading.get_ident()
        try:
            if self._closed:
                for job in jobs:
                    job.error = Unavailable("the database is closed")
            else:
                self._do(jobs)
        finally:
            self._leader = None
            for job in jobs:
                job.is_done = True
                job.called.put(None)

    def _call_next(self) -> None:
        """Have the next one lead. Who comes from now on finds that nobody does."""
        with suppress(IndexError):
            self._waiting[0].called.put(None)
