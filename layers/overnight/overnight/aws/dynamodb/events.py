"""The outbox: events that are durable, and wait until they have reached every subscriber."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from overnight.aws.dynamodb.due import due_entries
from overnight.aws.dynamodb.schema import BY_DUE, PK, SK, TTL, shard_of
from overnight.aws.dynamodb.table import Condition, Refused, Table
from overnight.aws.dynamodb.values import Item, epoch, packed, place, stamp, unpacked
from overnight.executions import Event, Pending

__all__ = ["KEPT", "Events"]

KEPT = timedelta(days=7)
"""How long the id of an event is known, so that it is not taken twice."""

_WAITS = Condition(f"attribute_exists(#{BY_DUE.sk})")


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

    def get(self, event_id: str) -> Pending | None:
        """The event of that id, as far as it has come; None too where it has been known long enough."""
        item = self._table.get(_key(event_id))
        if item is None or (TTL in item and int(item[TTL]) <= epoch(self._now())):
            return None
        return _pending(item)

    def pending(self, now: datetime, limit: int) -> Sequence[Pending]:
        """Events that are due to be fanned out, the longest due first."""
        keys = [(str(entry[PK]), str(entry[SK])) for entry in due_entries(self._table, "DUE#EVENT", now, limit)]
        items = self._table.get_each(keys)
        found = (_pending(items[key]) for key in keys if key in items)
        return [pending for pending in found if not pending.done]

    def put_off(self, pending: Pending, until: datetime) -> None:
        """Keep how far an event has come, and when to go on with it, unless it is done."""
        put: Item = {"body": packed(pending.model_dump_json()), BY_DUE.sk: stamp(until)}
        try:
            self._table.update(_key(pending.id), put=put, condition=_WAITS)
        except Refused:
            return

    def done(self, event_id: str) -> None:
        """The event has reached every subscriber; its id is known for a while longer."""
        item = self._table.get(_key(event_id))
        if item is None:
            return
        try:
            self._table.update(
                _key(event_id), put={TTL: item["keep_until"]}, drop=(BY_DUE.pk, BY_DUE.sk), condition=_WAITS
            )
        except Refused:
            return


def _key(event_id: str) -> tuple[str, str]:
    return f"OUTBOX#{event_id}", "EVENT"


def _pending(item: Item) -> Pending:
    pending = Pending.model_validate_json(unpacked(item["body"]))
    return pending.model_copy(update={"done": BY_DUE.sk not in item})
