"""The outbox: events that are durable, and wait until they have reached every subscriber."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, select, update

from overnight.embedded.sql.database import Database, Transaction
from overnight.embedded.sql.instants import to_us
from overnight.embedded.sql.schema import DUE, events
from overnight.embedded.sql.statement import Statement, binds
from overnight.executions import Event, Pending

__all__ = ["KEPT", "Events"]

KEPT = timedelta(days=7)
"""How long the id of an event is known, so that it is not taken twice."""

_PUT = Statement(
    lambda insert: insert(events).values(binds(events, "seq")).on_conflict_do_nothing(index_elements=[events.c.id])
)
_PENDING = Statement(
    select(events.c.body)
    .where(DUE, events.c.due <= bindparam("now"))
    .order_by(events.c.due, events.c.seq)
    .limit(bindparam("most"))
)
_READ = Statement(select(events.c.body, events.c.due).where(events.c.id == bindparam("key")))
_PUT_OFF = Statement(
    update(events)
    .where(events.c.id == bindparam("key"), events.c.due.is_not(None))
    .values(due=bindparam("until"), body=bindparam("content"))
)
_DONE = Statement(update(events).where(events.c.id == bindparam("key")).values(due=None))
_PRUNE = Statement(
    delete(events).where(
        events.c.seq.in_(
            select(events.c.seq)
            .where(events.c.keep_until <= bindparam("now"), events.c.due.is_(None))
            .order_by(events.c.keep_until)
            .limit(bindparam("most"))
        )
    )
)


class Events:
    """Events in their table, in the order in which they came."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    def put(self, event: Event) -> bool:
        """Keep an event; False if one of that id was kept before."""

        def work(transaction: Transaction) -> bool:
            now = self._now()
            put = transaction.run(
                _PUT, id=event.id, due=to_us(now), keep_until=to_us(now + KEPT), body=event.model_dump_json()
            )
            if put:
                transaction.after_commit.append(self._database.wake)
            return put == 1

        return self._database.write(work)

    def get(self, event_id: str) -> Pending | None:
        """The event of that id, as far as it has come."""
        row = self._database.read(lambda reading: reading.one(_READ, key=event_id))
        return None if row is None else _pending(row[0]).model_copy(update={"done": row[1] is None})

    def pending(self, now: datetime, limit: int) -> Sequence[Pending]:
        """Events that are due to be fanned out, the longest due first."""
        rows = self._database.read(lambda reading: reading.all(_PENDING, now=to_us(now), most=limit))
        return [_pending(row[0]) for row in rows]

    def put_off(self, pending: Pending, until: datetime) -> None:
        """Keep how far an event has come, and when to go on with it, unless it is done."""
        content = pending.model_dump_json()
        self._database.write(
            lambda transaction: transaction.run(_PUT_OFF, key=pending.id, until=to_us(until), content=content)
        )

    def done(self, event_id: str) -> None:
        """The event has reached every subscriber."""
        self._database.write(lambda transaction: transaction.run(_DONE, key=event_id))

    def prune(self, transaction: Transaction, now: datetime, limit: int) -> int:
        """Remove what has been fanned out and kept long enough; how many."""
        return transaction.run(_PRUNE, now=to_us(now), most=limit)


def _pending(body: str) -> Pending:
    return Pending.model_validate_json(body)
