"""How attempts ended, on its way into the record.

What has run is not to run again because the store was away when it ended: it is kept here until the store is back.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence

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
    """Keeps what is large of how attempts ended, and has the rest ready to be recorded.

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
        self._ready: deque[Ended] = deque()
        self._open: set[tuple[str, int]] = set()
        self._over = False

    def expect(self, started: Iterable[Started]) -> None:
        """Note that these attempts are under way here."""
        self._open.update(_key(each.execution) for each in started)

    def expects(self, execution: Execution) -> bool:
        """Whether this attempt is under way here, or has ended and is not recorded yet."""
        return _key(execution) in self._open

    def put(self, ended: Ended) -> None:
        """Make it ready to be recorded; that waits for the store where it is away and something large is to be kept."""
        if not self._trying([ended], self._keep):
            self.recorded([ended])  # as far as it ever is

    def end(self) -> None:
        """Nothing comes after this."""
        self._over = True

    @property
    def over(self) -> bool:
        """Whether nothing will come, and all that came was taken."""
        return self._over and not self._ready

    def take(self) -> Sequence[Ended]:
        """Those that are ready to be recorded, not too many."""
        return [self._ready.popleft() for _ in range(min(len(self._ready), AT_ONCE))]

    def recorded(self, ended: Iterable[Ended]) -> None:
        """Note that these are on record."""
        self._open.difference_update(_key(each.started.execution) for each in ended)

    def record(self, ended: Sequence[Ended]) -> None:
        """Record them, when the store is there; where they can't be recorded as one, each by itself."""
        self._trying(ended, lambda some: run.finish(self._ports, some))
        self.recorded(ended)

    def _keep(self, ended: Sequence[Ended]) -> None:
        self._ready.extend([run.kept(self._ports, each) for each in ended])

    def _trying(self, ended: Sequence[Ended], act: Callable[[Sequence[Ended]], None]) -> bool:
        """Act, again while the store is away; a few times where it isn't, and where they are several, for each.

        Whether it was done with all of them at last.
        """
        tries = 0
        while (error := _raised(act, ended)) is not None:
            self._failed(error)
            if not isinstance(error, Unavailable) or self._answers():
                if len(ended) > 1:
                    done = [self._trying([each], act) for each in ended]
                    return all(done)
                if (tries := tries + 1) == TRIES:
                    return False  # the lease ends, and the watchdog goes on with it
            if self._given_up.wait(WAIT_SECONDS):
                return False
        return True


def _raised(act: Callable[[Sequence[Ended]], None], ended: Sequence[Ended]) -> Exception | None:
    try:
        act(ended)
    except Exception as error:  # noqa: BLE001 - the caller sees what can be done about it
        return error
    return None


def _key(execution: Execution) -> tuple[str, int]:
    return execution.id, execution.attempt
