"""Flows that the runner's tests run in process."""

import os
import sys
import threading

__all__ = ["breaks", "go_on", "hangs", "hello", "loud", "remember", "repeats", "run", "second_time"]

go_on = threading.Event()
run: list[str] = []
"""The executions that ran, in order."""


def hello(input_value: str | None = None) -> str:
    return f"hello {input_value or 'world'}"


def loud() -> str:
    sys.stdout.write("out\n")
    sys.stderr.write("err\n")
    return "said"


def hangs() -> str:
    sys.stdout.write("waiting\n")
    go_on.wait(30)
    return "never told"


def second_time(context: object) -> str:
    if getattr(context, "attempt", 0) < 2:
        raise ConnectionError("not yet")
    return "done"


def repeats(input_value: str) -> str:
    return input_value


def breaks(depth: int = 40) -> None:
    if depth:
        breaks(depth - 1)
    raise RuntimeError("too long a story " * 1_000)


def leaves() -> None:
    sys.exit(3)


def remember(context: object) -> str:
    run.append(str(getattr(context, "execution_id", "")))
    return os.environ.get("GREETING", "done")
