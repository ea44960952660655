"""What calls to AWS cost: a client that counts them, and for DynamoDB the units that AWS would bill.

A write is billed by the kilobyte of the item, before or after, whichever is larger, once more for every entry of an
index that comes or goes, and twice in a transaction; a read by four kilobytes, half as much from an index. A condition
that fails is billed like a write.
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html)
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from overnight.aws.dynamodb import schema

__all__ = ["Bill", "Meter", "size_of"]

KB = 1_024


@dataclass
class Bill:
    """What was called, and what it costs."""

    calls: Counter[str] = field(default_factory=Counter)
    """By service and operation: `dynamodb.put_item`."""
    write_units: float = 0
    read_units: float = 0
    largest: Counter[str] = field(default_factory=Counter)
    """The largest item of each kind that was written, in bytes."""

    @property
    def writes(self) -> int:
        """Calls that write to the table."""
        return sum(times for call, times in self.calls.items() if call in _WRITES)

    @property
    def reads(self) -> int:
        """Calls that read from it."""
        return sum(times for call, times in self.calls.items() if call in _READS)


_WRITES = {f"dynamodb.{call}" for call in ("put_item", "update_item", "delete_item", "transact_write_items")}
_READS = {f"dynamodb.{call}" for call in ("get_item", "query", "batch_get_item")}


def size_of(item: dict[str, dict[str, Any]]) -> int:
    """The size of an item in DynamoDB's notation, in bytes, as AWS counts it (rounded up for numbers)."""
    return sum(len(name.encode()) + _size(value) for name, value in item.items())


def _size(value: dict[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return len(content) // 2 + 2
        case "B":
            return len(content)
        case _:
            return 1


class Meter:
    """Counts what is called through its clients."""

    def __init__(self, client: Callable[[str], Any]) -> None:
        self._client = client
        self.bill = Bill()

    def client(self, service: str, **_: Any) -> Any:
        """A client of that service whose calls are counted."""
        return _Metered(self, service, self._client(service))

    def read(self) -> Bill:
        """What has been counted since the last time."""
        bill, self.bill = self.bill, Bill()
        return bill

    # DynamoDB

    def write(self, client: Any, table: str, parts: list[dict[str, Any]], call: Callable[[], Any], times: int) -> Any:
        """Carry out a call that writes these items, and count its units."""
        keys = [part.get("Key") or {name: part["Item"][name] for name in (schema.PK, schema.SK)} for part in parts]
        before = [_item(client, table, key) for key in keys]
        try:
            return call()
        finally:
            for key, was in zip(keys, before, strict=True):
                self._count(was, _item(client, table, key), times)

    def _count(self, was: dict[str, Any], now: dict[str, Any], times: int) -> None:
        self.bill.write_units += times * _units(max(size_of(was), size_of(now)), KB)
        if now:
            kind = now[schema.SK]["S"].partition("#")[0]
            self.bill.largest[kind] = max(self.bill.largest[kind], size_of(now))
        for index in schema.INDEXES:
            old, new = (_entry(item, index) for item in (was, now))
            if old != new:
                self.bill.write_units += bool(old) + bool(new)

    def count_read(self, operation: str, request: dict[str, Any], answer: dict[str, Any]) -> None:
        """Count the units of a call that has read."""
        match operation:
            case "get_item":
                units = _units(size_of(answer.get("Item", {})), 4 * KB)
            case "batch_get_item":
                found = [item for items in answer["Responses"].values() for item in items]
                asked = sum(len(of["Keys"]) for of in request["RequestItems"].values())
                units = sum(_units(size_of(item), 4 * KB) for item in found) + asked - len(found)
            case "query":
                units = _units(sum(map(size_of, answer["Items"])), 4 * KB)
                units *= 1 if request.get("ConsistentRead") else 0.5
            case _:
                units = 0
        self.bill.read_units += units


def _units(size: int, of: int) -> float:
    return max(1, ceil(size / of))


def _item(client: Any, table: str, key: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = client.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item", {})
    return found


def _entry(item: dict[str, Any], index: schema.Index) -> tuple[str, ...]:
    """An item's entry in an index; empty where it has none."""
    keys = [item.get(name) for name in (index.pk, index.sk)]
    return tuple(key["S"] for key in keys if key) if all(keys) else ()


class _Metered:
    def __init__(self, meter: Meter, service: str, client: Any) -> None:
        self._meter = meter
        self._service = service
        self._client = client

    def __getattr__(self, operation: str) -> Any:
        call = getattr(self._client, operation)
        if operation in {"exceptions", "get_paginator", "meta"}:
            return call

        def counted(**request: Any) -> Any:
            self._meter.bill.calls[f"{self._service}.{operation}"] += 1
            match operation:
                case "put_item" | "update_item" | "delete_item":
                    parts, times = [request], 1
                case "transact_write_items":
                    parts = [part for entry in request["TransactItems"] for part in entry.values()]
                    times = 2
                case _:
                    answer = call(**request)
                    if self._service == "dynamodb":
                        self._meter.count_read(operation, request, answer)
                    return answer
            table = parts[0]["TableName"]
            return self._meter.write(self._client, table, parts, lambda: call(**request), times)

        return counted
