"""A thread that does what waits to be written, all that waits at a moment as one: group commit.

A durable commit costs a sync of the disk, and on a server a few round trips, whether one caller's work is in it or that
of a hundred. A caller on its own is never kept waiting for company.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import Any

from overnight.embedded.sql.database import Needs, Work
from overnight.errors import Unavailable

__all__ = ["Job", "Writer", "follow"]

_log = logging.getLogger(__name__)

BATCH = 256
"""How many callers share a transaction at most."""


class Job:
    """Work that a caller waits for."""

    __slots__ = ("after_commit", "alone", "done", "error", "needs", "result", "work")

    def __init__(self, work: Work[Any], needs: Needs) -> None:
        self.work = work
        self.needs = needs
        self.result: Any = None
        self.error: BaseException | None = None
        self.alone = False
        """Whether it could not be done with others, and is its caller's again."""
        self.after_commit: list[Callable[[], object]] = []
        self.done = threading.Lock()
        self.done.acquire()


def follow(acts: Iterable[Callable[[], object]]) -> None:
    """Do, each once, what follows a commit."""
    for act in dict.fromkeys(acts):
        try:
            act()
        except Exception:  # noqa: BLE001 - the commit holds
            _log.exception("what follows a commit failed")


class Writer:
    """The thread; `do` does jobs as one, and says in each how it went."""

    def __init__(self, do: Callable[[list[Job]], None]) -> None:
        self._do = do
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="overnight-writer", daemon=True)
        self._thread.start()

    def carry_out(self, job: Job) -> None:
        """Have it done, and wait for that. Raises Unavailable when the writer is closed."""
        if self._closed:
            raise Unavailable("the database is closed")
        if threading.current_thread() is self._thread:
            raise RuntimeError("a verb of the store was called from within another one")
        self._jobs.put(job)
        if not self._thread.is_alive():  # it was closed in between
            self._refuse_the_rest()
        job.done.acquire()

    def close(self) -> None:
        """Do what was given before, and end."""
        self._closed = True
        self._jobs.put(None)
        self._thread.join()
        self._refuse_the_rest()

    def _refuse_the_rest(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return
            if job is not None:
                job.error = Unavailable("the database is closed")
                job.done.release()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs = [job]
            last = False
            while len(jobs) < BATCH and not last:
                try:
                    following = self._jobs.get_nowait()
                except Empty:
                    break
                if following is None:
                    last = True
                else:
                    jobs.append(following)
            self._do(jobs)
            for done in jobs:
                done.done.release()
            if last:
                return
