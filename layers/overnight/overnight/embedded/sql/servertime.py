"""The time of the database's server, which rules leases and ticks where several engines share it.

Asking for it each time would be a round trip; so it is measured now and then, and what has passed since is added. A
measurement says when the question was asked and when the answer was there, and the answer was made in between. The time
is taken to be the earlier of what is possible: an engine is late by a round trip at most, and never early.
"""

import time
from collections.abc import Callable
from datetime import datetime

from overnight.embedded.sql.instants import from_us, to_us

__all__ = ["ServerTime", "elapsed_us"]

_CLOCK = getattr(time, "CLOCK_BOOTTIME", None) or time.CLOCK_MONOTONIC
"""Nobody sets it, and it goes on while a machine sleeps."""


def elapsed_us() -> int:
    """Microseconds since this machine was started."""
    return time.clock_gettime_ns(_CLOCK) // 1_000


class ServerTime:
    """The server's time, from the last measurement."""

    def __init__(self, elapsed: Callable[[], int] = elapsed_us) -> None:
        """`elapsed` gives microseconds since some moment."""
        self.elapsed = elapsed
        self._offset: int | None = None

    def measured(self, asked: int, answer: datetime, answered: int) -> None:
        """Take note of a measurement: what `elapsed` gave before and after, and the time that the server said.

        One that what is known agrees with changes nothing, so the time doesn't tremble.
        """
        earliest, latest = to_us(answer) - answered, to_us(answer) - asked
        if self._offset is None or not earliest <= self._offset <= latest:
            self._offset = earliest

    def now(self) -> datetime:
        """The time, UTC."""
        if self._offset is None:
            raise RuntimeError("the server's time was not measured")
        return from_us(self.elapsed() + self._offset)
