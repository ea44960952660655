"""What stands between the core and a port, and learns of every write: to count them, to list them, or to end there."""

from collections.abc import Callable
from typing import Any

from overnight.ports import Ports

__all__ = ["Crash", "Watched", "watched"]

WRITES = {
    "store": {
        "admit", "change_agent", "create_agent", "event_done", "forget_agent", "prune", "put_delivery", "put_event",
        "put_off", "readmit", "revise", "transition",
    },
    "queue": {"send", "done"},
    "clock": {"arm", "disarm"},
    "bus": {"publish"},
}  # fmt: skip
"""The calls of each port that leave something behind."""

SOMETIMES = {"admit", "change_agent", "readmit", "revise", "transition"}
"""Those that return None where there was nothing to write."""


class Crash(BaseException):
    """The process is gone: nothing catches this, and nothing in memory outlives it."""


class Watched:
    """A port, with `after` called after each of its writes (`store.admit`, …)."""

    def __init__(self, port: Any, name: str, after: Callable[[str], None]) -> None:
        self._port = port
        self._name = name
        self._after = after

    def __getattr__(self, verb: str) -> Any:
        call = getattr(self._port, verb)
        if verb not in WRITES[self._name]:
            return call

        def write(*args: Any, **kwargs: Any) -> Any:
            result = call(*args, **kwargs)
            if result is not None or verb not in SOMETIMES:
                self._after(f"{self._name}.{verb}")
            return result

        return write


def watched(ports: Ports, after: Callable[[str], None]) -> dict[str, Any]:
    """The ports that write, each of them watched."""
    return {name: Watched(getattr(ports, name), name, after) for name in WRITES}
