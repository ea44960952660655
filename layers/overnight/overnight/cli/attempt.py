"""One attempt of a flow in a process of its own, that can be ended: what `overnight run` is made of."""

import contextlib
import multiprocessing
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from overnight.flows.attempt import run
from overnight.flows.call import Allowed, Call, FlowFailure, Result

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

__all__ = ["attempt"]

_SPAWNED = multiprocessing.get_context("spawn")
_LAST_WORDS_SECONDS = 5.0
"""What the process gets to end by itself, once the flow has."""


def attempt(call: Call, allowed: Allowed, timeout_seconds: float) -> Result:
    """Run it to its end, or for as long as it may take; what it prints goes to standard error.

    Raises:
        FlowFailure: it failed, took too long, or its process died.
    """
    reader, writer = _SPAWNED.Pipe(duplex=False)
    process = _SPAWNED.Process(target=_run, args=(call, allowed, writer))
    with _deaf_to_interrupts():
        process.start()
    writer.close()
    try:
        if not reader.poll(timeout_seconds):
            raise FlowFailure("TimedOut", f"It took longer than {timeout_seconds:g} s.", retryable=True)
        outcome: Result | FlowFailure = reader.recv()
        process.join(_LAST_WORDS_SECONDS)
    except EOFError:
        process.join()
        raise FlowFailure("WorkerDied", f"Its process ended with code {process.exitcode}.", retryable=True) from None
    finally:
        process.kill()
        process.join()
        reader.close()
    if isinstance(outcome, FlowFailure):
        raise outcome
    return outcome


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """What is started meanwhile ignores Ctrl-C, from its first moment on: it is this process that ends it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _run(call: Call, allowed: Allowed, answer: "Connection[Result | FlowFailure, None]") -> None:
    with contextlib.redirect_stdout(sys.stderr):
        try:
            outcome: Result | FlowFailure = run(call, allowed)
        except FlowFailure as failure:
            outcome = failure
    answer.send(outcome)
