"""Worker processes that can be killed: the embedded `FlowRunner`.

Python flows and flows on a Langflow server run in plain processes; Langflow flows run in processes forked from one that
has imported lfx, which takes seconds, once. A worker that dies costs its attempt and is replaced.
"""

import atexit
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from overnight.agents import LangflowFlow
from overnight.embedded.pool import Pool, Task
from overnight.executions import AttemptOutcome
from overnight.flows.call import Allowed
from overnight.flows.requests import called
from overnight.ports import RunReport, RunRequest

__all__ = ["Workers"]


class Workers:
    """A number of worker processes, and the attempts that run in them."""

    def __init__(self, count: int, allowed: Allowed, logs: Path) -> None:
        """Make them ready to start; none is started before it is needed.

        Args:
            count: how many attempts run at once.
            allowed: what Python flows may import, and whether Langflow servers may be private.
            logs: a folder for what attempts print while they run.
        """
        logs.mkdir(parents=True, exist_ok=True)
        for left_over in logs.iterdir():
            left_over.unlink()
        self._pools = {
            kind: Pool(kind, [logs / f"{kind}-{number}" for number in range(count)], allowed)
            for kind in ("plain", "langflow")
        }
        self._running: dict[str, Task] = {}
        self._lock = threading.Lock()
        self._closed = False
        atexit.register(self.close)  # Python waits at its end for processes, unless they may have none of their own

    @property
    def running(self) -> tuple[str, ...]:
        """The executions that run here now."""
        return tuple(self._running)

    def warm(self, *, langflow: bool, seconds: float = 0) -> bool:
        """Start worker processes ahead of need, in the background, and wait so long for them; whether they are ready.

        Those for Langflow flows take seconds, because they import lfx.
        """
        pools = [self._pools[kind] for kind in (("plain", "langflow") if langflow else ("plain",))]
        for pool in pools:
            pool.begin()
        deadline = time.monotonic() + seconds
        return all([pool.ready.wait(max(0.0, deadline - time.monotonic())) for pool in pools])  # noqa: C419 - each

    def worker_of(self, execution_id: str) -> int | None:
        """The process id of the worker that runs an execution, if it runs here and has begun."""
        task = self._running.get(execution_id)
        return task.pid if task else None

    def run(self, request: RunRequest) -> RunReport:
        """Run one attempt to its end, by result, failure, timeout, death of its worker, or order."""
        ended: Future[RunReport] = Future()
        self.submit(request, ended.set_result)
        return ended.result()

    def submit(self, request: RunRequest, done: Callable[[RunReport], None]) -> None:
        """Have an attempt run; `done` is told how it ended, mostly by another thread, and must not take long.

        An attempt that has to wait for its kind of processes to start holds up nobody else.
        """
        id_ = request.execution.id

        def ended(report: RunReport) -> None:
            with self._lock:
                self._running.pop(id_, None)
            done(report)

        task = Task(called(request), request.timeout_seconds, ended)
        with self._lock:
            closed = self._closed
            if not closed:
                self._running[id_] = task
        if closed:
            done(RunReport(AttemptOutcome.INTERRUPTED))
            return
        self._pools["langflow" if isinstance(request.agent.document.flow, LangflowFlow) else "plain"].put(task)

    def cancel(self, execution_id: str) -> None:
        """Kill the worker that runs this execution, if it runs here."""
        if task := self._running.get(execution_id):
            task.end(AttemptOutcome.CANCELLED)

    def interrupt(self) -> None:
        """Kill all that runs, for another time, and take nothing more."""
        with self._lock:
            self._closed = True
            tasks = list(self._running.values())
        for pool in self._pools.values():
            pool.retire()
        for task in tasks:
            task.end(AttemptOutcome.INTERRUPTED)

    def close(self) -> None:
        """End all worker processes."""
        atexit.unregister(self.close)
        self.interrupt()
        for pool in self._pools.values():
            pool.close()
