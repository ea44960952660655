"""Lifecycle events on the stack's EventBridge bus; a rule brings them to the events queue, and so to agents."""

from typing import TYPE_CHECKING, Any

from overnight.aws.answers import in_full
from overnight.core.envelopes import OWN_SOURCE
from overnight.executions import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_events import EventBridgeClient

__all__ = ["EventBridgeBus"]


class EventBridgeBus:
    """Publishes on one bus."""

    def __init__(self, connect: "Callable[[], EventBridgeClient]", bus: str) -> None:
        self._connect = connect
        self._bus = bus

    def publish(self, event: Event) -> None:
        """Publish, durably; whoever gets it twice knows it by its id. Raises Unavailable."""
        entry: Any = {
            "EventBusName": self._bus,
            "Source": OWN_SOURCE,
            "DetailType": event.name,
            "Time": event.at,
            "Detail": event.model_dump_json(),
        }

        def put(entries: list[Any]) -> tuple[list[Any], str]:
            (result,) = self._connect().put_events(Entries=entries)["Entries"]
            why = f"{result.get('ErrorCode')}: {result.get('ErrorMessage')}"
            return ([] if result.get("EventId") else entries), why

        in_full("EventBridge", [entry], put)
