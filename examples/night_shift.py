"""The Python agents of `make demo`: functions that are given the run's context, and return text or a dict."""

import time

from overnight import Context


def fetch(context: Context) -> str:
    """Fails twice, then succeeds."""
    if context.attempt < 3:  # noqa: PLR2004 - it fails twice
        raise ConnectionError(f"the line is busy, attempt {context.attempt}")
    return f"fetched at attempt {context.attempt}"


def reach_for_the_moon() -> None:
    """Always fails."""
    raise RuntimeError("the moon is out of reach")


def dawdle() -> str:
    """Takes three seconds."""
    time.sleep(3)
    return "done, in my own time"


def index(context: Context) -> dict[str, object]:
    """Is told what the event carried."""
    return {"text": f"indexed {context.firing.payload}", "dataset": context.firing.payload}


async def announce(context: Context) -> str:
    """Is told what its trigger took from the event; may as well be async."""
    return f"Large dataset: {context.input_value}"


def work_through_the_night(context: Context) -> str:
    """Takes long enough for its worker to be killed."""
    if context.attempt == 1:
        time.sleep(30)
    return f"done by another worker, attempt {context.attempt}"
