"""The embedded engine: one process with an alarm clock, a watchdog, and workers that can be killed.

    alarms ───> fire.tick ─┐
    HTTP API ─> fire, … ───┼──> store ──> queue ──> dispatcher ──> run ──> worker process
    watchdog ──────────────┘                           │
                                                    leases, renewed while the worker runs

Each loop waits for a wake-up or for the next time that it knows of, never longer than a second: a laptop that was
suspended finds, within a second of waking, that time has passed.
"""

import importlib.util
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from queue import Empty, SimpleQueue

from prometheus_client import CollectorRegistry

from overnight.core import fire, notify, run, watchdog
from overnight.core.attempts import renew
from overnight.core.settle import definition
from overnight.embedded.slots import Slots
from overnight.embedded.sql.alarms import Alarm, SqlAlarmClock
from overnight.embedded.sql.queue import SqlWorkQueue
from overnight.executions import AttemptOutcome, Message, Status
from overnight.ports import Ports, RunReport

__all__ = ["Engine"]

LONGEST_WAIT_SECONDS = 1.0
RENEW_SECONDS = 5.0
WATCH_SECONDS = 2.0
DELIVER_SECONDS = 1.0
PRUNE_SECONDS = 600.0
TICKS_AT_ONCE = 256

Key = tuple[str, str]


class Engine:
    """Starts, runs and stops the loops over a set of ports."""

    def __init__(
        self,
        ports: Ports,
        clock: SqlAlarmClock,
        queue: SqlWorkQueue,
        slots: Slots,
        *,
        registry: CollectorRegistry,
        alone: bool,
        close: Callable[[], None],
    ) -> None:
        self.ports = ports
        self.registry = registry
        self._clock = clock
        self._queue = queue
        self._slots = slots
        self._alone = alone
        self._close = close
        self._running = ThreadPoolExecutor(slots.count * 2 + 2, thread_name_prefix="run")
        self._ticking = ThreadPoolExecutor(8, thread_name_prefix="tick")
        self._draining = threading.Event()
        self._hurry = threading.Event()
        self._stopped = threading.Event()
        self._alarm_wake = threading.Event()
        self._dispatch_wake = threading.Event()
        self._rung: SimpleQueue[tuple[Alarm, bool, fire.Upcoming | None]] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    # Starting and stopping

    def start(self) -> None:
        """Recover what the engine before this one left, then begin; once begun, nothing."""
        if self._threads:
            return
        self._slots.warm(langflow=_has_langflow())
        if self._alone:
            self._recover()
        loops: dict[str, Callable[[], None]] = {
            "alarms": self._ring_alarms,
            "dispatch": self._dispatch,
            "renew": partial(self._every, RENEW_SECONDS, self._renew),
            "watchdog": partial(self._every, WATCH_SECONDS, partial(watchdog.watch, self.ports)),
            "deliver": partial(self._every, DELIVER_SECONDS, partial(notify.deliver_due, self.ports)),
            "prune": partial(self._every, PRUNE_SECONDS, self._prune),
        }
        for name, loop in loops.items():
            thread = threading.Thread(target=loop, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)
        self.ports.observe("engine.started", worker=self.ports.worker, workers=self._slots.count)

    def drain(self, seconds: float) -> None:
        """Begin no new attempts; running ones get so long, and the rest is put back, to go on at the next start."""
        if self._draining.is_set():
            return
        self._draining.set()
        self.wake()
        self.ports.observe("engine.draining", running=len(self._slots.running), drain_seconds=seconds)
        deadline = time.monotonic() + seconds
        while self._slots.running and time.monotonic() < deadline and not self._hurry.wait(0.02):
            pass
        interrupted = len(self._slots.running)
        self._slots.interrupt()
        self._running.shutdown(wait=True, cancel_futures=True)
        self.ports.observe("engine.drained", interrupted=interrupted)

    def close(self) -> None:
        """End loops and workers, and let go of the store; whatever still runs is interrupted."""
        self.drain(0)
        self._stopped.set()
        self.wake()
        for thread in self._threads:
            thread.join(timeout=10)
        self._ticking.shutdown(wait=True, cancel_futures=True)
        self._slots.close()
        self.ports.observe("engine.stopped")
        self._close()

    def stop(self, drain_seconds: float = 30.0) -> None:
        """Drain, then close."""
        self.drain(drain_seconds)
        self.close()

    def hurry(self) -> None:
        """Wait no longer for what runs."""
        self._hurry.set()

    def wake(self) -> None:
        """Something may be due now: look at once."""
        self._alarm_wake.set()
        self._dispatch_wake.set()

    def warm(self, seconds: float) -> bool:
        """Wait until the worker processes are ready to run flows; False if they aren't in time."""
        return self._slots.warm(langflow=_has_langflow(), seconds=seconds)

    def worker_of(self, execution_id: str) -> int | None:
        """The process id of the worker that runs an execution, if it runs here and has begun."""
        return self._slots.worker_of(execution_id)

    # Loops

    def _ring_alarms(self) -> None:
        """Fire each tick at its time, several at once, and set its alarm to the next one."""
        ringing: set[Key] = set()
        while not self._draining.is_set():
            self._alarm_wake.clear()
            with self._guard("alarms"):
                self._set_alarms(ringing)
                now = self.ports.now()
                for alarm in self._clock.due(now, TICKS_AT_ONCE + len(ringing)):
                    key = (alarm.agent_id, alarm.trigger)
                    if key not in ringing:
                        ringing.add(key)
                        self._ticking.submit(self._ring, alarm)
            self._wait(self._alarm_wake, None if ringing else self._clock.earliest())

    def _ring(self, alarm: Alarm) -> None:
        """One tick, told to the loop when it is done."""
        upcoming, failed = None, True
        try:
            upcoming, failed = fire.tick(self.ports, alarm.agent_id, alarm.trigger, alarm.nominal), False
        except Exception as error:  # noqa: BLE001 - the loop tries again, and the others go on
            self._tell("alarms", error)
            self._stopped.wait(LONGEST_WAIT_SECONDS)
        self._rung.put((alarm, failed, upcoming))
        self._alarm_wake.set()

    def _set_alarms(self, ringing: set[Key]) -> None:
        done = []
        try:
            while True:
                done.append(self._rung.get_nowait())
        except Empty:
            pass
        self._clock.advance((alarm, upcoming) for alarm, failed, upcoming in done if not failed)
        ringing -= {(alarm.agent_id, alarm.trigger) for alarm, _, _ in done}

    def _dispatch(self) -> None:
        """Give each message that is due to a free slot."""
        while not self._draining.is_set():
            free = self._slots.take(LONGEST_WAIT_SECONDS)
            if not free:
                continue
            self._dispatch_wake.clear()
            messages: list[Message] = []
            earliest = None
            with self._guard("dispatch"):
                messages = list(self._queue.receive(free, self.ports.now()))
                if not messages:
                    earliest = self._queue.earliest(self.ports.now())
            self._slots.give_back(free - len(messages))
            for message in messages:
                self._running.submit(self._one, message)
            if not messages:
                self._wait(self._dispatch_wake, earliest)

    def _one(self, message: Message) -> None:
        """Carry out one message, in a slot that was taken for it."""
        with self._slots.held(), self._guard("run"):
            if not self._draining.is_set():
                run.run(self.ports, message)

    def _renew(self) -> None:
        """Hold the leases of what runs here; what somebody else ended is ended here too."""
        until = self.ports.now() + timedelta(seconds=self.ports.lease_seconds)
        for id_, attempt in self._slots.running:
            renewed = self.ports.store.revise(id_, partial(renew, attempt=attempt, until=until))
            if renewed is None:
                self._slots.cancel(id_)

    def _prune(self) -> None:
        """Remove what its retention has passed, a little at a time."""
        while self.ports.store.prune(self.ports.now(), 500) and not self._draining.is_set():
            pass

    def _recover(self) -> None:
        """No other engine is here: whatever runs by the record was cut off, and goes on by its retry policy."""
        cursor = None
        while True:
            page = self.ports.store.unfinished(cursor=cursor)
            for execution in page.items:
                if execution.status is Status.RUNNING:
                    report = RunReport(AttemptOutcome.LOST, failure=watchdog.LOST)
                    run.finish(self.ports, execution, execution.attempt, definition(self.ports, execution), report)
            cursor = page.cursor
            if cursor is None:
                break

    # Waiting

    def _every(self, seconds: float, work: Callable[[], object]) -> None:
        name = threading.current_thread().name
        while not self._stopped.is_set():
            with self._guard(name):
                work()
            self._stopped.wait(seconds)

    def _wait(self, wake: threading.Event, until: datetime | None) -> None:
        """Until a wake-up or that time, and never for long: clocks jump, and machines sleep."""
        seconds = LONGEST_WAIT_SECONDS
        if until is not None:
            seconds = min(max((until - self.ports.now()).total_seconds(), 0.0), seconds)
        wake.wait(seconds)

    def _guard(self, name: str) -> "_Guard":
        return _Guard(partial(self._tell, name))

    def _tell(self, name: str, error: Exception) -> None:
        self.ports.observe("engine.failed", loop=name, error=f"{type(error).__name__}: {error}")


def _has_langflow() -> bool:
    return importlib.util.find_spec("lfx") is not None


class _Guard:
    """A loop outlives what goes wrong in one of its rounds; that is told, and the next round follows a little later."""

    def __init__(self, tell: Callable[[Exception], None]) -> None:
        self._tell = tell

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self._tell(error)
        time.sleep(0.2)
        return True
