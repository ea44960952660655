"""A turn of the engine: how attempts ended is recorded, and the next ones start, all in one transaction.

Should one of them fail, each is done by itself: what has run is recorded, and what has started is run, whatever fails
beside it.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from overnight.core import batches, run
from overnight.core.run import Ended, Started
from overnight.core.settle import definition
from overnight.embedded.outcomes import Outcomes
from overnight.embedded.sql.database import Due
from overnight.embedded.sql.instants import to_us
from overnight.embedded.sql.queue import SqlWorkQueue, Taken
from overnight.executions import Message, Status
from overnight.ports import Ports

__all__ = ["Turns"]


class Turns:
    """Takes turns.

    Args:
        ports: where attempts are recorded.
        queue: where the messages are.
        outcomes: is told what was recorded, and what is under way.
        failed: is told what goes wrong.
        guard: tells it, too, of what goes wrong within.
        alone: whether nobody else receives from the queue.
    """

    def __init__(
        self,
        ports: Ports,
        queue: SqlWorkQueue,
        outcomes: Outcomes,
        failed: Callable[[Exception], None],
        guard: Callable[[], AbstractContextManager[object]],
        *,
        alone: bool,
    ) -> None:
        self._ports = ports
        self._queue = queue
        self._outcomes = outcomes
        self._failed = failed
        self._guard = guard
        self._alone = alone

    def turn(self, ended: Sequence[Ended], most: int) -> tuple[list[Started], Sequence[Message]]:
        """Record what ended, and start what is due, so many at most; the messages that were received for it."""
        if most and not self._alone:
            return self._shared(ended, most)
        messages: Sequence[Message] = ()
        if most:
            with self._guard():
                messages = self._queue.receive(most, self._ports.now())
        return self.of(ended, messages), messages

    def of(self, ended: Sequence[Ended], messages: Sequence[Message]) -> list[Started]:
        """Record what ended, and do what messages that were received ask for. What takes longer comes before."""
        closing = [message for message in messages if message.kind == "close"]
        for message in closing:
            with self._guard():
                batches.carry_on(self._ports, message)
            with self._guard():
                self._queue.done(message)
        messages = [message for message in messages if message.kind != "close"]
        if not ended and not messages:
            return []
        try:
            started = list(run.turn(self._ports, ended, messages))
            self._outcomes.recorded(ended)
        except Exception as error:  # noqa: BLE001 - which of them it was shows when they are done one by one
            started = self._one_by_one(error, ended, messages)
        self._outcomes.expect(started)
        for message in messages:
            with self._guard():
                self._queue.done(message)
        return started

    def _shared(self, ended: Sequence[Ended], most: int) -> tuple[list[Started], Sequence[Message]]:
        """The same where others receive, too: a message is taken by the transaction that starts its attempt."""
        executions = [each.started.execution for each in ended]
        taken = Taken()
        try:
            started = list(
                self._queue.together(
                    Due(most, to_us(self._ports.now())),
                    lambda messages: run.turn(self._ports, ended, messages),
                    taken,
                    agents={execution.agent_id for execution in executions},
                    executions={execution.id for execution in executions},
                )
            )
            self._outcomes.recorded(ended)
        except Exception as error:  # noqa: BLE001 - as above
            started = self._one_by_one(error, ended, taken.messages)
            for message in taken.messages:
                with self._guard():
                    self._queue.done(message)
        self._outcomes.expect(started)
        return started + self.of((), taken.others), taken.all

    def _one_by_one(self, error: Exception, ended: Sequence[Ended], messages: Sequence[Message]) -> list[Started]:
        self._failed(error)
        self._outcomes.record(ended)
        started = []
        for message in messages:
            with self._guard():
                if one := self._begun(message) or run.start(self._ports, message):
                    started.append(one)
        return started

    def _begun(self, message: Message) -> Started | None:
        """The attempt that was started although the store went away before it could say so."""
        execution = self._ports.store.execution(message.execution_id)
        if (
            execution.status is not Status.RUNNING
            or execution.attempt != message.attempt
            or execution.lease is None
            or execution.lease.worker != self._ports.worker
            or self._outcomes.expects(execution)
        ):
            return None
        return Started(execution, definition(self._ports, execution))
