"""The engine on AWS: what each Lambda function does with its event, one call each.

    Scheduler ──> ring ──┬─> fire.tick ─> run queue ──────> run ──> the flow
                         └─> fire queue ─> fire ──┘ ▲          │
    events queue, bus ──> take ─────────────────────┤          └──> retry queue ──> run
    API, webhooks ──> the core's own verbs ─────────┤
    Scheduler, every minute ──> watch ──────────────┘

What gathers events (a batch, a debounce) is closed over the fire queue, too, at its time.

A handler parses its event, and makes one of these calls; what raises is Lambda's, or the queue's, to try again.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from pydantic import ConfigDict, TypeAdapter

from overnight.aws.messages import Alarm, Fire
from overnight.aws.observe import Observation
from overnight.aws.secrets import SsmSecretStore
from overnight.aws.sqs import DeadLetters, FireQueue
from overnight.aws.sweep import Sweep
from overnight.calendar.interval import Interval
from overnight.calendar.ticks import Calendar
from overnight.core import events, fire, notify, run, watchdog
from overnight.core.envelopes import parse, unwrap
from overnight.errors import AgentNotFound, Invalid
from overnight.executions import Message
from overnight.ports import Ports
from overnight.triggers import Schedule

if TYPE_CHECKING:
    from overnight.aws.runner import InProcessRunner

__all__ = ["Engine", "Invocation"]

WATCH_MARGIN_SECONDS = 5.0
"""The watchdog looks at nothing with less time than this left, and begins no delivery with less than it may take."""
DELIVERY_SECONDS = 16.0

SWEEP_MINUTE = 41
"""The minute of every hour in which blobs are swept: one in which few schedules are due."""
SWEEP_SECONDS = 10.0
"""The sweep begins no step with less time than this left."""

LIMIT = 100
MINUTE = timedelta(minutes=1)

_schedule: TypeAdapter[Schedule] = TypeAdapter(Schedule, config=ConfigDict(defer_build=True))


class Invocation(Protocol):
    """What Lambda's context says of the invocation."""

    @property
    def aws_request_id(self) -> str:
        """The invocation's id."""

    def get_remaining_time_in_millis(self) -> int:
        """How long it may still take."""


class Engine:
    """A function's ports, and what it does with them.

    Args:
        ports: the ports.
        observation: the observer, whose logger and metrics the handlers use too.
        fires: the fire queue.
        dead_letters: where messages go that can't be read.
        secrets: the secret store, which makes the master key at deployment.
        sweep: removes blobs that nobody needs.
        runner: the flow runner; None in functions that run no flows.
        end: ends the process at once, with that exit code.
    """

    def __init__(
        self,
        ports: Ports,
        observation: Observation,
        fires: FireQueue,
        dead_letters: DeadLetters,
        secrets: SsmSecretStore,
        sweep: Sweep,
        runner: "InProcessRunner | None" = None,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self.ports = ports
        self.observation = observation
        self._fires = fires
        self._dead_letters = dead_letters
        self._secrets = secrets
        self._sweep = sweep
        self._runner = runner
        self._end = end

    # tick

    def ring(self, alarm: Alarm) -> None:
        """Scheduler calls, in the minute of a tick or in another: fire what is a tick now, and hold back what is later.

        What is no tick is dropped, without a read where the alarm says what it was armed for.
        """
        calendar = self._calendar(alarm)
        if calendar is None:
            return
        now = self.ports.now()
        later = []
        for one in _fires(alarm, calendar):
            if one.due <= now:
                fire.tick(self.ports, one.agent_id, one.trigger, one.nominal)
            else:
                later.append(one)
        self._fires.send(later)

    def fire(self, one: Fire | Message) -> None:
        """The fire queue brings a tick whose time has come, or a batch that is to be closed.

        Or not yet, where SQS could not hold it back so long.
        """
        if isinstance(one, Message):
            run.run(self.ports, one)
        elif one.due > self.ports.now():
            self._fires.send([one])
        else:
            fire.tick(self.ports, one.agent_id, one.trigger, one.nominal)

    def _calendar(self, alarm: Alarm) -> Calendar | None:
        if alarm.definition is not None:
            return _schedule.validate_python(alarm.definition).calendar(alarm.anchor)
        try:
            agent, state = self.ports.store.read(alarm.agent_id)
        except AgentNotFound:
            return None
        armed = state.schedules.get(alarm.trigger)
        return agent.document.schedules[alarm.trigger].calendar(armed.anchor) if armed else None

    # runner

    def run(self, message: Message, invocation: Invocation) -> None:
        """Carry out one message of run or retry queue. Ends the process after a flow that was given up."""
        remaining = invocation.get_remaining_time_in_millis() / 1_000
        if self._runner is not None:
            self._runner.until(remaining)
        ports = replace(
            self.ports,
            lease_seconds=remaining + run.LEASE_MARGIN_SECONDS,
            worker=f"lambda:{invocation.aws_request_id}",
        )
        run.run(ports, message)
        if self._runner is not None and self._runner.spent:
            # All is recorded; the message comes once more, is found to be stale, and dropped.
            self.observation.flush()
            self._end(1)

    # watchdog

    def watch(self, invocation: Invocation) -> int:
        """Look at all that is due, send the notifications that are, and once an hour go on with the sweep of blobs.

        How many things were looked at, sent, and swept away.
        """

        def go_on() -> bool:
            return _seconds(invocation) > WATCH_MARGIN_SECONDS

        looked = 0
        while go_on():
            found = watchdog.watch(self.ports, limit=LIMIT, go_on=go_on)
            looked += found
            if found < LIMIT:
                break
        for delivery in self.ports.store.due_deliveries(self.ports.now(), LIMIT):
            if _seconds(invocation) < DELIVERY_SECONDS:
                break
            notify.deliver(self.ports, delivery)
            looked += 1
        if self.ports.now().minute == SWEEP_MINUTE:
            looked += self._sweep(lambda: _seconds(invocation) > SWEEP_SECONDS)
        return looked

    # events

    def take(self, body: str, message_id: str) -> tuple[str, ...]:
        """Bring the events in a message to their subscribers; the ids of the executions. It may come again.

        What can't be read would come again and again: it is put among the dead letters at once.
        """
        try:
            found = unwrap(parse(body), message_id, self.ports.now())
        except Invalid as invalid:
            self._dead_letters.send(body, str(invalid))
            self.observation("event.unreadable", message_id=message_id, error=str(invalid))
            return ()
        return tuple(id_ for event in found for id_ in events.take(self.ports, event))

    # declare

    def ensure_master_key(self) -> None:
        """Make the key that all others are derived from, unless there is one."""
        self._secrets.ensure_master_key()


def _seconds(invocation: Invocation) -> float:
    return invocation.get_remaining_time_in_millis() / 1_000


def _fires(alarm: Alarm, calendar: Calendar) -> Iterator[Fire]:
    """The ticks that a call is for: those of its minute; or, where every minute has some, of the one after it.

    Scheduler calls at some time within the minute, too late for the ticks at its beginning.
    """
    minute = alarm.scheduled.replace(second=0, microsecond=0)
    since, until = minute, minute + MINUTE
    if isinstance(calendar.rule, Interval) and calendar.rule.every < MINUTE:
        until += MINUTE
        if alarm.since is None or alarm.since < minute - MINUTE:
            since += MINUTE
    for nominal in calendar.ticks(since, until):
        yield Fire(agent_id=alarm.agent_id, trigger=alarm.trigger, nominal=nominal, due=_due(alarm, calendar, nominal))


def _due(alarm: Alarm, calendar: Calendar, nominal: datetime) -> datetime:
    if not calendar.jitter:
        return nominal
    return nominal + calendar.delay(f"{alarm.agent_id}/{alarm.trigger}", nominal, calendar.next(nominal))
