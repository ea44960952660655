"""One attempt of a flow in a process of its own, that can be ended: what `overnight run` is made of."""

import contextlib
import multiprocessing
import sys
from concurrent.futures import TimeoutError as FutureTimeout

from pebble import ProcessExpired, concurrent

from overnight.flows.attempt import run
from overnight.flows.call import Allowed, Call, FlowFailure, Result

__all__ = ["attempt"]

_SPAWNED = multiprocessing.get_context("spawn")


def attempt(call: Call, allowed: Allowed, timeout_seconds: float) -> Result:
    """Run it to its end, or for as long as it may take; what it prints goes to standard error.

    Raises:
        FlowFailure: it failed, took too long, or its process died.
    """
    bounded = concurrent.process(timeout=timeout_seconds, mp_context=_SPAWNED)(_run)
    future = bounded(call, allowed)
    try:
        result: Result = future.result()
    except FutureTimeout as error:
        raise FlowFailure("TimedOut", f"It took longer than {timeout_seconds:g} s.", retryable=True) from error
    except ProcessExpired as error:
        raise FlowFailure("WorkerDied", f"Its process ended with code {error.exitcode}.", retryable=True) from error
    except BaseException:
        future.cancel()
        raise
    return result


def _run(call: Call, allowed: Allowed) -> Result:
    with contextlib.redirect_stdout(sys.stderr):
        return run(call, allowed)
