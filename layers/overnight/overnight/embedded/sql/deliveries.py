"""Notifications on their way to a URL."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, update

from overnight.embedded.sql.database import Database, Row, Transaction
from overnight.embedded.sql.instants import from_us, to_us
from overnight.embedded.sql.schema import DUE, deliveries
from overnight.embedded.sql.statement import Insert, Statement, Upsert, binds
from overnight.ports import Delivery

__all__ = ["CLAIM", "Deliveries"]

CLAIM = timedelta(seconds=90)
"""How long a delivery that was given to one engine is not given to another: longer than trying a few takes."""

CLAIMED_AT_ONCE = 4


def _overwrite(insert: Upsert) -> Insert:
    delivery = insert(deliveries).values(binds(deliveries))
    return delivery.on_conflict_do_update(
        index_elements=[deliveries.c.id],
        set_={name: delivery.excluded[name] for name in ("due", "tries", "status", "error")},
    )


_OVERWRITE = Statement(_overwrite)
_PUT = Statement(
    lambda insert: insert(deliveries).values(binds(deliveries)).on_conflict_do_nothing(index_elements=[deliveries.c.id])
)
_COLUMNS = select(*(deliveries.c[name] for name in Delivery.__dataclass_fields__))
_DUE = Statement(
    _COLUMNS.where(DUE, deliveries.c.due <= bindparam("now")).order_by(deliveries.c.due).limit(bindparam("most"))
)
_NEXT = (
    select(deliveries.c.id, deliveries.c.due)
    .where(DUE, deliveries.c.due <= bindparam("now"))
    .order_by(deliveries.c.due)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("next")
)
_CLAIM = Statement(
    update(deliveries)
    .where(deliveries.c.id == _NEXT.c.id)
    .values({"due": bindparam("until")})
    .returning(*(_NEXT.c.due if name == "due" else deliveries.c[name] for name in Delivery.__dataclass_fields__))
)
_OF_AGENT = Statement(
    _COLUMNS.where(deliveries.c.agent_id == bindparam("agent_id"))
    .order_by(deliveries.c.created_at.desc(), deliveries.c.id)
    .limit(bindparam("most"))
)


class Deliveries:
    """Deliveries in their table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, delivery: Delivery) -> None:
        """Keep a delivery; one that was never tried doesn't overwrite what is known of its id."""

        def work(transaction: Transaction) -> None:
            written = transaction.run(
                _PUT if delivery.tries == 0 else _OVERWRITE,
                id=delivery.id,
                agent_id=delivery.agent_id,
                execution_id=delivery.execution_id,
                url=delivery.url,
                body=delivery.body,
                created_at=to_us(delivery.created_at),
                due=to_us(delivery.due),
                tries=delivery.tries,
                status=delivery.status,
                error=delivery.error,
            )
            if written and delivery.due is not None:
                transaction.after_commit.append(self._database.wake)

        self._database.write(work)

    def due(self, now: datetime, limit: int) -> Sequence[Delivery]:
        """Deliveries whose time has come, the longest due first; where others use the database, ours for a while."""
        if self._database.shared:
            most, until = min(limit, CLAIMED_AT_ONCE), to_us(now + CLAIM)
            rows = self._database.write(
                lambda transaction: transaction.all(_CLAIM, now=to_us(now), until=until, most=most)
            )
            return sorted(map(_delivery, rows), key=lambda delivery: (delivery.due or now, delivery.id))
        rows = self._database.read(lambda reading: reading.all(_DUE, now=to_us(now), most=limit))
        return [_delivery(row) for row in rows]

    def of_agent(self, agent_id: str, limit: int) -> Sequence[Delivery]:
        """An agent's deliveries, newest first."""
        rows = self._database.read(lambda reading: reading.all(_OF_AGENT, agent_id=agent_id, most=limit))
        return [_delivery(row) for row in rows]


def _delivery(row: Row) -> Delivery:
    fields = dict(zip(Delivery.__dataclass_fields__, row, strict=True))
    fields["created_at"] = from_us(fields["created_at"])
    fields["due"] = from_us(fields["due"])
    return Delivery(**fields)
