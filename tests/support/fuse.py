"""What stands between the core and a port, and learns of every write: to count them, to list them, or to end there."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from overnight.ports import Ports

if TYPE_CHECKING:
    from tests.support.world import World

__all__ = ["Crash", "Watched", "blown", "fuse", "watched"]

WRITES = {
    "store": {
        "admit", "change_agent", "create_agent", "event_done", "forget_agent", "prune", "put_delivery", "put_event",
        "put_off", "put_off_event", "readmit", "revise", "transition",
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

    def together(self, work: Callable[[], Any], **touched: Any) -> Any:
        """One after another, as on an engine whose verbs share no transaction: there may be a crash between any two."""
        return work()

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


def fuse(writes: int) -> Callable[[str], None]:
    """For `watched`: crashes after so many writes."""
    left = writes

    def burn(verb: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise Crash(verb)

    return burn


def blown(world: "World", writes: int, act: Callable[["World"], object], *, steps: bool = False) -> bool:
    """Do something until a crash after so many writes ends it, and restart; False if it came to its end before.

    With `steps`, the steps are counted of which a write is made, where there are several.
    """
    world.watch_writes(fuse(writes), steps=steps)
    try:
        act(world)
    except Crash:
        return True
    else:
        return False
    finally:
        world.restart()
