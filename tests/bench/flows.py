"""The flows that are measured: they do nothing, so that what is measured is Overnight."""

import os


def nothing() -> None:
    """No work at all."""


def tick(context) -> None:
    """Tells how late its first attempt began, in seconds."""
    line = f"{context.firing.nominal.timestamp()} {__import__('time').time()}\n"
    descriptor = os.open(os.environ["BENCH_LATENESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)
