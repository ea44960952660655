"""What happens inside a worker process: one attempt at a time, with all that it prints kept.

A worker ends with its engine: one that the engine's death has orphaned exits by itself. It leaves Ctrl-C to the engine,
and offers itself to the kernel first when memory runs out.
"""

import contextlib
import importlib
import io
import os
import pickle
import signal
import sys
import threading
from multiprocessing import connection as connections
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from overnight.flows.attempt import run
from overnight.flows.call import Allowed, Call, FlowFailure, Result

__all__ = ["LOG_BYTES", "Answer", "log_tail", "serve"]

LOG_BYTES = 65_536
"""How much of what an attempt prints is kept, counted from its end."""

Answer = tuple[Result | FlowFailure, str]
"""What a call gave, or why it failed, and the end of what it printed."""

ENGINES_OWN = ("OVERNIGHT_API_TOKEN", "OVERNIGHT_MASTER_KEY")
"""Variables of the engine's environment that no flow is to see."""


def serve(calls: "connections.Connection[Any, Any]", allowed: Allowed, log: str) -> None:
    """Carry out one call after the other, until there are no more.

    `log` is the path of the file that takes what they print, so that it outlives a process that is killed.
    """
    _prepare()
    output = _Output(log)
    calls.send_bytes(b"")  # it takes them from now on
    while True:
        try:
            call = pickle.loads(calls.recv_bytes())  # noqa: S301 - of our own engine
        except EOFError:
            return
        calls.send_bytes(pickle.dumps(_carried_out(call, allowed, output)))


def log_tail(path: Path) -> str:
    """The end of an attempt's output, and its file removed; empty where there is none."""
    try:
        with path.open("rb") as file:
            tail = _tail(file.fileno())
        path.unlink()
    except FileNotFoundError:
        return ""
    return tail


def _prepare() -> None:
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
    importlib.import_module("overnight.flows.python")  # or the first attempt of each process would wait for it


def _end_with_engine() -> None:
    parent = parent_process()
    if parent is not None:
        connections.wait([parent.sentinel])
        os._exit(1)


def _carried_out(call: Call, allowed: Allowed, output: "_Output") -> Answer:
    output.begin()
    try:
        outcome: Result | FlowFailure = run(call, allowed)
    except FlowFailure as failure:
        outcome = failure
    return outcome, output.end()


class _Output:
    """The file that an attempt prints into, with the processes that it starts.

    Each attempt has one of its own, where an earlier one has printed or left a process that still might.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._before = (os.dup(1), os.dup(2))
        self._file = self._new()

    def begin(self) -> None:
        """Have it take what is printed from now on."""
        os.dup2(self._file, 1)
        os.dup2(self._file, 2)

    def end(self) -> str:
        """Have it take no more; the end of what was printed."""
        with contextlib.suppress(ValueError, OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os.dup2(self._before[0], 1)
        os.dup2(self._before[1], 2)
        printed = _tail(self._file)
        if printed or _has_processes():
            os.close(self._file)
            self._path.unlink()
            self._file = self._new()
        return printed

    def _new(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)


def _tail(file: int) -> str:
    size = os.fstat(file).st_size
    return os.pread(file, LOG_BYTES, max(0, size - LOG_BYTES)).decode(errors="replace") if size else ""


def _has_processes() -> bool:
    """Whether this one has, running or not yet waited for; where that can't be told, it may."""
    if not hasattr(os, "waitid"):
        return True
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
