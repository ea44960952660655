"""The work queue: a table of messages, which verbs fill in their own transactions.

A message is there until its attempt has started (or its execution has ended); whoever takes it has it to himself for a
while, and then it comes again. SQLite serves one engine, so there that while is kept in memory: it costs no write, and
an engine that starts afresh sees at once what the one before it had taken but not begun. Where several engines share a
database, the while is the transaction that starts the attempt; or, for what takes longer, it is in the table.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import any_, bindparam, delete, func, select, update

from overnight.embedded.sql.database import Database, Due, Needs, Row, Transaction
from overnight.embedded.sql.instants import from_us, to_us
from overnight.embedded.sql.schema import executions, queue
from overnight.embedded.sql.statement import Insert, Statement, Upsert, binds
from overnight.executions import Execution, Message, Status

__all__ = ["SHARED_VISIBILITY_SECONDS", "VISIBILITY_SECONDS", "SqlWorkQueue", "Taken"]

VISIBILITY_SECONDS = 30.0
SHARED_VISIBILITY_SECONDS = 10.0
"""Where several engines share a database, what one of them took and did not begin is given to another after this."""

AHEAD = 64
"""How many more messages than are asked for are read where nobody else takes any, to be given out later."""

T = TypeVar("T")
_Key = tuple[str, int, str]
_KEY = ("execution_id", "attempt", "kind")


def _put(insert: Upsert) -> Insert:
    message = insert(queue).values(binds(queue))
    return message.on_conflict_do_update(
        index_elements=[queue.c.execution_id, queue.c.attempt, queue.c.kind],
        set_={"due": message.excluded.due, "visible_at": message.excluded.visible_at},
        where=message.excluded.visible_at < queue.c.visible_at,
    )


_PUT = Statement(_put)
_DUE = select(queue).where(queue.c.visible_at <= bindparam("now")).order_by(queue.c.visible_at).limit(bindparam("most"))
_READ = Statement(_DUE)
_TAKE = Statement(_DUE.with_for_update(skip_locked=True))
_TAKING = _DUE.with_for_update(skip_locked=True).cte("taking")
# Nobody is waited for: of what somebody else moves there is the message, and no execution.
_FREE = (
    select(executions.c.id, executions.c.body)
    .where(executions.c.id == any_(func.array(select(_TAKING.c.execution_id).scalar_subquery())))
    .with_for_update(skip_locked=True)
    .cte("free")
)
_TAKE_ALONG = Statement(
    select(*(_TAKING.c[name] for name in ("execution_id", "attempt", "kind", "agent_id", "due")), _FREE.c.body)
    .outerjoin_from(_TAKING, _FREE, _FREE.c.id == _TAKING.c.execution_id)
    .order_by(_TAKING.c.visible_at),
    apart=True,
)
_EARLIEST = Statement(select(func.min(queue.c.visible_at)).where(queue.c.visible_at > bindparam("now")))
_DONE = Statement(
    delete(queue).where(
        queue.c.execution_id == bindparam("execution_id"),
        queue.c.attempt == bindparam("attempt"),
        queue.c.kind == bindparam("kind"),
    )
)
_CLAIM = Statement(
    update(queue)
    .where(
        queue.c.execution_id == bindparam("key"),
        queue.c.attempt == bindparam("key_attempt"),
        queue.c.kind == bindparam("key_kind"),
    )
    .values({"visible_at": bindparam("until")})
)
_REMOVE = Statement(
    delete(queue).where(queue.c.execution_id == bindparam("execution_id"), queue.c.attempt <= bindparam("attempt"))
)


@dataclass(slots=True)
class _Rows:
    """What a transaction writes at its end."""

    removed: dict[str, int] = field(default_factory=dict)
    done: set[_Key] = field(default_factory=set)
    claimed: dict[_Key, int] = field(default_factory=dict)
    put: dict[_Key, dict[str, Any]] = field(default_factory=dict)


_TAKEN = "taken"
"""Where a transaction remembers the messages that it began with."""


@dataclass(slots=True)
class Taken:
    """What was received: messages whose attempts may start in the same transaction, and others, to be seen to alone."""

    messages: Sequence[Message] = ()
    others: Sequence[Message] = ()

    @property
    def all(self) -> Sequence[Message]:
        """Both."""
        return [*self.messages, *self.others]


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
            rows = self._take(Due(limit, moment)) if self._database.shared else self._read(limit, moment)
            for row in rows:
                self._taken.setdefault(row[0], {})[row[:3]] = until
        return [_message(row) for row in rows]

    def done(self, message: Message) -> None:
        """Acknowledge: the message doesn't come again. Nothing is written where a verb has removed it already."""
        with self._lock:
            taken = (message.execution_id, message.attempt, message.kind) in self._taken.get(message.execution_id, ())
        if taken:
            self._database.write(partial(self._all_done, [message]))

    def earliest(self, now: datetime) -> datetime | None:
        """When to receive again after all that was due has been taken, UTC; None for not before `wake`."""
        moment = to_us(now)
        row = self._database.read(lambda reading: reading.one(_EARLIEST, now=moment))
        with self._lock:
            times = [until for keys in self._taken.values() for until in keys.values()]
        if row is not None and row[0] is not None:
            times.append(row[0])
        return from_us(min(times, default=None))

    # Where several engines share the queue

    def together(
        self, due: Due, work: Callable[[Sequence[Message]], T], taken: Taken, *, agents: set[str], executions: set[str]
    ) -> T:
        """Receive, and do the work with the messages of attempts that may start, as one transaction.

        It says in `taken` what was received, also where it fails; messages that the work was given are done with when
        it is committed. Agents and executions are those that the work may move beside. Raises Unavailable, and what the
        work raises.
        """

        def joined() -> T:
            taken.messages, taken.others = self._database.write(partial(self._take_along, due))
            result = work(taken.messages)
            self._database.write(partial(self._all_done, taken.messages))
            return result

        return self._database.together(joined, Needs(frozenset(agents), moved=frozenset(executions), taken=due))

    def taking(self, due: Due) -> tuple[Statement, dict[str, Any]]:
        """What locks messages and, where nobody else moves them, their executions; `taken` is given its rows."""
        return _TAKE_ALONG, due._asdict()

    def taken(self, transaction: Transaction, rows: Sequence[Row]) -> Sequence[Row]:
        """Remember what was locked; the executions' ids and bodies."""
        transaction.memory[_TAKEN] = rows
        return [(row[0], row[-1]) for row in rows if row[-1] is not None]

    def _take_along(self, due: Due, transaction: Transaction) -> tuple[list[Message], list[Message]]:
        if _TAKEN not in transaction.memory:
            self._database.prefetch(transaction, Needs(taken=due), wait=False)
        until = due.now + self._visibility_us
        messages, others = [], []
        for row in transaction.memory.pop(_TAKEN):
            key: _Key = row[:3]
            if row[-1] is not None and key[2] == "run":
                messages.append(_message(row))
            else:
                others.append(_message(row))
                self._claim(transaction, row, due)
            with self._lock:
                self._taken.setdefault(key[0], {})[key] = until
        return messages, others

    def _all_done(self, messages: Sequence[Message], transaction: Transaction) -> None:
        for message in messages:
            rows = transaction.at_end(self._write, _Rows)
            if rows.removed.get(message.execution_id, -1) < message.attempt:
                rows.done.add((message.execution_id, message.attempt, message.kind))
                transaction.after_commit.append(
                    partial(self._release, message.execution_id, message.attempt, message.kind)
                )

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
        if rows.done:
            transaction.run_each(_DONE, [dict(zip(_KEY, key, strict=True)) for key in sorted(rows.done)])
        if rows.claimed:
            claims = [
                {"key": id_, "key_attempt": attempt, "key_kind": kind, "until": until}
                for (id_, attempt, kind), until in sorted(rows.claimed.items())
            ]
            transaction.run_each(_CLAIM, claims)
        if rows.put:
            transaction.run_each(_PUT, [row for _, row in sorted(rows.put.items())])

    # What was taken

    def _read(self, limit: int, now: int) -> list[Row]:
        """The longest due of those that were not taken here."""
        if len(self._ahead) < limit:
            most = limit + AHEAD + sum(len(keys) for keys in self._taken.values())
            rows = self._database.read(lambda reading: reading.all(_READ, now=now, most=most))
            self._ahead = {row[:3]: row for row in rows if row[:3] not in self._taken.get(row[0], ())}
        return [self._ahead.pop(key) for key in list(islice(self._ahead, limit))]

    def _take(self, due: Due) -> list[Row]:
        """The longest due, which nobody else is given for a while."""

        def work(transaction: Transaction) -> list[Row]:
            rows = transaction.all(_TAKE, **due._asdict())
            for row in rows:
                self._claim(transaction, row, due)
            return rows

        return self._database.write(work)

    def _claim(self, transaction: Transaction, row: Row, due: Due) -> None:
        rows = transaction.at_end(self._write, _Rows)
        rows.claimed[row[:3]] = due.now + self._visibility_us

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
            for each in ("run", "retry", "close"):  # should there be an older one, it is dropped when its turn comes
                self._ahead.pop((execution_id, attempt, each), None)

    def _make_way(self, visible_at: int) -> None:
        """Read again, if what was sent comes before something that was read."""
        with self._lock:
            if self._ahead and visible_at < next(reversed(self._ahead.values()))[-1]:
                self._ahead.clear()


def _message(row: Row) -> Message:
    execution_id, attempt, kind, agent_id, due, *_ = row
    return Message(kind=kind, execution_id=execution_id, agent_id=agent_id, attempt=attempt, due=from_us(due))
