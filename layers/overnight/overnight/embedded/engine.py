"""The embedded engine: one process with an alarm clock, a watchdog, and workers that can be killed.

    alarms ───> fire.tick ─┐
    HTTP API ─> fire, … ───┼──> store ──> queue ──> dispatcher ──> run ──> worker process
    watchdog ──────────────┘                           │
                                                    leases, renewed while the worker runs

Each loop waits for a wake-up or for the next time that it knows of, never longer than a second: a laptop that was
suspended finds, within a second of waking, that time has passed.

Several engines may share a store. They tell each other of what one of them can't do itself at once; whatever they miss,
they find within that second. A store that is away is waited for: what has run here is recorded when it is back.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from queue import Empty, SimpleQueue

from prometheus_client import CollectorRegistry

from overnight.core import fire, notify, retention, run, watchdog
from overnight.core.attempts import renew
from overnight.core.run import Ended, Started
from overnight.core.settle import definition
from overnight.embedded.inbox import Inbox
from overnight.embedded.outcomes import Outcomes
from overnight.embedded.shared_runner import CANCEL
from overnight.embedded.slots import Slots
from overnight.embedded.sql.alarms import Alarm, SqlAlarmClock
from overnight.embedded.sql.queue import SqlWorkQueue
from overnight.embedded.turns import Turns
from overnight.errors import Unavailable
from overnight.executions import AttemptOutcome, Message, Status
from overnight.ports import Ports, RunReport, RunRequest

__all__ = ["Engine"]

LONGEST_WAIT_SECONDS = 1.0
RENEW_SECONDS = 5.0
WATCH_SECONDS = 2.0
DELIVER_SECONDS = 1.0
INBOX_SECONDS = 1.0
PRUNE_SECONDS = 600.0
TICKS_AT_ONCE = 256
REQUEST_TRIES = 3
GATHER_SECONDS = 0.001
"""How long a turn waits for all attempts to end while more messages are due than there are slots.

Then nobody's attempt begins later by it: a turn for four costs little more than one for one, and all have to wait less.
"""

JOIN_SECONDS = 30.0

PATIENCE_SECONDS = 10.0
"""How long the watchdog stands still after the store was away.

Leases are over then that nobody could renew, and whoever holds them is given a moment to do so.
"""

ALARMS = "alarms"
MESSAGES = "messages"

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
        sweep: Callable[[], object],
        tell: Callable[[str], None],
        close: Callable[[], None],
        inbox: Inbox | None = None,
    ) -> None:
        """Put it together; nothing runs yet.

        Args:
            ports: all the ports.
            clock: the alarm clock among them.
            queue: the work queue among them.
            slots: the workers.
            registry: what /metrics shows.
            alone: whether no other engine uses the store.
            sweep: removes a part of the blobs that nobody needs.
            tell: tells the other engines, which `hear` it.
            close: lets go of store and data folder.
            inbox: the folder of events, if there is one.
        """
        self.ports = ports
        self.registry = registry
        self._clock = clock
        self._queue = queue
        self._slots = slots
        self._alone = alone
        self._sweep = sweep
        self._tell_others = tell
        self._close = close
        self._inbox = inbox
        self._away = False
        self._patience = 0.0
        self._ticking = ThreadPoolExecutor(8, thread_name_prefix="tick")
        self._delivering = ThreadPoolExecutor(8, thread_name_prefix="deliver")
        self._draining = threading.Event()
        self._hurry = threading.Event()
        self._stopped = threading.Event()
        self._alarm_wake = threading.Event()
        self._dispatch_wake = threading.Event()
        self._asked = False
        self._begins_no_more = threading.Event()
        self._outcomes = Outcomes(ports, partial(self._tell, "finish"), self._answers, self._stopped)
        tell, guard = partial(self._tell, "dispatch"), partial(self._guard, "dispatch")
        self._turns = Turns(ports, queue, self._outcomes, tell, guard, alone=alone)
        slots.freed = self._dispatch_wake.set
        self._rung: SimpleQueue[tuple[Alarm, bool, fire.Upcoming | None]] = SimpleQueue()
        self._threads: dict[str, threading.Thread] = {}

    # Starting and stopping

    def start(self) -> None:
        """Recover what the engine before this one left, then begin; once begun, nothing."""
        if self._threads:
            return
        self._slots.workers.warm(langflow=self._runs_langflow())
        if self._alone:
            self._recover()
        else:
            self._patience = time.monotonic() + PATIENCE_SECONDS
        loops: dict[str, Callable[[], None]] = {
            "alarms": self._ring_alarms,
            "dispatch": self._dispatch,
            "renew": partial(self._every, RENEW_SECONDS, self._renew),
            "watchdog": partial(self._every, WATCH_SECONDS, self._watch),
            "deliver": partial(self._every, DELIVER_SECONDS, self._deliver),
            "prune": partial(self._every, PRUNE_SECONDS, self._prune),
        }
        if self._inbox is not None:
            loops["inbox"] = partial(self._every, INBOX_SECONDS, self._inbox.look)
        for name, loop in loops.items():
            thread = threading.Thread(target=loop, name=name, daemon=True)
            thread.start()
            self._threads[name] = thread
        self.ports.observe("engine.started", worker=self.ports.worker, workers=self._slots.count)

    def drain(self, seconds: float) -> None:
        """Begin no new attempts; running ones get so long, and the rest is put back, to go on at the next start."""
        if self._draining.is_set():
            return
        self._draining.set()
        if not self._threads:  # it was never started
            return
        self._alarm_wake.set()
        self._dispatch_wake.set()
        self.ports.observe("engine.draining", running=len(self._slots.running), drain_seconds=seconds)
        deadline = time.monotonic() + seconds
        while self._slots.running and time.monotonic() < deadline and not self._hurry.wait(0.02):
            pass
        interrupted = len(self._slots.running)
        self._slots.workers.interrupt()
        self._begins_no_more.wait(JOIN_SECONDS)
        self._join("alarms")
        deadline = time.monotonic() + JOIN_SECONDS
        while self._slots.running and time.monotonic() < deadline:  # longer only where the store is away
            time.sleep(0.01)
        self._outcomes.end()
        self._dispatch_wake.set()
        self._join("dispatch")
        self.ports.observe("engine.drained", interrupted=interrupted)

    def close(self) -> None:
        """End loops and workers, and let go of the store; whatever still runs is interrupted."""
        self.drain(0)
        self._stopped.set()
        for name in list(self._threads):
            self._join(name)
        self._ticking.shutdown(wait=True, cancel_futures=True)
        self._delivering.shutdown(wait=True, cancel_futures=True)
        self._slots.workers.close()
        if self._threads:
            self.ports.observe("engine.stopped")
        self._close()

    def stop(self, drain_seconds: float = 30.0) -> None:
        """Drain, then close."""
        self.drain(drain_seconds)
        self.close()

    def _join(self, name: str) -> None:
        if thread := self._threads.get(name):
            thread.join(JOIN_SECONDS)

    def hurry(self) -> None:
        """Wait no longer for what runs."""
        self._hurry.set()

    def wake_alarms(self) -> None:
        """An alarm was set here: look when the earliest one rings."""
        self._alarm_wake.set()
        self._tell_others(ALARMS)

    def wake_dispatch(self) -> None:
        """A message was sent here: look whether it is due, or have the others look, when there is no slot for it."""
        self._asked = True
        if self._slots.full or self._draining.is_set():
            self._tell_others(MESSAGES)
        else:
            self._dispatch_wake.set()

    def hear(self, what: str) -> None:
        """What another engine told."""
        word, _, about = what.partition(" ")
        if word == CANCEL:
            self._slots.workers.cancel(about)
            return
        if word != MESSAGES:
            self._alarm_wake.set()
        if word != ALARMS:
            self._asked = True
            self._dispatch_wake.set()

    def warm(self, seconds: float, *, langflow: bool = False) -> bool:
        """Wait until worker processes are ready to run flows, Langflow's too; False if they aren't in time."""
        return self._slots.workers.warm(langflow=langflow, seconds=seconds)

    def _runs_langflow(self) -> bool:
        """Whether workers for Langflow flows should be got ready: if any of the first agents has such a flow."""
        first = self.ports.store.agents(limit=500)
        return any(agent.document.flow.kind == "langflow" for agent, _ in first.items)

    def worker_of(self, execution_id: str) -> int | None:
        """The process id of the worker that runs an execution, if it runs here and has begun."""
        return self._slots.workers.worker_of(execution_id)

    # Loops

    def _ring_alarms(self) -> None:
        """Fire each tick at its time, several at once, and set its alarm to the next one."""
        ringing: set[Key] = set()
        while not self._draining.is_set():
            self._alarm_wake.clear()
            earliest = None
            with self._guard("alarms"):
                self._set_alarms(ringing)
                now = self.ports.now()
                for alarm in self._clock.due(now, TICKS_AT_ONCE + len(ringing)):
                    key = (alarm.agent_id, alarm.trigger)
                    if key not in ringing:
                        ringing.add(key)
                        self._ticking.submit(self._ring, alarm)
                # Those that ring are the earliest still, unless they were claimed: then they come again later.
                earliest = None if ringing and self._alone else self._clock.earliest()
            self._wait(self._alarm_wake, earliest)
        if not self._alone:  # what was claimed is fired, or others would wait for it
            self._ticking.shutdown()
            with self._guard("alarms"):
                self._set_alarms(ringing)

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
        ringing -= {(alarm.agent_id, alarm.trigger) for alarm, _, _ in done}
        self._clock.advance((alarm, upcoming) for alarm, failed, upcoming in done if not failed)

    def _dispatch(self) -> None:
        """Turn after turn: record what has ended, and start what messages ask for while there are free slots."""
        look_at: datetime | None = None
        behind = False
        while not self._outcomes.over:
            if behind:
                self._slots.idle.wait(GATHER_SECONDS)
            self._dispatch_wake.clear()
            free = self._slots.take()
            messages: Sequence[Message] = ()
            started: list[Started] = []
            draining = self._draining.is_set()
            most = 0
            if draining:
                self._begins_no_more.set()
            elif free and (self._asked or look_at is None or look_at <= self.ports.now()):
                most, look_at = free, None
                self._asked = False
            with self._guard("dispatch"):
                started, messages = self._turns.turn(self._outcomes.take(), most)
            if most and (behind := len(messages) == most):
                self._tell_others(MESSAGES)  # there may be more than there are slots here
            elif most and not messages:
                with self._guard("dispatch"):
                    look_at = self._look_at()
            self._slots.give_back(free - len(started))
            for each in started:
                self._hand_over(each)
            if not messages:
                self._wait(self._dispatch_wake, look_at if free and not draining else None)

    def _look_at(self) -> datetime:
        """When to look again for messages, unless asked to before."""
        now = self.ports.now()
        latest = now + timedelta(seconds=LONGEST_WAIT_SECONDS)
        return min(self._queue.earliest(now) or latest, latest)

    def _hand_over(self, started: Started) -> None:
        """Give an attempt to a worker; the end of it goes to `_outcomes`."""

        def done(report: RunReport) -> None:
            self._outcomes.put(Ended(started, report))

        try:
            request = self._requested(started)
            if isinstance(request, RunReport):
                self._slots.give_back(1)
                done(request)
            else:
                self._slots.fill(request, done)
        except Exception as error:  # noqa: BLE001 - the lease ends, and the watchdog goes on with it
            self._slots.give_back(1)
            self._tell("dispatch", error)

    def _requested(self, started: Started) -> RunRequest | RunReport:
        """What the flow is given. A store that goes away in between is waited for: that is no failure of the flow."""
        request = run.requested(self.ports, started)
        for _ in range(REQUEST_TRIES):
            failure = request.failure if isinstance(request, RunReport) else None
            if failure is None or failure.type != Unavailable.__name__:
                break
            while not self._answers() and not self._draining.wait(LONGEST_WAIT_SECONDS):
                pass
            request = run.requested(self.ports, started)
        return request

    def _renew(self) -> None:
        """Hold the leases of what runs here; what somebody else ended is ended here too."""
        self._notice()
        until = self.ports.now() + timedelta(seconds=self.ports.lease_seconds)
        for id_, attempt in self._slots.running:
            renewed = self.ports.store.revise(id_, partial(renew, attempt=attempt, until=until))
            if renewed is None:
                self._slots.workers.cancel(id_)

    def _notice(self) -> None:
        """Notice whether the store is there, and was. Raises Unavailable."""
        if self._alone:
            return
        if not self._answers():
            self._away = True
            raise Unavailable("the store does not answer")
        if self._away:
            self._patience = time.monotonic() + PATIENCE_SECONDS
            self._away = False

    def _answers(self) -> bool:
        """Whether the store does."""
        try:
            self.ports.store.healthy()
        except Unavailable:
            return False
        return True

    def _watch(self) -> None:
        """Look for what was left behind, unless nobody could have carried it on."""
        if not self._away and time.monotonic() > self._patience:
            watchdog.watch(self.ports)

    def _deliver(self) -> None:
        """Send the notifications that are due, several at once."""
        notify.deliver_due(self.ports, each=self._delivering.map)

    def _prune(self) -> None:
        """Remove what its retention has passed, a little at a time, and blobs that nobody needs any more."""
        retention.prune(self.ports, go_on=lambda: not self._draining.is_set())
        self._sweep()

    def _recover(self) -> None:
        """No other engine is here: whatever runs by the record was cut off, and goes on by its retry policy."""
        cursor = None
        while True:
            page = self.ports.store.unfinished(cursor=cursor)
            for execution in page.items:
                if execution.status is Status.RUNNING:
                    started = Started(execution, definition(self.ports, execution))
                    run.finish(self.ports, [Ended(started, RunReport(AttemptOutcome.LOST, failure=watchdog.LOST))])
            cursor = page.cursor
            if cursor is None:
                break

    # Waiting

    def _every(self, seconds: float, work: Callable[[], object]) -> None:
        name = threading.current_thread().name
        while not self._stopped.is_set():
            failed = True
            with self._guard(name):
                work()
                failed = False
            self._stopped.wait(min(seconds, LONGEST_WAIT_SECONDS) if failed else seconds)

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
