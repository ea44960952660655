"""What AWS answers when something goes wrong, in our words."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from overnight.errors import Unavailable

__all__ = ["code_of", "in_full", "unavailable"]

T = TypeVar("T")

PAUSES_SECONDS = (0.05, 0.2, 0.8)
"""At most so long before what a service has left undone is tried again."""


def code_of(error: ClientError) -> str:
    """The code of an error, such as `ResourceNotFoundException`."""
    response: Any = error.response
    return str(response.get("Error", {}).get("Code", ""))


@contextmanager
def unavailable(service: str) -> Iterator[None]:
    """Whatever is not dealt with within is Unavailable, with AWS's own code and message."""
    try:
        yield
    except ClientError as error:
        raise Unavailable(f"{service}: {error}") from error
    except BotoCoreError as error:
        raise Unavailable(f"{service} does not answer: {error}") from error


def in_full(service: str, rest: list[T], carry_out: Callable[[list[T]], tuple[list[T], str]]) -> None:
    """Carry out what a service takes many of at once, and may do in part: what is left is tried again, after a pause.

    `carry_out` gives what was left undone, and why. Raises Unavailable after the last try.
    """
    why = ""
    for pause in (0, *PAUSES_SECONDS):
        time.sleep(random.uniform(0, pause))
        with unavailable(service):
            rest, why = carry_out(rest)
        if not rest:
            return
    raise Unavailable(f"{service}: {why}")
