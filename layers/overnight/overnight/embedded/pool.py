"""Worker processes of one kind, a thread that keeps each, and which of them is given a task.

A process that has just run has all it needs at hand: a task that does nothing takes it 42 us of CPU, and 100 where it
takes turns with seven others. So what is to run goes to the one that was used last, task by task, and others are called
for what would wait longer than a moment.
"""

import importlib.util
import multiprocessing
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.context import BaseContext
from pathlib import Path
from queue import SimpleQueue

from overnight.embedded.process import MOMENT_SECONDS, End, Gone, Process
from overnight.executions import AttemptOutcome, Failure
from overnight.flows.call import Allowed, Call
from overnight.flows.requests import reported, timed_out
from overnight.ports import RunReport

__all__ = ["Pool", "Task"]

CLOSE_SECONDS = 2.0
"""How long the end of an engine waits for processes that are being started."""


class Task:
    """An attempt that is to run; `done` is told, once, how it ended."""

    __slots__ = ("_begun", "_lock", "_process", "call", "done", "ending", "seconds", "since")

    def __init__(self, call: Call, seconds: float, done: Callable[[RunReport], None]) -> None:
        self.call = call
        self.seconds = seconds
        self.done = done
        self.ending: AttemptOutcome | None = None
        """How it was told to end."""
        self._begun = False
        self._process: Process | None = None
        self._lock = threading.Lock()
        self.since = time.monotonic()

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


class Pool:
    """Processes of one kind, which start when one is first needed; a thread keeps each of them."""

    def __init__(self, kind: str, logs: list[Path], allowed: Allowed) -> None:
        self._context = _context(kind)
        self._logs = logs
        self._allowed = allowed
        self._keepers: list[_Keeper] = []
        self._lock = threading.Lock()
        self._waiting: deque[Task] = deque()
        self._idle: list[_Keeper] = []
        self._prompt: set[_Keeper] = set()
        """Those who will take what waits within a moment: then nobody who is idle is called."""
        self._retired = False
        self._closed = False
        self.ready = threading.Event()
        """Set when one of them takes calls."""

    def begin(self) -> None:
        """Start them, once, in the background."""
        with self._lock:
            if self._keepers or self._retired:
                return
            self._keepers = [_Keeper(self, log) for log in self._logs]
            for keeper in self._keepers:
                keeper.thread.start()

    def put(self, task: Task) -> None:
        """Have it run as soon as one of them is free."""
        self.begin()
        with self._lock:
            self._waiting.append(task)
            if not self._prompt:
                self._call(1)

    def retire(self) -> None:
        """Replace none that dies."""
        with self._lock:
            self._retired = True

    def close(self) -> None:
        """End them; one that is only being started ends by itself, afterwards."""
        self.retire()
        with self._lock:
            self._closed = True
            self._call(len(self._idle))
        deadline = time.monotonic() + CLOSE_SECONDS
        for keeper in self._keepers:
            keeper.thread.join(max(0.0, deadline - time.monotonic()))

    # What keepers ask for

    def next(self, keeper: "_Keeper") -> Task | None:
        """The task that has waited longest, when there is one, and another keeper is called where they queue up.

        None at the end.
        """
        while True:
            with self._lock:
                self._prompt.add(keeper)
                if self._waiting:
                    task = self._waiting.popleft()
                    if self._waiting and time.monotonic() - self._waiting[0].since > MOMENT_SECONDS:
                        self._call(1)
                    return task
                if self._closed:
                    return None
                self._prompt.remove(keeper)
                self._idle.append(keeper)
            keeper.called.get()

    def late(self, keeper: "_Keeper") -> None:
        """Have others see to what waits: this keeper takes longer than a moment."""
        with self._lock:
            if keeper in self._prompt:
                self._prompt.remove(keeper)
                self._call(len(self._waiting))

    def _call(self, most: int) -> None:
        """Call those who are idle, first those who were not so long."""
        for _ in range(min(most, len(self._idle))):
            keeper = self._idle.pop()
            self._prompt.add(keeper)
            keeper.called.put(None)

    def ahead(self, log: Path) -> Process | None:
        """A process for what will come, if one can be started; if not, what comes is told."""
        if not self._retired:
            with suppress(Exception):
                return self.started(log)
        return None

    def started(self, log: Path) -> Process:
        """A process that takes calls. Raises OSError, and what else keeps it from starting."""
        process = Process(self._context, self._allowed, log)
        try:
            process.ready()
        except Gone:
            raise OSError(f"it ended at once, with {process.end()}") from None
        self.ready.set()
        return process


class _Keeper:
    """A thread that has a process ready, ahead of need, and gives it one task after the other."""

    def __init__(self, pool: Pool, log: Path) -> None:
        self._pool = pool
        self._log = log
        self._late = partial(pool.late, self)
        self.called: SimpleQueue[None] = SimpleQueue()
        """Has something when it is called."""
        self.thread = threading.Thread(target=self._keep, name=log.name, daemon=True)

    def _keep(self) -> None:
        process = self._pool.ahead(self._log)
        while (task := self._pool.next(self)) is not None:
            if process is not None and not process.is_free:  # it died while it had nothing to do
                self._late()
                process.end()
                process = None
            try:
                if process is None:
                    self._late()
                    process = self._pool.started(self._log)
            except Exception as error:  # noqa: BLE001 - whatever keeps it from starting, the attempt has an end
                message = f"no worker process could be started: {error or type(error).__name__}"
                task.end(AttemptOutcome.LOST, Failure(type="WorkerNotStarted", message=message))
            else:
                if task.begin(process):
                    process = _carried_out(task, process, self._late) or self._pool.ahead(self._log)
        if process is not None:
            process.end()


def _carried_out(task: Task, process: Process, late: Callable[[], None]) -> Process | None:
    """Have a process carry out a task that has begun there; the process, unless it is gone."""
    report: RunReport | None = None
    outcome, failure = AttemptOutcome.LOST, None
    try:
        report = reported(*process.carry_out(task.call, task.seconds, late))
    except TimeoutError:
        outcome, failure = AttemptOutcome.TIMED_OUT, timed_out(task.seconds)
    except Gone:
        pass
    except Exception as error:  # noqa: BLE001 - what the flow gave can't be carried here
        message = f"its result can't be read: {error}"
        outcome, failure = AttemptOutcome.FAILED, Failure(type=type(error).__name__, message=message, retryable=False)
    task.leave()
    if report is not None and task.ending is None:
        if report.log:
            late()  # it goes to the blob store
        task.done(report)
        return process
    late()
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
