"""How attempts ended, on its way into the record.

What has run is not to run again because the store was away when it ended: it is kept here until the store is back.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue

from overnight.core import run
from overnight.core.run import Ended, Started
from overnight.errors import Unavailable
from overnight.executions import Execution
from overnight.ports import Ports

__all__ = ["Outcomes"]

AT_ONCE = 64
TRIES = 3
WAIT_SECONDS = 1.0


class Outcomes:
    """Records how attempts ended, all those that have by now as one.

    Args:
        ports: where they are recorded.
        failed: is told what goes wrong.
        answers: whether the store does.
        given_up: set when the store is not to be waited for any longer.
    """

    def __init__(
        self,
        ports: Ports,
        failed: Callable[[Exception], None],
        answers: Callable[[], bool],
        given_up: threading.Event,
    ) -> None:
        self._ports = ports
        self._failed = failed
        self._answers = answers
        self._given_up = given_up
        self._ended: SimpleQueue[Ended | None] = SimpleQueue()
        self._open: set[tuple[str, int]] = set()

    def expect(self, started: Iterable[Started]) -> None:
        """Note that these attempts are under way here."""
        self._open.update(_key(each.execution) for each in started)

    def expects(self, execution: Execution) -> bool:
        """Whether this attempt is under way here, or has ended and is not recorded yet."""
        return _key(execution) in self._open

    def put(self, ended: Ended) -> None:
        """Have it recorded, soon, by `loop`."""
        self._ended.put(ended)

    def end(self) -> None:
        """Nothing comes after this: `loop` returns when it has recorded all."""
        self._ended.put(None)

    def loop(self) -> None:
        """Record what is put, until the end."""
        while (first := self._ended.get()) is not None:
            ended = [first]
            last = False
            with contextlib.suppress(Empty):
                while len(ended) < AT_ONCE and not last:
                    following = self._ended.get_nowait()
                    last = following is None
                    if following is not None:
                        ended.append(following)
            self._record(ended)
            if last:
                return

    def _record(self, ended: list[Ended]) -> None:
        """Record them, when the store is there; where they can't be recorded as one, each by itself."""
        tries = 0
        while (error := self._recorded(ended)) is not None:
            self._failed(error)
            if not isinstance(error, Unavailable) or self._answers():
                if len(ended) > 1:
                    for each in ended:
                        self._record([each])
                    return
                if (tries := tries + 1) == TRIES:
                    break  # the lease ends, and the watchdog goes on with it
            if self._given_up.wait(WAIT_SECONDS):
                return
        self._open.difference_update(_key(each.started.execution) for each in ended)

    def _recorded(self, ended: list[Ended]) -> Exception | None:
        try:
            run.finish(self._ports, ended)
        except Exception as error:  # noqa: BLE001 - the caller sees what can be done about it
            return error
        return None


def _key(execution: Execution) -> tuple[str, int]:
    return execution.id, execution.attempt
