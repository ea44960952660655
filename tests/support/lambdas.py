"""Flows that the runner's tests run in process."""

import os
import sys
import threading

__all__ = ["go_on", "hangs", "hello", "loud", "remember", "run"]

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


def leaves() -> None:
    sys.exit(3)


def remember(context: object) -> str:
    run.append(str(getattr(context, "execution_id", "")))
    return os.environ.get("GREETING", "done")
