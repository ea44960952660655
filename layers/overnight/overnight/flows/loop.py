"""One event loop per thread, kept between attempts.

Model providers' clients are cached by their libraries and stay bound to the loop that first used them, so a loop per
attempt would leave them closed. What an attempt leaves running is cancelled when it ends.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_SWEEP_SECONDS = 1.0


class _Loops(threading.local):
    loop: asyncio.AbstractEventLoop | None = None


_loops = _Loops()


def run_in_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on this thread's loop; what it raises is raised here.

    asyncio lets SystemExit and KeyboardInterrupt out of a task through the loop, past what awaits the task. Here the
    coroutine is cancelled then, with the name of what ended it as the message, and has the last word.
    """
    loop = _loops.loop
    if loop is None or loop.is_closed():
        loop = _loops.loop = asyncio.new_event_loop()
    task = loop.create_task(coroutine)
    try:
        return loop.run_until_complete(task)
    except (SystemExit, KeyboardInterrupt) as error:
        if task.done():
            raise
        task.cancel(type(error).__name__)
        return loop.run_until_complete(task)
    finally:
        _sweep(loop)


def _sweep(loop: asyncio.AbstractEventLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=_SWEEP_SECONDS))


def _forget() -> None:
    """A forked process must not go on with its parent's loop: they would share its selector."""
    global _loops  # noqa: PLW0603 - nothing of it can be kept
    _loops = _Loops()


os.register_at_fork(after_in_child=_forget)
