"""Flows that the runner's tests run in process."""

import os
import sys
import threading

from overnight.flows.python import Context

__all__ = [
    "begun",
    "breaks",
    "go_on",
    "hangs",
    "hello",
    "loud",
    "prints",
    "prints_much",
    "remember",
    "repeats",
    "run",
    "second_time",
]

go_on = threading.Event()
run: list[str] = []
"""The executions that ran, in order."""


def hello(context: Context) -> str:
    return f"hello {context.input_value or 'world'}"


def loud() -> str:
    sys.stdout.write("out\n")
    sys.stderr.write("err\n")
    return "said"


def prints() -> str:
    sys.stdout.write("said\n")
    return "y" * 5_000


def prints_much() -> None:
    for number in range(40_000):
        sys.stdout.write(f"line {number}\n")
    sys.stdout.write("the end\n")


def begun() -> None:
    """Called when a flow hangs; a test may put something else in its place."""


def hangs() -> str:
    sys.stdout.write("waiting\n")
    begun()
    go_on.wait(30)
    return "never told"


def second_time(context: Context) -> str:
    if context.attempt == 1:
        raise ConnectionError("not yet")
    return "done"


def repeats(context: Context) -> str:
    return context.input_value or ""


def breaks(depth: int = 40) -> None:
    if depth:
        breaks(depth - 1)
    raise RuntimeError("too long a story " * 1_000)


def leaves() -> None:
    sys.exit(3)


def remember(context: Context) -> str:
    run.append(context.execution_id)
    return os.environ.get("GREETING", "done")
