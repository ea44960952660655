"""Worker processes that can be killed: the embedded `FlowRunner`.

Python flows and flows on a Langflow server run in plain processes; Langflow flows run in processes forked from one that
has imported lfx, which takes seconds, once. A worker that dies costs its attempt and is replaced.
"""

import contextlib
import importlib.util
import multiprocessing
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from pathlib import Path

from pebble import ProcessExpired, ProcessPool

from overnight.agents import LangflowFlow
from overnight.embedded import worker
from overnight.executions import AttemptOutcome, Failure
from overnight.flows import call as calls
from overnight.flows.requests import called, reported, timed_out
from overnight.ports import RunReport, RunRequest

__all__ = ["Workers"]

CLOSE_SECONDS = 2.0
"""How long the end of an engine waits for processes that are being started."""

Answer = tuple[calls.Result | calls.FlowFailure, str]


@dataclass(slots=True)
class _Running:
    """An attempt under way here, and why it is being ended, if it is."""

    future: "Future[Answer]"
    ending: AttemptOutcome | None = None


class Workers:
    """A number of worker processes, and the attempts that run in them."""

    def __init__(self, count: int, allowed: calls.Allowed, logs: Path) -> None:
        """Make them ready to start; none is started before it is needed.

        Args:
            count: how many attempts run at once.
            allowed: what Python flows may import, and whether Langflow servers may be private.
            logs: a folder for what attempts print while they run.
        """
        self._count = count
        self._allowed = allowed
        self._logs = logs
        self._pools = {kind: _Pool(kind, count) for kind in ("plain", "langflow")}
        self._running: dict[str, _Running] = {}
        self._lock = threading.Lock()
        self._closed = False
        logs.mkdir(parents=True, exist_ok=True)
        for left_over in logs.iterdir():
            left_over.unlink()

    @property
    def running(self) -> tuple[str, ...]:
        """The executions that run here now."""
        return tuple(self._running)

    def warm(self, *, langflow: bool, seconds: float = 0) -> bool:
        """Start worker processes ahead of need, in the background, and wait so long for them; whether they are ready.

        Those for Langflow flows take seconds, because they import lfx.
        """
        threads = [
            threading.Thread(target=self._pools[kind].ready, name=f"warm-{kind}", daemon=True)
            for kind in (("plain", "langflow") if langflow else ("plain",))
        ]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def worker_of(self, execution_id: str) -> int | None:
        """The process id of the worker that runs an execution, if it runs here and has begun."""
        return next((int(log.suffix[1:]) for log in self._logs.glob(f"{execution_id}.*")), None)

    def run(self, request: RunRequest) -> RunReport:
        """Run one attempt to its end, by result, failure, timeout, death of its worker, or order."""
        ended: Future[RunReport] = Future()
        self.submit(request, ended.set_result)
        return ended.result()

    def submit(self, request: RunRequest, done: Callable[[RunReport], None]) -> None:
        """Have an attempt run; `done` is told how it ended, by another thread, and must not take long.

        An attempt that has to wait for its kind of processes to start holds up nobody else.
        """
        pool = self._pools["langflow" if isinstance(request.agent.document.flow, LangflowFlow) else "plain"]
        if pool.is_started:
            self._schedule(pool, request, done)
        else:
            threading.Thread(target=self._schedule, args=(pool, request, done), name="starting", daemon=True).start()

    def _schedule(self, pool: "_Pool", request: RunRequest, done: Callable[[RunReport], None]) -> None:
        execution = request.execution
        log = self._logs / f"{execution.id}.{execution.attempt}"
        try:
            processes = pool.started()
            with self._lock:
                if self._closed:
                    running = None
                else:
                    future = processes.schedule(
                        worker.attempt, args=(called(request), self._allowed, str(log)), timeout=request.timeout_seconds
                    )
                    running = self._running[execution.id] = _Running(future)
        except Exception as error:  # noqa: BLE001 - whatever keeps processes from starting, the attempt has an end
            failure = Failure(type="WorkerNotStarted", message=f"no worker process could be started: {error}")
            done(RunReport(AttemptOutcome.LOST, failure=failure))
            return
        if running is None:
            done(RunReport(AttemptOutcome.INTERRUPTED))
            return

        def ended(_: "Future[Answer]") -> None:
            with self._lock:
                self._running.pop(execution.id, None)
            done(_reported(running, request.timeout_seconds, log))

        running.future.add_done_callback(ended)

    def cancel(self, execution_id: str) -> None:
        """Kill the worker that runs this execution, if it runs here."""
        self._end(execution_id, AttemptOutcome.CANCELLED)

    def interrupt(self) -> None:
        """Kill all that runs, for another time, and take nothing more."""
        with self._lock:
            self._closed = True
            ids = list(self._running)
        for id_ in ids:
            self._end(id_, AttemptOutcome.INTERRUPTED)

    def close(self) -> None:
        """End all worker processes."""
        self.interrupt()
        for pool in self._pools.values():
            pool.close()

    def _end(self, execution_id: str, ending: AttemptOutcome) -> None:
        with self._lock:
            running = self._running.get(execution_id)
            if running is not None and running.ending is None:
                running.ending = ending
        if running is not None:
            running.future.cancel()


class _Pool:
    """Worker processes of one kind, started when they are first needed, and again should they all be gone."""

    def __init__(self, kind: str, count: int) -> None:
        self._kind = kind
        self._count = count
        self._processes: ProcessPool | None = None
        self._ready = False
        self._begun = False
        self._lock = threading.Lock()

    @property
    def is_started(self) -> bool:
        """Whether asking for them keeps nobody waiting."""
        return self._begun

    def started(self) -> ProcessPool:
        """The processes; waits for those that are being started."""
        with self._lock:
            if self._processes is None or not self._processes.active:
                self._processes = ProcessPool(
                    max_workers=self._count, initializer=worker.started, context=_context(self._kind)
                )
            self._begun = self._processes.active
            return self._processes

    def ready(self) -> None:
        """Wait until one of them takes work."""
        if not self._ready:
            with contextlib.suppress(Exception):
                self.started().schedule(worker.ready).result()
                self._ready = True

    def close(self) -> None:
        """End them. Those that are only being started end with the engine, by themselves."""
        if not self._lock.acquire(timeout=CLOSE_SECONDS):
            return
        try:
            if self._processes is not None:
                self._processes.stop()  # type: ignore[no-untyped-call]
                self._processes.join()
        finally:
            self._lock.release()


def _context(kind: str) -> "multiprocessing.context.BaseContext":
    """How processes are started: anew, or forked from one that has lfx."""
    if kind == "plain" or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    if importlib.util.find_spec("lfx") is not None:
        context.set_forkserver_preload(["overnight.embedded.preloaded"])
    return context


def _reported(running: _Running, timeout_seconds: float, log: Path) -> RunReport:
    """How an attempt ended that has."""
    try:
        outcome, printed = running.future.result()
    except FutureTimeout:
        return _killed(AttemptOutcome.TIMED_OUT, log, timed_out(timeout_seconds))
    except CancelledError:
        return _killed(running.ending or AttemptOutcome.CANCELLED, log, None)
    except ProcessExpired as death:
        return _killed(running.ending or AttemptOutcome.LOST, log, _died(death))
    except Exception as error:  # noqa: BLE001 - what the flow gave can't be carried here
        failure = Failure(type=type(error).__name__, message=f"its result can't be read: {error}", retryable=False)
        return _killed(AttemptOutcome.FAILED, log, failure)
    return reported(outcome, printed)


def _killed(outcome: AttemptOutcome, log: Path, failure: Failure | None) -> RunReport:
    """Of an attempt whose worker was killed: what it had printed is still in its file."""
    printed = "".join(worker.log_tail(left) for left in log.parent.glob(f"{log.name}.*"))
    return RunReport(outcome, failure=failure, log=printed)


def _died(death: ProcessExpired) -> Failure:
    how = f"signal {-death.exitcode}" if death.exitcode and death.exitcode < 0 else f"exit code {death.exitcode}"
    return Failure(
        type="WorkerDied",
        message=f"its worker process died ({how}): it was killed, ran out of memory, or the flow ended it",
    )
