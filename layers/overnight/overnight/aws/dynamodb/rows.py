"""An execution's row: every field an attribute, so that it can be read in the console; what is nested is JSON.

JSON of more than a kilobyte, such as a failure with its traceback, is compressed. What the keys say is not said again,
and defaults are left out: a scheduled execution that succeeded fits into a kilobyte, which is one write unit.
"""

import json
from datetime import timedelta
from typing import Any

from overnight.aws.dynamodb.schema import BY_DAY, BY_DUE, BY_FAILURE, BY_OWNER, BY_TICK, PK, SK, TTL, shard_of
from overnight.aws.dynamodb.table import Key
from overnight.aws.dynamodb.values import Item, Value, epoch, instant, packed, place, stamp, unpacked
from overnight.executions import Attempt, Execution, FiringKind, Status

__all__ = [
    "CALM",
    "ENDED",
    "GUARD_SECONDS",
    "attempt_item",
    "attempt_of",
    "changes",
    "execution_id_of",
    "execution_of",
    "key_of",
    "last_of",
    "new_item",
    "with_last",
]

GUARD_SECONDS = 60
"""So long after it was inserted, a row is looked at: does its agent's state hold it? Light functions take 20 s."""

CALM = "~"
"""The time at which a row is looked at that its agent's state is known to hold: after all times."""

LAST, ENDED = "last", "ended"
"""The attributes of the last attempt after the first that has ended: what became of it, and its number."""

_NESTED = frozenset({"missed_ticks", "payload", "input", "lease", "output", "failure", "usage", "first"})
_IN_KEYS = frozenset({"id", "agent_id", "created_at"})


def key_of(execution_id: str) -> Key:
    """Where an execution is."""
    return f"EXEC#{execution_id}", "EXEC"


def execution_id_of(item: Item) -> str:
    """The id of the execution that an item, or an index's entry, is of."""
    return str(item[PK]).removeprefix("EXEC#")


# The row


def new_item(execution: Execution) -> Item:
    """The row of a new execution, with its places in the indexes."""
    pk, sk = key_of(execution.id)
    item: Item = {
        PK: pk,
        SK: sk,
        BY_OWNER.pk: f"EXECS#{execution.agent_id}",
        BY_OWNER.sk: place(execution.created_at),
        BY_DAY.pk: shard_of(f"DAY#{execution.created_at:%Y-%m-%d}", execution.id),
    }
    if execution.kind is FiringKind.SCHEDULE and execution.trigger and execution.nominal:
        end = execution.until or execution.nominal
        ledger = "RANGES" if execution.until else "TICKS"
        item |= {BY_TICK.pk: f"{ledger}#{execution.agent_id}#{execution.trigger}", BY_TICK.sk: stamp(end)}
    put, _ = _watched(None, execution)
    return item | _fields(execution) | put


def execution_of(item: Item) -> Execution:
    """The execution that a row says."""
    fields: dict[str, Any] = {
        name: json.loads(unpacked(value)) if name in _NESTED else value
        for name, value in item.items()
        if name in Execution.model_fields
    }
    fields |= {
        "id": execution_id_of(item),
        "agent_id": str(item[BY_OWNER.pk]).removeprefix("EXECS#"),
        "created_at": instant(str(item[BY_OWNER.sk])),
    }
    first = fields.get("first")
    if first is not None:
        first |= {"execution_id": fields["id"], "number": 1}
        if first.pop("failed_as_above", False):
            first["failure"] = fields.get("failure")
    return Execution.model_validate(fields)


def changes(before: Execution, after: Execution) -> tuple[Item, list[str]]:
    """What of the row is put, and what is dropped, when an execution becomes another."""
    old, new = _fields(before), _fields(after)
    put, drop = _watched(before, after)
    put |= {name: value for name, value in new.items() if old.get(name) != value}
    drop += [name for name in old if name not in new]
    return put, drop


def _fields(execution: Execution) -> Item:
    dumped = execution.model_dump(mode="json", exclude_defaults=True, exclude=set(_IN_KEYS))
    dumped["rev"] = execution.rev
    first = dumped.get("first")
    if first is not None:
        del first["execution_id"], first["number"]
        if first.get("failure") is not None and first["failure"] == dumped.get("failure"):
            del first["failure"]
            first["failed_as_above"] = True
    return {name: _json(value) if name in _NESTED else value for name, value in dumped.items()}


def _json(value: object) -> Value:
    return packed(json.dumps(value, separators=(",", ":"), ensure_ascii=False))


def _watched(before: Execution | None, after: Execution) -> tuple[Item, list[str]]:
    """What of the row makes others look at it: in time, when it failed, when its retention has passed."""
    put: Item = {}
    drop: list[str] = []
    if after.status.terminal:
        drop += [BY_DUE.pk, BY_DUE.sk] if before is None or not before.status.terminal else []
    elif after.due is not None:
        put |= {BY_DUE.pk: shard_of("DUE#EXEC", after.id), BY_DUE.sk: f"{stamp(after.due)}#{after.agent_id}"}
    elif before is None:
        guard = stamp(after.created_at + timedelta(seconds=GUARD_SECONDS))
        put |= {BY_DUE.pk: shard_of("LIVE", after.id), BY_DUE.sk: f"{guard}#{after.agent_id}"}
    elif before.due is not None or before.status.terminal:
        put |= {BY_DUE.pk: shard_of("LIVE", after.id), BY_DUE.sk: CALM}
    if after.status is Status.FAILED:
        put[BY_FAILURE.pk] = shard_of(f"FAILED#{after.created_at:%Y-%m}", after.id)
    elif before is not None and before.status is Status.FAILED:
        drop.append(BY_FAILURE.pk)
    if after.status.terminal and after.retain_until is not None:
        put[TTL] = epoch(after.retain_until)
    elif before is not None and before.status.terminal:
        drop.append(TTL)
    return put, drop


# Attempts: the first is a field of its execution, the last one an attribute of the row, those between are items


def with_last(attempt: Attempt) -> Item:
    """What is put into the row when an attempt after the first has ended."""
    return {LAST: packed(attempt.model_dump_json(exclude_defaults=True)), ENDED: attempt.number}


def last_of(item: Item) -> Attempt | None:
    """The last attempt after the first that has ended, by its execution's row."""
    return Attempt.model_validate_json(unpacked(item[LAST])) if LAST in item else None


def attempt_item(attempt: Attempt) -> Item:
    """An attempt as an item of its own."""
    return {
        PK: f"EXEC#{attempt.execution_id}",
        SK: f"ATTEMPT#{attempt.number:06}",
        "body": packed(attempt.model_dump_json(exclude_defaults=True)),
    }


def attempt_of(item: Item) -> Attempt:
    """The attempt that an item says."""
    return Attempt.model_validate_json(unpacked(item["body"]))
