"""The alarm clock: a table of when each armed schedule rings next, which the engine's loop reads.

Where several engines share the table, each alarm goes to one of them, which has it to itself for a while; should it
die, the alarm rings again for another one. A tick that is fired twice is recorded once, so that is only to spare work.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, func, select, update

from overnight.agents import Agent, AgentState, Armed
from overnight.embedded.sql.database import Database, Row, Transaction
from overnight.embedded.sql.instants import from_us, to_us
from overnight.embedded.sql.schema import alarms
from overnight.embedded.sql.statement import Insert, Statement, Upsert, binds

__all__ = ["Alarm", "RingsAt", "SqlAlarmClock"]

CLAIM = timedelta(seconds=10)
"""How long an alarm that was given to one engine is not given to another."""

CLAIMED_AT_ONCE = 32
"""How many alarms an engine takes at most, so that the others get some of those that ring at the same moment."""

RingsAt = Callable[[Agent, str, Armed], datetime | None]
"""When the next tick of an agent's armed schedule is to be fired: its instant, and its jitter."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """When a schedule rings next: for which tick, at what time (UTC), and the version it was armed with."""

    agent_id: str
    trigger: str
    version: int
    nominal: datetime
    due: datetime


def _set(insert: Upsert) -> Insert:
    alarm = insert(alarms).values(binds(alarms))
    return alarm.on_conflict_do_update(
        index_elements=[alarms.c.agent_id, alarms.c.trigger],
        set_={name: alarm.excluded[name] for name in ("version", "nominal", "due")},
    )


_SET = Statement(_set)
_HERE = (alarms.c.agent_id == bindparam("key_agent"), alarms.c.trigger == bindparam("key_trigger"))
# What was armed anew in between is left alone.
_AS_RUNG = (*_HERE, alarms.c.version == bindparam("key_version"), alarms.c.nominal == bindparam("key_nominal"))
_REMOVE = Statement(delete(alarms).where(*_HERE))
_SPEND = Statement(delete(alarms).where(*_AS_RUNG))
_ADVANCE = Statement(update(alarms).where(*_AS_RUNG).values({"nominal": bindparam("nominal"), "due": bindparam("due")}))
_DUE = Statement(
    select(alarms.c.agent_id, alarms.c.trigger, alarms.c.version, alarms.c.nominal, alarms.c.due)
    .where(alarms.c.due <= bindparam("now"))
    .order_by(alarms.c.due)
    .limit(bindparam("most"))
)
_RINGING = (
    select(alarms.c.agent_id, alarms.c.trigger, alarms.c.due)
    .where(alarms.c.due <= bindparam("now"))
    .order_by(alarms.c.due)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("ringing")
)
_CLAIM = Statement(
    update(alarms)
    .where(alarms.c.agent_id == _RINGING.c.agent_id, alarms.c.trigger == _RINGING.c.trigger)
    .values({"due": bindparam("until")})
    .returning(alarms.c.agent_id, alarms.c.trigger, alarms.c.version, alarms.c.nominal, _RINGING.c.due)
)
_EARLIEST = Statement(select(func.min(alarms.c.due)))


class SqlAlarmClock:
    """Alarms by time.

    Args:
        database: where the table is.
        rings_at: adds the jitter of a tick to its nominal instant.
    """

    def __init__(self, database: Database, rings_at: RingsAt = lambda _agent, _trigger, armed: armed.next) -> None:
        self._database = database
        self._rings_at = rings_at
        self.wake: Callable[[], None] = database.wake
        """Called after a commit that set an alarm."""

    # The port

    def arm(self, agent: Agent, trigger: str, state: AgentState) -> None:
        """Arm (or re-arm) a schedule as its agent's state says; one without a next tick is disarmed."""
        armed = state.schedules.get(trigger)
        due = self._rings_at(agent, trigger, armed) if armed else None
        if armed is None or armed.next is None or due is None:
            self.disarm(agent.id, trigger)
            return
        alarm = Alarm(agent.id, trigger, armed.version, armed.next, due)

        def work(transaction: Transaction) -> None:
            transaction.run(
                _SET,
                agent_id=alarm.agent_id,
                trigger=alarm.trigger,
                version=alarm.version,
                nominal=to_us(alarm.nominal),
                due=to_us(alarm.due),
            )
            transaction.after_commit.append(self.wake)

        self._database.write(work)

    def disarm(self, agent_id: str, trigger: str) -> None:
        """Disarm a schedule, if it is armed."""
        self._database.write(lambda transaction: transaction.run(_REMOVE, key_agent=agent_id, key_trigger=trigger))

    # The engine's loop

    def due(self, now: datetime, limit: int) -> Sequence[Alarm]:
        """Alarms that ring, the longest due first; where others use the database too, they are ours for a while."""
        if self._database.shared:
            rows = self._claimed(now, min(limit, CLAIMED_AT_ONCE))
        else:
            rows = self._database.read(lambda reading: reading.all(_DUE, now=to_us(now), most=limit))
        return [
            Alarm(agent_id, trigger, version, from_us(nominal), from_us(due))
            for agent_id, trigger, version, nominal, due in rows
        ]

    def _claimed(self, now: datetime, limit: int) -> list[Row]:
        claim = {"now": to_us(now), "until": to_us(now + CLAIM), "most": limit}
        rows = self._database.write(lambda transaction: transaction.all(_CLAIM, **claim))
        return sorted(rows, key=lambda row: row[-1])

    def advance(self, rung: Iterable[tuple[Alarm, tuple[datetime, datetime] | None]]) -> None:
        """Set alarms that rang to their next tick (nominal instant, due time), or remove them where there is none.

        One that was armed anew or disarmed since it was read is left as it is.
        """
        # In order of key, so that no two engines wait for each other.
        moves = sorted(rung, key=lambda move: (move[0].agent_id, move[0].trigger))
        if not moves:
            return

        def work(transaction: Transaction) -> None:
            for alarm, following in moves:
                key = {
                    "key_agent": alarm.agent_id,
                    "key_trigger": alarm.trigger,
                    "key_version": alarm.version,
                    "key_nominal": to_us(alarm.nominal),
                }
                if following is None:
                    transaction.run(_SPEND, **key)
                else:
                    transaction.run(_ADVANCE, **key, nominal=to_us(following[0]), due=to_us(following[1]))

        self._database.write(work)

    def earliest(self) -> datetime | None:
        """When the next alarm rings, UTC; None when none is set."""
        row = self._database.read(lambda reading: reading.one(_EARLIEST))
        return None if row is None else from_us(row[0])
