"""What happens inside a worker process: one attempt at a time, with all that it prints kept.

A worker ends with its engine: one that the engine's death has orphaned exits by itself. It leaves Ctrl-C to the engine,
and offers itself to the kernel first when memory runs out.
"""

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing import connection, parent_process
from pathlib import Path

from overnight.flows.attempt import run
from overnight.flows.call import Allowed, Call, FlowFailure, Result

__all__ = ["LOG_BYTES", "attempt", "log_tail", "ready", "started"]

LOG_BYTES = 65_536
"""How much of what an attempt prints is kept, counted from its end."""


ENGINES_OWN = ("OVERNIGHT_API_TOKEN", "OVERNIGHT_MASTER_KEY")
"""Variables of the engine's environment that no flow is to see."""


def started() -> None:
    """Prepare a new worker process."""
    for name in ENGINES_OWN:
        os.environ.pop(name, None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # so that what a killed attempt printed is there
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    threading.Thread(target=_end_with_engine, name="orphan", daemon=True).start()


def ready() -> None:
    """Nothing: whoever asks for it has the processes started."""


def _end_with_engine() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def attempt(call: Call, allowed: Allowed, log: str) -> tuple[Result | FlowFailure, str]:
    """Run one attempt; its result or failure, and the end of what it printed.

    `log` is the path of the file that takes the output, so that it outlives a worker that is killed; the worker's
    process id is its ending.
    """
    log = f"{log}.{os.getpid()}"
    with _printing_to(log):
        try:
            outcome: Result | FlowFailure = run(call, allowed)
        except FlowFailure as failure:
            outcome = failure
    return outcome, log_tail(Path(log))


def log_tail(path: Path) -> str:
    """The end of an attempt's output, and its file removed; empty where there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            content = file.read()
        path.unlink()
    except FileNotFoundError:
        return ""
    return content.decode(errors="replace")


@contextlib.contextmanager
def _printing_to(log: str) -> Iterator[None]:
    """Let this process, with its children, print into a file."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    before = (os.dup(1), os.dup(2))
    try:
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        yield
    finally:
        with contextlib.suppress(ValueError, OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os.dup2(before[0], 1)
        os.dup2(before[1], 2)
        for open_one in (descriptor, *before):
            os.close(open_one)
