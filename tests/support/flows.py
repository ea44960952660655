"""A runner of flows without flows: what an attempt comes to is said by the test."""

import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from overnight.executions import AttemptOutcome, Failure, Message
from overnight.ports import RunReport, RunRequest

__all__ = ["Flows", "Under", "broken", "failed", "interrupted", "ok", "timed_out"]

Outcome = RunReport | Callable[[RunRequest], RunReport]


def ok(text: str = "done") -> RunReport:
    return RunReport(AttemptOutcome.SUCCEEDED, text=text)


def failed(message: str = "it broke", *, retry_after: float | None = None) -> RunReport:
    failure = Failure(type="ValueError", message=message, retry_after_seconds=retry_after)
    return RunReport(AttemptOutcome.FAILED, failure=failure)


def broken(message: str = "the package is missing") -> RunReport:
    """A failure that no retry mends."""
    return RunReport(AttemptOutcome.FAILED, failure=Failure(type="ImportError", message=message, retryable=False))


def timed_out() -> RunReport:
    return RunReport(AttemptOutcome.TIMED_OUT, failure=Failure(type="TimedOut", message="too slow"))


def interrupted() -> RunReport:
    return RunReport(AttemptOutcome.INTERRUPTED)


class Gone(BaseException):
    """The worker died in mid-run."""


@dataclass
class Under:
    """An attempt under way: its worker waits within the flow for the test to say how it ends."""

    message: Message
    request: RunRequest | None = None
    report: RunReport | None = None
    asked_to_stop: bool = False
    error: BaseException | None = None
    thread: threading.Thread | None = None
    moved: threading.Event = field(default_factory=threading.Event)
    """Set when the worker is in the flow, or is done without."""
    go: threading.Event = field(default_factory=threading.Event)

    def end(self, report: RunReport | None) -> None:
        """Let the flow end so, and its worker do what follows; None kills the worker."""
        assert self.thread
        self.report = report
        self.go.set()
        self.thread.join(timeout=30)
        assert not self.thread.is_alive(), "a worker hangs"
        if self.error is not None and not isinstance(self.error, Gone):
            raise self.error


class Flows:
    """The `FlowRunner`: plays what was scripted for an agent, one outcome an attempt, then succeeds."""

    def __init__(self) -> None:
        self.script: dict[str, deque[Outcome]] = defaultdict(deque)
        self.ran: list[RunRequest] = []
        self.stopped: list[str] = []
        self._mine = threading.local()
        self._under: list[Under] = []

    def says(self, agent: str, *outcomes: Outcome) -> None:
        """What the agent's next attempts come to."""
        self.script[agent].extend(outcomes)

    def hold(self, under: Under, work: Callable[[], None]) -> None:
        """Do the work in a thread of its own, until it is in the flow or done."""

        def body() -> None:
            self._mine.under = under
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - the test's thread raises it
                under.error = error
            finally:
                under.moved.set()

        self._under.append(under)
        under.thread = threading.Thread(target=body, daemon=True)
        under.thread.start()
        assert under.moved.wait(timeout=30), "a worker hangs"

    # The port

    def run(self, request: RunRequest) -> RunReport:
        self.ran.append(request)
        under: Under | None = getattr(self._mine, "under", None)
        if under is None:
            outcomes = self.script[request.agent.name]
            outcome = outcomes.popleft() if outcomes else ok()
            return outcome if isinstance(outcome, RunReport) else outcome(request)
        under.request = request
        under.moved.set()
        under.go.wait()
        if under.report is None:
            raise Gone
        return under.report

    def cancel(self, execution_id: str) -> None:
        self.stopped.append(execution_id)
        for under in self._under:
            if under.message.execution_id == execution_id:
                under.asked_to_stop = True
