"""What is run, by Overnight and by its peers alike: it does nothing, so that what is measured is what runs it."""

import os
import time

TOLD = "BENCH_TOLD"
"""The variable that names the file, or the pipe, that tasks write to."""


def nothing() -> None:
    """No work at all."""


def tell() -> None:
    """Tells when it began."""
    _write(f"{time.time()}\n")


def tick(context) -> None:
    """A tick of Overnight tells for when it was due, and when it began."""
    tick_at(context.firing.nominal.timestamp())


def tick_at(nominal: float) -> None:
    """The same for those who must be told themselves."""
    _write(f"{nominal} {time.time()}\n")


def _write(line: str) -> None:
    descriptor = os.open(os.environ[TOLD], os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
