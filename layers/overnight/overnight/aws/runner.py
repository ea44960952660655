"""The flow runner on Lambda: the flow runs in a thread of this process, and the main thread watches it.

A thread can't be killed, so an attempt that takes too long, or is cancelled, is reported at once, and the process is
`spent`: whoever records the report ends it then. Code that holds the interpreter is ended by Lambda itself, and found
by its lease.
"""

import contextlib
import io
import sys
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import TextIO

from overnight.executions import AttemptOutcome, Execution, Failure
from overnight.flows import attempt
from overnight.flows.call import Allowed, Call, FlowFailure, Result
from overnight.flows.requests import called, reported, timed_out
from overnight.ports import RunReport, RunRequest

__all__ = ["MARGIN_SECONDS", "InProcessRunner"]

MARGIN_SECONDS = 5.0
"""So long before Lambda would end the process, an attempt is ended: enough to record it."""

CANCEL_SECONDS = 15.0
"""How often it is looked whether the attempt was cancelled."""

LOG_CHARACTERS = 65_536
"""How much of what an attempt prints is kept, counted from its end."""


class InProcessRunner:
    """Runs one attempt at a time.

    Args:
        allowed: what Python flows may import, and whether Langflow servers may be private.
        cancelled: whether an attempt is no longer wanted.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        allowed: Allowed,
        cancelled: Callable[[Execution], bool] = lambda _: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spent = False
        """Whether a flow that was given up still runs here: then the process must end."""
        self._allowed = allowed
        self._cancelled = cancelled
        self._clock = clock
        self._deadline = float("inf")
        self._thread: _FlowThread | None = None

    def until(self, remaining_seconds: float) -> None:
        """Lambda ends this process in so many seconds."""
        self._deadline = self._clock() + remaining_seconds

    # The port

    def run(self, request: RunRequest) -> RunReport:
        """Run one attempt to its end, by result, failure, timeout or order."""
        left = self._deadline - self._clock() - MARGIN_SECONDS
        if left <= 0:
            return RunReport(AttemptOutcome.INTERRUPTED)
        thread = self._thread = self._thread or _FlowThread(self._allowed)
        running = thread.begin(called(request))
        limit = min(request.timeout_seconds, left)
        until = self._clock() + limit
        while not running.wait(min(CANCEL_SECONDS, until - self._clock())):
            if self._clock() >= until:
                self.spent = True
                failure = timed_out(limit) if limit == request.timeout_seconds else _out_of_time(limit)
                return RunReport(AttemptOutcome.TIMED_OUT, failure=failure, log=running.printed())
            if self._cancelled(request.execution):
                self.spent = True
                return RunReport(AttemptOutcome.CANCELLED, log=running.printed())
        return reported(running.outcome(), running.printed())

    def cancel(self, execution_id: str) -> None:
        """Nothing: an attempt that runs elsewhere sees by its record that it is cancelled."""


def _out_of_time(seconds: float) -> Failure:
    return Failure(
        type="TimedOut",
        message=f"it was ended after {seconds:.0f} s, just before Lambda would have; "
        "`runner_timeout_seconds` of the stack sets that limit, to 900 at most",
    )


class _Running:
    """A call under way: whether it has ended, and what it printed."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._outcome: Result | FlowFailure | None = None
        self._output = _Tail()

    def wait(self, seconds: float) -> bool:
        return self._ended.wait(max(seconds, 0))

    def outcome(self) -> Result | FlowFailure:
        assert self._outcome is not None  # noqa: S101 - it has ended
        return self._outcome

    def printed(self) -> str:
        return self._output.getvalue()

    def carry_out(self, call: Call, allowed: Allowed) -> None:
        out, err = _Tee(sys.stdout, self._output), _Tee(sys.stderr, self._output)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                self._outcome = attempt.run(call, allowed)
            except FlowFailure as failure:
                self._outcome = failure
        self._ended.set()


class _FlowThread:
    """The one thread in which flows run, one after another: model providers' clients stay bound to its event loop."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed
        self._calls: SimpleQueue[tuple[_Running, Call]] = SimpleQueue()
        threading.Thread(target=self._work, name="flow", daemon=True).start()

    def begin(self, call: Call) -> _Running:
        running = _Running()
        self._calls.put((running, call))
        return running

    def _work(self) -> None:
        while True:
            running, call = self._calls.get()
            running.carry_out(call, self._allowed)


class _Tail(io.StringIO):
    """Keeps the end of what is written to it."""

    def write(self, text: str, /) -> int:
        written = super().write(text)
        if self.tell() > 2 * LOG_CHARACTERS:
            end = self.getvalue()
            self.seek(0)
            self.truncate()
            super().write(end)
        return written

    def getvalue(self) -> str:
        return super().getvalue()[-LOG_CHARACTERS:]


class _Tee(io.TextIOBase):
    """Writes to the function's log, and to what is kept."""

    def __init__(self, log: TextIO, kept: _Tail) -> None:
        self._log = log
        self._kept = kept

    def write(self, text: str, /) -> int:
        self._kept.write(text)
        return self._log.write(text)

    def flush(self) -> None:
        self._log.flush()

    def close(self) -> None:
        """Nothing: the log is the function's, and may be gone before this is."""

    def writable(self) -> bool:
        return True
