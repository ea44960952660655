"""Worker processes that can be killed: the embedded `FlowRunner`.

Python flows and flows on a Langflow server run in plain processes; Langflow flows run in processes forked from one that
has imported lfx, which takes seconds, once. A worker that dies costs its attempt and is replaced.
"""

import atexit
import importlib.util
import multiprocessing
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.context import BaseContext
from pathlib import Path
from queue import SimpleQueue

from overnight.agents import LangflowFlow
from overnight.embedded.process import End, Gone, Process
from overnight.executions import AttemptOutcome, Failure
from overnight.flows.call import Allowed, Call
from overnight.flows.requests import called, reported, timed_out
from overnight.ports import RunReport, RunRequest

__all__ = ["Workers"]

CLOSE_SECONDS = 2.0
"""How long the end of an engine waits for processes that are being started."""


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
            kind: _Pool(kind, [logs / f"{kind}-{number}" for number in range(count)], allowed)
            for kind in ("plain", "langflow")
        }
        self._running: dict[str, _Task] = {}
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

        task = _Task(called(request), request.timeout_seconds, ended)
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


class _Task:
    """An attempt that is to run; `done` is told, once, how it ended."""

    __slots__ = ("_begun", "_lock", "_process", "call", "done", "ending", "seconds")

    def __init__(self, call: Call, seconds: float, done: Callable[[RunReport], None]) -> None:
        self.call = call
        self.seconds = seconds
        self.done = done
        self.ending: AttemptOutcome | None = None
        """How it was told to end."""
        self._begun = False
        self._process: Process | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Of the process that it runs in."""
        process = self._process
        return process.pid if process else None

    def begin(self, process: Process) -> bool:
        """Note that it runs there; False where it was told to end before."""
        with self._lock:
            if self.ending is None:
                self._begun, self._process = True, process
            return self._begun

    def leave(self) -> None:
        """Note that it runs no more: nobody kills its process from now on."""
        with self._lock:
            self._process = None

    def end(self, outcome: AttemptOutcome, failure: Failure | None = None) -> None:
        """Kill the process that it runs in, or have it not begin."""
        with self._lock:
            if self.ending is not None:
                return
            self.ending = outcome
            if self._process is not None:
                self._process.kill()
            begun = self._begun
        if not begun:
            self.done(RunReport(outcome, failure=failure))


class _Pool:
    """Processes of one kind, which start when one is first needed; a thread keeps each of them."""

    def __init__(self, kind: str, logs: list[Path], allowed: Allowed) -> None:
        self._context = _context(kind)
        self._logs = logs
        self._allowed = allowed
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._keepers: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._retired = False
        self.ready = threading.Event()
        """Set when one of them takes calls."""

    def begin(self) -> None:
        """Start them, once, in the background."""
        with self._lock:
            if self._keepers or self._retired:
                return
            self._keepers = [
                threading.Thread(target=self._keep, args=(log,), name=log.name, daemon=True) for log in self._logs
            ]
            for keeper in self._keepers:
                keeper.start()

    def put(self, task: _Task) -> None:
        """Have it run as soon as one of them is free."""
        self.begin()
        self._tasks.put(task)

    def retire(self) -> None:
        """Replace none that dies."""
        with self._lock:
            self._retired = True

    def close(self) -> None:
        """End them; one that is only being started ends by itself, afterwards."""
        self.retire()
        for _ in self._keepers:
            self._tasks.put(None)
        deadline = time.monotonic() + CLOSE_SECONDS
        for keeper in self._keepers:
            keeper.join(max(0.0, deadline - time.monotonic()))

    def _keep(self, log: Path) -> None:
        """Have a process there, ahead of need, and give it one task after the other."""
        process = self._ahead(log)
        while (task := self._tasks.get()) is not None:
            if process is not None and not process.is_free:  # it died while it had nothing to do
                process.end()
                process = None
            try:
                process = process or self._started(log)
            except Exception as error:  # noqa: BLE001 - whatever keeps it from starting, the attempt has an end
                message = f"no worker process could be started: {error or type(error).__name__}"
                task.end(AttemptOutcome.LOST, Failure(type="WorkerNotStarted", message=message))
            else:
                if task.begin(process):
                    process = _carried_out(task, process) or self._ahead(log)
        if process is not None:
            process.end()

    def _ahead(self, log: Path) -> Process | None:
        """A process for what will come, if one can be started; if not, what comes is told."""
        if not self._retired:
            with suppress(Exception):
                return self._started(log)
        return None

    def _started(self, log: Path) -> Process:
        process = Process(self._context, self._allowed, log)
        try:
            process.ready()
        except Gone:
            raise OSError(f"it ended at once, with {process.end()}") from None
        self.ready.set()
        return process


def _carried_out(task: _Task, process: Process) -> Process | None:
    """Have a process carry out a task that has begun there; the process, unless it is gone."""
    report: RunReport | None = None
    outcome, failure = AttemptOutcome.LOST, None
    try:
        report = reported(*process.carry_out(task.call, task.seconds))
    except TimeoutError:
        outcome, failure = AttemptOutcome.TIMED_OUT, timed_out(task.seconds)
    except Gone:
        pass
    except Exception as error:  # noqa: BLE001 - what the flow gave can't be carried here
        message = f"its result can't be read: {error}"
        outcome, failure = AttemptOutcome.FAILED, Failure(type=type(error).__name__, message=message, retryable=False)
    task.leave()
    if report is not None and task.ending is None:
        task.done(report)
        return process
    end = process.end()
    if report is None:
        if task.ending is not None:
            outcome, failure = task.ending, None
        elif outcome is AttemptOutcome.LOST:
            failure = _died(end)
        report = RunReport(outcome, failure=failure, log=end.printed)
    task.done(report)
    return None


def _died(end: End) -> Failure:
    return Failure(
        type="WorkerDied",
        message=f"its worker process died ({end}): it was killed, ran out of memory, or the flow ended it",
    )


def _context(kind: str) -> BaseContext:
    """How processes are started: anew, or forked from one that has lfx."""
    if kind == "plain" or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    if importlib.util.find_spec("lfx") is not None:
        context.set_forkserver_preload(["overnight.embedded.preloaded"])
    return context
