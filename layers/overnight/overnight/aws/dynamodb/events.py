"""The outbox: events that are durable, and wait until they have reached every subscriber."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from overnight.aws.dynamodb.due import due_entries
from overnight.aws.dynamodb.schema import BY_DUE, PK, SK, TTL, shard_of
from overnight.aws.dynamodb.table import Condition, Refused, Table
from overnight.aws.dynamodb.values import Item, epoch, packed, place, unpacked
from overnight.executions import Event

__all__ = ["KEPT", "Events"]

KEPT = timedelta(days=7)
"""How long the id of an event is known, so that it is not taken twice."""


class Events:
    """Events in the table, in the order in which they came."""

    def __init__(self, table: Table, now: Callable[[], datetime]) -> None:
        self._table = table
        self._now = now

    def put(self, event: Event) -> bool:
        """Keep an event; False if one of that id was kept before."""
        now = self._now()
        pk, sk = _key(event.id)
        item: Item = {
            PK: pk,
            SK: sk,
            "body": packed(event.model_dump_json()),
            "keep_until": epoch(now + KEPT),
            BY_DUE.pk: shard_of("DUE#EVENT", event.id),
            BY_DUE.sk: place(now),
        }
        unknown = Condition("attribute_not_exists(#pk) OR #ttl <= :today", {"today": epoch(now)})
        try:
            self._table.put(item, unknown)
        except Refused:
            return False
        return True

    def pending(self, now: datetime, limit: int) -> Sequence[Event]:
        """Events that are not fanned out yet, the oldest first."""
        keys = [(str(entry[PK]), str(entry[SK])) for entry in due_entries(self._table, "DUE#EVENT", now, limit)]
        items = self._table.get_each(keys)
        found = [items[key] for key in keys if key in items]
        return [Event.model_validate_json(unpacked(item["body"])) for item in found if BY_DUE.sk in item]

    def done(self, event_id: str) -> None:
        """The event has reached every subscriber; its id is known for a while longer."""
        item = self._table.get(_key(event_id))
        if item is None or BY_DUE.sk not in item:
            return
        self._table.update(_key(event_id), put={TTL: item["keep_until"]}, drop=(BY_DUE.pk, BY_DUE.sk))


def _key(event_id: str) -> tuple[str, str]:
    return f"OUTBOX#{event_id}", "EVENT"
