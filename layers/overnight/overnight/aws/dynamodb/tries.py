"""Trying again when somebody else wrote in between: at once at first, then after waits that grow, with jitter."""

import random
import time
from collections.abc import Iterator

from overnight.errors import Unavailable

__all__ = ["tries"]

MOST = 60
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.002, 0.25


def tries(what: str) -> Iterator[int]:
    """The number of each try, from 0. Raises Unavailable after the last."""
    for number in range(MOST):
        if number:
            time.sleep(random.uniform(0, min(_SHORTEST_SECONDS * 2**number, _LONGEST_SECONDS)))
        yield number
    raise Unavailable(f"too many are writing to {what} at once; try again later")
