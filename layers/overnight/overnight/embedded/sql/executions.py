"""The rows of executions and their attempts: written by the verbs, and every way they are looked for."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Select,
    Text,
    TextClause,
    any_,
    bindparam,
    delete,
    exists,
    insert,
    select,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.sql.selectable import CTE

from overnight import cursors
from overnight.embedded.sql.database import Database, Reading, Row, Transaction
from overnight.embedded.sql.instants import from_us, to_us
from overnight.embedded.sql.parsed import Parsed
from overnight.embedded.sql.schema import (
    DUE,
    LEDGER,
    NOT_SUCCEEDED,
    RANGE,
    RETAINED,
    TERMINAL,
    attempts,
    deliveries,
    executions,
)
from overnight.embedded.sql.search import PLACE, Place, searches
from overnight.embedded.sql.several import among, asked, batches, batches_of_stretches
from overnight.embedded.sql.statement import Insert, Statement, Upsert, binds
from overnight.embedded.sql.uses import Uses, of_attempt, of_execution
from overnight.errors import ExecutionNotFound
from overnight.executions import Attempt, Execution, FiringKind, Reason, Status, Stretch, Tick
from overnight.ports import DueExecution, ExecutionFilter, Page, Revision

__all__ = ["Executions"]

_INSERT = Statement(insert(executions).values(binds(executions, "seq")))
_UPDATE = Statement(
    update(executions)
    .where(executions.c.id == bindparam("key"))
    .values({name: bindparam(name) for name in ("rev", "status", "reason", "due", "retain_until", "body")})
)
# What is put off is remembered, so it isn't looked for here.
_BODY = select(executions.c.body).where(executions.c.id == bindparam("execution_id"))
_READ = Statement(_BODY, apart=True)
_LOCK = Statement(_BODY.with_for_update(), apart=True)
_ALL = select(executions.c.id, executions.c.body).where(executions.c.id == any_(bindparam("ids", type_=ARRAY(Text))))
_READ_ALL = Statement(_ALL, apart=True)
_LOCK_FREE = Statement(_ALL.with_for_update(skip_locked=True), apart=True)
_EACH = Statement(select(executions.c.id, executions.c.body).where(among(executions.c.id)))
_AGENT = Statement(select(executions.c.agent_id).where(executions.c.id == bindparam("execution_id")))
_ANY_OF_AGENT = Statement(select(exists().where(executions.c.agent_id == bindparam("agent_id"))))


def _put_attempt(insert: Upsert) -> Insert:
    # An attempt ends once; what comes late with its number changes nothing.
    return (
        insert(attempts)
        .values(binds(attempts))
        .on_conflict_do_nothing(index_elements=[attempts.c.execution_id, attempts.c.number])
    )


_PUT_ATTEMPT = Statement(_put_attempt)
_ATTEMPTS = Statement(
    select(attempts.c.body).where(attempts.c.execution_id == bindparam("execution_id")).order_by(attempts.c.number)
)
_DUE = Statement(
    select(executions.c.id, executions.c.agent_id)
    .where(DUE, executions.c.due <= bindparam("now"))
    .order_by(executions.c.due)
    .limit(bindparam("most"))
)


def _live(status: Status) -> Select[Any]:
    """The oldest that are of that status, after a place; of each status they have their order in the index."""
    return (
        select(*PLACE, executions.c.body)
        .where(NOT_SUCCEEDED, executions.c.status == status.value)
        .where(tuple_(*PLACE) > tuple_(bindparam("created_at", type_=BigInteger), bindparam("seq", type_=BigInteger)))
        .order_by(*PLACE)
        .limit(bindparam("most"))
    )


_LIVE = Statement(
    union_all(*(select(_live(status).subquery("oldest")) for status in Status if not status.terminal))
    .order_by("created_at", "seq")
    .limit(bindparam("most"))
)

_TICK = (
    executions.c.id,
    executions.c.nominal,
    executions.c.until,
    executions.c.count,
    executions.c.previous,
    executions.c.status,
    executions.c.reason,
)


def _begins_within(since: ColumnElement[int], until: ColumnElement[int]) -> Iterator[ColumnElement[bool] | TextClause]:
    yield LEDGER
    yield executions.c.nominal >= since
    yield executions.c.nominal <= until


def _reaches_into(since: ColumnElement[int]) -> Iterator[ColumnElement[bool] | TextClause]:
    """A range record may begin before the time asked for and reach into it.

    So may the whole ledger, by its index: the sum keeps SQLite from it.
    """
    yield RANGE
    yield executions.c.kind == FiringKind.SCHEDULE.value
    yield executions.c.until >= since
    yield executions.c.nominal + 0 < since


_OF_TRIGGER = (executions.c.agent_id == bindparam("agent_id"), executions.c.trigger == bindparam("trigger"))
_TICKS = Statement(
    select(*_TICK)
    .where(*_OF_TRIGGER, *_begins_within(bindparam("since"), bindparam("until_")))
    .order_by(executions.c.nominal)
    .limit(bindparam("most"))
)
_RANGES = Statement(
    select(*_TICK).where(*_OF_TRIGGER, *_reaches_into(bindparam("since"))).order_by(executions.c.nominal)
)


def _of_each(conditions: Callable[[CTE], Iterable[ColumnElement[bool] | TextClause]]) -> Mapping[str, Statement]:
    """What holds of each stretch that is asked for, by dialect."""
    given = asked()
    found = (
        select(*_TICK)
        .where(executions.c.agent_id == given.c.agent_id, executions.c.trigger == given.c.trigger, *conditions(given))
        .order_by(executions.c.nominal)
    )
    # PostgreSQL would rather read a whole history than join by the index where it expects much of each stretch.
    beside = found.offset(0).lateral()
    return {
        "sqlite": Statement(found.with_only_columns(given.c.number, *_TICK)),
        "postgresql": Statement(select(given.c.number, beside)),
    }


_TICKS_OF_EACH = _of_each(lambda given: _begins_within(given.c.first, given.c.last))
_RANGES_OF_EACH = _of_each(lambda given: _reaches_into(given.c.first))
_PRUNABLE = Statement(
    select(executions.c.id)
    .where(
        RETAINED,
        executions.c.retain_until <= bindparam("now"),
        TERMINAL,
    )
    .order_by(executions.c.retain_until)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_PRUNE = (
    Statement(delete(attempts).where(attempts.c.execution_id == bindparam("execution_id"))),
    Statement(
        delete(deliveries).where(deliveries.c.execution_id == bindparam("execution_id"), deliveries.c.due.is_(None))
    ),
    Statement(delete(executions).where(executions.c.id == bindparam("execution_id"))),
)

PARSED = 1_000
"""How many executions that have not ended are kept parsed (some 4 KB each)."""

CHUNK = 1_000
"""Rows of the ledger that are read at a time."""


@dataclass(slots=True)
class _Rows:
    """What a transaction writes at its end."""

    inserted: set[str] = field(default_factory=set)
    updated: set[str] = field(default_factory=set)
    attempts: list[Attempt] = field(default_factory=list)
    uses: list[tuple[str, str]] = field(default_factory=list)


class Executions:
    """Executions in their tables."""

    def __init__(self, database: Database, uses: Uses) -> None:
        self._database = database
        self._uses = uses
        self._parsed = Parsed(Execution.model_validate_json, PARSED)

    # Within a transaction

    def insert(self, transaction: Transaction, execution: Execution) -> bool:
        """Insert, with its agent locked; False where the id is there already."""
        if self.find(transaction, execution.id) is not None:
            return False
        transaction.memory[_key(execution.id)] = execution
        rows = transaction.at_end(self._write, _Rows)
        rows.inserted.add(execution.id)
        rows.uses += [(execution.id, digest) for digest in of_execution(execution)]
        return True

    def update(self, transaction: Transaction, before: Execution, revision: Revision) -> Execution:
        """Write what the execution becomes that was got by `lock`; as it is then."""
        execution = revision.execution
        changes: dict[str, Any] = {}
        if execution.rev != before.rev + 1:
            changes["rev"] = before.rev + 1
        if revision.attempt is not None and revision.attempt.number == 1 and execution.first is None:
            changes["first"] = revision.attempt
        if changes:
            execution = execution.model_copy(update=changes)
        transaction.memory[_key(execution.id)] = execution
        rows = transaction.at_end(self._write, _Rows)
        if execution.id not in rows.inserted:
            rows.updated.add(execution.id)
        new = set(of_execution(execution)).difference(of_execution(before))
        rows.uses += [(execution.id, digest) for digest in new]
        attempt = revision.attempt
        if attempt is not None and attempt.number > 1:
            rows.attempts.append(attempt)
            rows.uses += [(execution.id, digest) for digest in of_attempt(attempt)]
        return execution

    def _write(self, transaction: Transaction, rows: "_Rows") -> None:
        """In order of id, so that no two transactions wait for each other."""
        for statement, columns, ids in ((_INSERT, _inserted, rows.inserted), (_UPDATE, _updated, rows.updated)):
            if ids:
                executions = [self._known(transaction, id_) for id_ in sorted(ids)]
                written = [columns(execution) for execution in executions]
                transaction.run_each(statement, written)
                for execution, row in zip(executions, written, strict=True):
                    if execution.status.terminal:
                        self._parsed.drop(execution.id)
                    else:
                        self._parsed.keep(execution.id, row["body"], execution)
        if rows.attempts:
            transaction.run_each(_PUT_ATTEMPT, [_attempt(attempt) for attempt in rows.attempts])
        if rows.uses:
            self._uses.keep(transaction, rows.uses)
        for id_ in rows.inserted | rows.updated:  # what has ended is seldom asked for again
            if self._known(transaction, id_).status.terminal:
                self._forget(transaction, id_)

    def _known(self, transaction: Transaction, execution_id: str) -> Execution:
        execution: Execution = transaction.memory[_key(execution_id)]
        return execution

    def _forget(self, transaction: Transaction, execution_id: str) -> None:
        transaction.memory.pop(_key(execution_id), None)
        transaction.memory.pop(_sought(execution_id), None)
        self._parsed.drop(execution_id)

    def prune(self, transaction: Transaction, now: datetime, limit: int) -> int:
        """Remove terminal executions, with what hangs on them, whose retention has passed; how many."""
        rows = [{"execution_id": row[0]} for row in transaction.all(_PRUNABLE, now=to_us(now), most=limit)]
        if rows:
            for statement in _PRUNE:
                transaction.run_each(statement, rows)
            self._uses.drop(transaction, [row["execution_id"] for row in rows])
            for row in rows:
                self._forget(transaction, row["execution_id"])
        return len(rows)

    def lock(self, transaction: Transaction, execution_id: str) -> Execution:
        """The execution of that id, which nobody else moves before this transaction ends. Raises ExecutionNotFound."""
        execution: Execution | None = transaction.memory.get(_key(execution_id))
        if execution is None:
            row = transaction.one(_LOCK, execution_id=execution_id)
            if row is None:
                raise ExecutionNotFound(execution_id)
            execution = transaction.memory[_key(execution_id)] = self._parsed.of(execution_id, row[0])
        return execution

    def locking(self, execution_ids: Iterable[str]) -> tuple[Statement, dict[str, Any]]:
        """What locks those of several that nobody else holds; `locked` is given its rows."""
        return _LOCK_FREE, {"ids": list(execution_ids)}

    def locked(self, transaction: Transaction, rows: Sequence[Row]) -> frozenset[str]:
        """Remember what was locked; the ids."""
        for id_, body in rows:
            transaction.memory[_key(id_)] = self._parsed.of(id_, body)
        return frozenset(id_ for id_, _ in rows)

    def seeking(self, execution_ids: Iterable[str]) -> tuple[Statement, dict[str, Any]]:
        """What looks for several, whose agents are locked; `sought` is given its rows."""
        return _READ_ALL, {"ids": list(execution_ids)}

    def sought(self, transaction: Transaction, execution_ids: Iterable[str], rows: Sequence[Row]) -> None:
        """Remember which of those that were looked for are there."""
        there: dict[str, str] = dict(rows)
        for id_ in execution_ids:
            transaction.memory[_sought(id_)] = Execution.model_validate_json(there[id_]) if id_ in there else None

    # Reading, within a transaction or without

    def find(self, reading: Reading, execution_id: str) -> Execution | None:
        """The execution of that id, if there is one."""
        if isinstance(reading, Transaction):
            for key in (_key(execution_id), _sought(execution_id)):
                if key in reading.memory:
                    known: Execution | None = reading.memory[key]
                    return known
        row = reading.one(_READ, execution_id=execution_id)
        found = None if row is None else Execution.model_validate_json(row[0])
        if found is not None and isinstance(reading, Transaction) and not self._database.shared:
            reading.memory[_key(execution_id)] = found  # whoever writes is alone, so it is locked, too
        return found

    def get(self, reading: Reading, execution_id: str) -> Execution:
        """The execution of that id. Raises ExecutionNotFound."""
        execution = self.find(reading, execution_id)
        if execution is None:
            raise ExecutionNotFound(execution_id)
        return execution

    def agent_of(self, reading: Reading, execution_id: str) -> str:
        """The id of its agent. Raises ExecutionNotFound."""
        row = reading.one(_AGENT, execution_id=execution_id)
        if row is None:
            raise ExecutionNotFound(execution_id)
        agent_id: str = row[0]
        return agent_id

    def any_of(self, reading: Reading, agent_id: str) -> bool:
        """Whether the agent has executions."""
        row = reading.one(_ANY_OF_AGENT, agent_id=agent_id)
        return row is not None and bool(row[0])

    # Listings

    def page(self, where: ExecutionFilter, cursor: str | None, limit: int) -> Page[Execution]:
        """Executions, newest first."""
        before = None if cursor is None else cursors.decode(cursor, int, int)
        wanted = searches(where)

        def read(reading: Reading) -> tuple[Place | None, list[Row]]:
            ends = (reading.one(Statement(last)) for search in wanted if (last := search.end(before)) is not None)
            end: Place | None = max(filter(None, ends), default=None)
            found = (reading.all(Statement(search.found(before, end, limit + 1))) for search in wanted)
            return end, list(chain.from_iterable(found))

        end, rows = self._database.read(read)
        rows.sort(key=lambda row: row[:2], reverse=True)
        items = tuple(Execution.model_validate_json(row[2]) for row in rows[:limit])
        more = rows[limit - 1][:2] if len(rows) > limit else end
        return Page(items, cursors.encode(*more) if more is not None else None)

    def unfinished(self, cursor: str | None, limit: int) -> Page[Execution]:
        """Executions that are not terminal, the oldest first."""
        created_at, seq = (0, 0) if cursor is None else cursors.decode(cursor, int, int)
        rows = self._database.read(lambda reading: reading.all(_LIVE, created_at=created_at, seq=seq, most=limit + 1))
        items = tuple(Execution.model_validate_json(row[2]) for row in rows[:limit])
        return Page(items, cursors.encode(*rows[limit - 1][:2]) if len(rows) > limit else None)

    def attempts(self, execution_id: str) -> Sequence[Attempt]:
        """The attempts that have ended, by number. Raises ExecutionNotFound."""
        execution = self._database.read(lambda reading: self.get(reading, execution_id))
        rows = self._database.read(lambda reading: reading.all(_ATTEMPTS, execution_id=execution_id))
        later = (Attempt.model_validate_json(row[0]) for row in rows)
        return [*([execution.first] if execution.first else []), *later]

    def each(self, execution_ids: Iterable[str]) -> dict[str, Execution]:
        """The executions of these ids, as far as they are there, by id."""
        wanted = tuple(execution_ids)

        def read(reading: Reading) -> list[Row]:
            return [row for batch in batches(wanted) for row in reading.all(_EACH, **batch)]

        return {execution_id: Execution.model_validate_json(body) for execution_id, body in self._database.read(read)}

    def ledgers(self, stretches: Iterable[Stretch]) -> dict[Stretch, list[Tick]]:
        """What `ticks` gives of each of these that have any."""
        wanted = tuple(stretches)
        found: dict[Stretch, list[Tick]] = {}

        def read(reading: Reading) -> None:
            found.clear()
            for batch, parameters in batches_of_stretches(wanted):
                for statement in (_RANGES_OF_EACH, _TICKS_OF_EACH):
                    for number, *row in reading.all(statement[self._database.dialect.name], **parameters):
                        found.setdefault(batch[number], []).append(_tick(row))

        self._database.read(read)
        return found

    def ticks(self, agent_id: str, trigger: str, since: datetime, until: datetime) -> Iterator[Tick]:
        """The ledger of a trigger, read a chunk at a time."""
        place = {"agent_id": agent_id, "trigger": trigger}
        after, last = to_us(since), to_us(until)
        for row in self._database.read(lambda reading: reading.all(_RANGES, **place, since=after)):
            yield _tick(row)
        while True:
            rows = self._database.read(
                lambda reading: reading.all(_TICKS, **place, since=after, until_=last, most=CHUNK)  # noqa: B023 - at once
            )
            for row in rows:
                yield _tick(row)
            if len(rows) < CHUNK:
                return
            after = rows[-1][1] + 1

    def due(self, now: datetime, limit: int) -> Sequence[DueExecution]:
        """Executions whose own due time has passed, the longest due first."""
        rows = self._database.read(lambda reading: reading.all(_DUE, now=to_us(now), most=limit))
        return [DueExecution(execution_id, agent_id) for execution_id, agent_id in rows]


def _key(execution_id: str) -> tuple[str, str]:
    """Where a transaction remembers one that is locked."""
    return "execution", execution_id


def _sought(execution_id: str) -> tuple[str, str]:
    """Where it remembers one that is only read."""
    return "sought", execution_id


def _inserted(execution: Execution) -> dict[str, Any]:
    return _moving(execution) | {
        "id": execution.id,
        "agent_id": execution.agent_id,
        "kind": execution.kind.value,
        "trigger": execution.trigger,
        "nominal": to_us(execution.nominal),
        "until": to_us(execution.until),
        "count": execution.count,
        "previous": to_us(execution.previous),
        "created_at": to_us(execution.created_at),
    }


def _updated(execution: Execution) -> dict[str, Any]:
    return _moving(execution) | {"key": execution.id}


def _moving(execution: Execution) -> dict[str, Any]:
    """The columns that change in an execution's life."""
    return {
        "rev": execution.rev,
        "status": execution.status.value,
        "reason": execution.reason.value if execution.reason else None,
        "due": to_us(execution.due),
        "retain_until": to_us(execution.retain_until),
        "body": _json(execution),
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "execution_id": attempt.execution_id,
        "number": attempt.number,
        "body": attempt.model_dump_json(exclude_defaults=True),
    }


def _json(execution: Execution) -> str:
    # Defaults mean absence in an execution, and there are many of them.
    return execution.model_dump_json(exclude_defaults=True)


def _tick(row: Sequence[Any]) -> Tick:
    execution_id, nominal, until, count, previous, status, reason = row
    return Tick(
        execution_id=execution_id,
        nominal=from_us(nominal),
        until=from_us(until),
        count=count,
        previous=from_us(previous),
        status=Status(status),
        reason=Reason(reason) if reason else None,
    )
