"""Notifications on their way to a URL."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from overnight.aws.dynamodb.due import due_entries
from overnight.aws.dynamodb.schema import BY_DUE, BY_OWNER, PK, SK, TTL, shard_of
from overnight.aws.dynamodb.table import Condition, Refused, Table
from overnight.aws.dynamodb.values import Item, epoch, instant, packed, place, stamp, unpacked
from overnight.ports import Delivery

__all__ = ["Deliveries"]

KEPT = timedelta(days=30)
"""How long it is told what became of a delivery."""


class Deliveries:
    """Deliveries in the table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def put(self, delivery: Delivery) -> None:
        """Keep a delivery; one that was never tried doesn't overwrite what is known of its id."""
        key = _key(delivery.id)
        put, drop = _fields(delivery)
        if delivery.tries:
            self._table.update(key, put=put, drop=drop)
            return
        item: Item = {PK: key[0], SK: key[1], **put}
        item |= {BY_OWNER.pk: f"NOTICES#{delivery.agent_id}", BY_OWNER.sk: place(delivery.created_at)}
        try:
            self._table.put(item, Condition("attribute_not_exists(#pk)"))
        except Refused:
            return

    def due(self, now: datetime, limit: int) -> Sequence[Delivery]:
        """Deliveries whose time has come, the longest due first."""
        return self._each(due_entries(self._table, "DUE#NOTICE", now, limit))

    def of_agent(self, agent_id: str, limit: int) -> Sequence[Delivery]:
        """An agent's deliveries, newest first."""
        newest = self._table.query(f"NOTICES#{agent_id}", index=BY_OWNER, newest_first=True, limit=limit)
        return self._each(list(newest))

    def _each(self, entries: Sequence[Item]) -> list[Delivery]:
        keys = [(str(entry[PK]), str(entry[SK])) for entry in entries]
        items = self._table.get_each(keys)
        return [_delivery(items[key]) for key in keys if key in items]


def _key(delivery_id: str) -> tuple[str, str]:
    return f"NOTICE#{delivery_id}", "NOTICE"


def _fields(delivery: Delivery) -> tuple[Item, list[str]]:
    put: Item = {
        "agent_id": delivery.agent_id,
        "execution_id": delivery.execution_id,
        "url": delivery.url,
        "body": packed(delivery.body),
        "created_at": stamp(delivery.created_at),
        "tries": delivery.tries,
        "status": delivery.status,
    }
    drop = []
    if delivery.due is not None:
        put |= {"due": stamp(delivery.due), BY_DUE.pk: shard_of("DUE#NOTICE", delivery.id)}
        put[BY_DUE.sk] = f"{stamp(delivery.due)}#{stamp(delivery.created_at)}"
        drop.append(TTL)
    else:
        put[TTL] = epoch(delivery.created_at + KEPT)
        drop += ["due", BY_DUE.pk, BY_DUE.sk]
    if delivery.error is not None:
        put["error"] = delivery.error
    else:
        drop.append("error")
    return put, drop


def _delivery(item: Item) -> Delivery:
    return Delivery(
        id=str(item[PK]).removeprefix("NOTICE#"),
        agent_id=str(item["agent_id"]),
        execution_id=str(item["execution_id"]),
        url=str(item["url"]),
        body=unpacked(item["body"]),
        created_at=instant(str(item["created_at"])),
        due=instant(str(item["due"])) if "due" in item else None,
        tries=int(item["tries"]),
        status=str(item["status"]),
        error=str(item["error"]) if "error" in item else None,
    )
