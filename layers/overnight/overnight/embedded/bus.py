"""The bus in process: a lifecycle event goes to the agents that subscribe to it, and to nobody else."""

from collections.abc import Callable

from overnight.executions import Event
from overnight.ports import Store

__all__ = ["LocalBus"]


class LocalBus:
    """Keeps an event and fans it out, if anybody subscribes."""

    def __init__(self, store: Store, fan_out: Callable[[Event], object]) -> None:
        """`fan_out` brings an event that was kept to its subscribers."""
        self._store = store
        self._fan_out = fan_out

    def publish(self, event: Event) -> None:
        """Durable before the fan-out; one that a crash interrupts is fanned out by the watchdog."""
        if not self._store.subscribers(event.prefixes(), limit=1):
            return
        self._store.put_event(event)
        self._fan_out(event)
