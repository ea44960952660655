"""The work queue: a table of messages, which verbs fill in their own transactions.

A message is there until its attempt has started (or its execution has ended); whoever takes it has it to himself for a
while, and then it comes again. SQLite serves one engine, so there that while is kept in memory: it costs no write, and
an engine that starts afresh sees at once what the one before it had taken but not begun. Where several engines share a
database, the while is in the table.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from sqlalchemy import bindparam, delete, func, select, true, update

from overnight.embedded.sql.database import Database, Row, Transaction
from overnight.embedded.sql.instants import from_us, to_us
from overnight.embedded.sql.schema import queue
from overnight.embedded.sql.statement import Insert, Statement, Upsert, binds
from overnight.executions import Execution, Message, Status

__all__ = ["SHARED_VISIBILITY_SECONDS", "VISIBILITY_SECONDS", "SqlWorkQueue"]

VISIBILITY_SECONDS = 30.0
SHARED_VISIBILITY_SECONDS = 10.0
"""Where several engines share a database, what one of them took and did not begin is given to another after this."""

AHEAD = 64
"""How many more messages than are asked for are read where nobody else takes any, to be given out later."""

_Key = tuple[str, int, str]


def _put(insert: Upsert) -> Insert:
    message = insert(queue).values(binds(queue))
    return message.on_conflict_do_update(
        index_elements=[queue.c.execution_id, queue.c.attempt, queue.c.kind],
        set_={"due": message.excluded.due, "visible_at": message.excluded.visible_at},
        where=message.excluded.visible_at < queue.c.visible_at,
    )


_PUT = Statement(_put)
_READ = Statement(
    select(queue.c.execution_id, queue.c.attempt, queue.c.kind, queue.c.agent_id, queue.c.due, queue.c.visible_at)
    .where(queue.c.visible_at <= bindparam("now"))
    .order_by(queue.c.visible_at)
    .limit(bindparam("most"))
)
_LONGEST_DUE = (
    select(queue.c.execution_id, queue.c.attempt, queue.c.kind, queue.c.visible_at)
    .where(queue.c.visible_at <= bindparam("now"))
    .order_by(queue.c.visible_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("longest_due")
)
# Alone in its transaction, which nobody waits for on the disk: what a crash takes back comes again.
_UNSYNCED = select(func.set_config("synchronous_commit", "off", true())).scalar_subquery() == "off"
_TAKE = Statement(
    update(queue)
    .where(
        _UNSYNCED,
        queue.c.execution_id == _LONGEST_DUE.c.execution_id,
        queue.c.attempt == _LONGEST_DUE.c.attempt,
        queue.c.kind == _LONGEST_DUE.c.kind,
    )
    .values({"visible_at": bindparam("until")})
    .returning(
        queue.c.execution_id,
        queue.c.attempt,
        queue.c.kind,
        queue.c.agent_id,
        queue.c.due,
        _LONGEST_DUE.c.visible_at,
    )
)
_EARLIEST = Statement(select(func.min(queue.c.visible_at)).where(queue.c.visible_at > bindparam("now")))
_DONE = Statement(
    delete(queue).where(
        queue.c.execution_id == bindparam("execution_id"),
        queue.c.attempt == bindparam("attempt"),
        queue.c.kind == bindparam("kind"),
    )
)
_REMOVE = Statement(
    delete(queue).where(queue.c.execution_id == bindparam("execution_id"), queue.c.attempt <= bindparam("attempt"))
)


@dataclass(slots=True)
class _Rows:
    """What a transaction writes at its end."""

    removed: dict[str, int] = field(default_factory=dict)
    put: dict[_Key, dict[str, Any]] = field(default_factory=dict)


class SqlWorkQueue:
    """Messages by time; of one execution, attempt and kind there is one, and the earlier time holds.

    Args:
        database: where the table is.
        now: the clock, for the order of messages that are due at once.
        visibility_seconds: how long a message that was taken is not given to anybody else.
    """

    def __init__(
        self, database: Database, now: Callable[[], datetime], visibility_seconds: float = VISIBILITY_SECONDS
    ) -> None:
        self._database = database
        self.wake: Callable[[], None] = database.wake
        """Called after a commit that sent a message."""
        self._now = now
        self._visibility_us = round(visibility_seconds * 1_000_000)
        self._lock = threading.Lock()
        self._taken: dict[str, dict[_Key, int]] = {}
        self._ahead: dict[_Key, Row] = {}

    # The port

    def send(self, messages: Sequence[Message]) -> None:
        """Send; a message with a `due` is not received before then."""
        if messages:
            self._database.write(lambda transaction: self.put(transaction, messages))

    def receive(self, limit: int, now: datetime) -> Sequence[Message]:
        """Take up to `limit` messages that are due, the longest due first."""
        moment = to_us(now)
        until = moment + self._visibility_us
        with self._lock:
            self._give_back(moment)
            rows = self._take(limit, moment, until) if self._database.shared else self._read(limit, moment)
            for execution_id, attempt, kind, *_ in rows:
                self._taken.setdefault(execution_id, {})[execution_id, attempt, kind] = until
        return [
            Message(kind=kind, execution_id=execution_id, agent_id=agent_id, attempt=attempt, due=from_us(due))
            for execution_id, attempt, kind, agent_id, due, *_ in rows
        ]

    def done(self, message: Message) -> None:
        """Acknowledge: the message doesn't come again. Nothing is written where a verb has removed it already."""
        with self._lock:
            taken = (message.execution_id, message.attempt, message.kind) in self._taken.get(message.execution_id, ())
        if taken:
            self._database.write(partial(self._done, message))

    def earliest(self, now: datetime) -> datetime | None:
        """When to receive again after all that was due has been taken, UTC; None for not before `wake`."""
        moment = to_us(now)
        row = self._database.read(lambda reading: reading.one(_EARLIEST, now=moment))
        with self._lock:
            times = [until for keys in self._taken.values() for until in keys.values()]
        if row is not None and row[0] is not None:
            times.append(row[0])
        return from_us(min(times, default=None))

    # Within the transaction of a verb

    def put(self, transaction: Transaction, messages: Iterable[Message]) -> None:
        """Send with the commit."""
        for message in messages:
            due = to_us(message.due)
            row: dict[str, Any] = {
                "execution_id": message.execution_id,
                "attempt": message.attempt,
                "kind": message.kind,
                "agent_id": message.agent_id,
                "due": due,
                "visible_at": to_us(self._now()) if due is None else due,
            }
            rows = transaction.at_end(self._write, _Rows)
            key = (message.execution_id, message.attempt, message.kind)
            earlier = rows.put.get(key)
            if earlier is None or row["visible_at"] < earlier["visible_at"]:
                rows.put[key] = row
            if not self._database.shared:
                transaction.after_commit.append(partial(self._make_way, row["visible_at"]))
            transaction.after_commit.append(self.wake)

    def follow(self, transaction: Transaction, before: Execution, after: Execution) -> None:
        """Remove what an execution's move made stale: messages of attempts that have started, or can't any more."""
        if after.attempt > before.attempt:
            self._remove(transaction, after.id, after.attempt)
        elif after.status.terminal and before.status in {Status.PENDING, Status.RETRYING}:
            self._remove(transaction, after.id, after.attempt + 1)

    def _remove(self, transaction: Transaction, execution_id: str, attempt: int) -> None:
        rows = transaction.at_end(self._write, _Rows)
        for key in [key for key in rows.put if key[0] == execution_id and key[1] <= attempt]:
            del rows.put[key]
        rows.removed[execution_id] = max(attempt, rows.removed.get(execution_id, 0))
        transaction.after_commit.append(partial(self._release, execution_id, attempt))

    def _write(self, transaction: Transaction, rows: "_Rows") -> None:
        """What is removed first: what was put since then stays. In order, so that no two wait for each other."""
        if rows.removed:
            removed = [{"execution_id": id_, "attempt": attempt} for id_, attempt in sorted(rows.removed.items())]
            transaction.run_each(_REMOVE, removed)
        if rows.put:
            transaction.run_each(_PUT, [row for _, row in sorted(rows.put.items())])

    def _done(self, message: Message, transaction: Transaction) -> None:
        key = (message.execution_id, message.attempt, message.kind)
        transaction.run(_DONE, execution_id=key[0], attempt=key[1], kind=key[2])
        transaction.after_commit.append(partial(self._release, message.execution_id, message.attempt, message.kind))

    # What was taken

    def _read(self, limit: int, now: int) -> list[Row]:
        """The longest due of those that were not taken here."""
        if len(self._ahead) < limit:
            most = limit + AHEAD + sum(len(keys) for keys in self._taken.values())
            rows = self._database.read(lambda reading: reading.all(_READ, now=now, most=most))
            self._ahead = {row[:3]: row for row in rows if row[:3] not in self._taken.get(row[0], ())}
        return [self._ahead.pop(key) for key in list(islice(self._ahead, limit))]

    def _take(self, limit: int, now: int, until: int) -> list[Row]:
        """The longest due, which nobody else is given from now on."""
        rows = self._database.read(lambda reading: reading.all(_TAKE, now=now, most=limit, until=until))
        return sorted(rows, key=lambda row: row[-1])

    def _give_back(self, now: int) -> None:
        for execution_id, keys in list(self._taken.items()):
            for key, until in list(keys.items()):
                if until <= now:
                    del keys[key]
            if not keys:
                del self._taken[execution_id]

    def _release(self, execution_id: str, attempt: int, kind: str | None = None) -> None:
        with self._lock:
            keys = self._taken.get(execution_id, {})
            for key in [key for key in keys if key[1] <= attempt and kind in (None, key[2])]:
                del keys[key]
            if not keys:
                self._taken.pop(execution_id, None)
            for key in [key for key in self._ahead if key[0] == execution_id and key[1] <= attempt]:
                del self._ahead[key]

    def _make_way(self, visible_at: int) -> None:
        """Read again, if what was sent comes before something that was read."""
        with self._lock:
            if self._ahead and visible_at < next(reversed(self._ahead.values()))[-1]:
                self._ahead.clear()
