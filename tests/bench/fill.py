"""Fill a database with many agents, or with a long history, quickly.

    python -m tests.bench.fill DATA URL agents FIRST LAST | history AGENTS FIRST LAST | due COUNT FIRST_IN WINDOW

The first of each kind is made by the verbs of the core, the others are copies of its rows under other ids and names:
what stands in the tables is what an engine would have written, and `overnight verify` finds nothing wrong with it.
URL is `-` for SQLite.
"""

import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Table
from tests.bench.setting import agent, engine

from overnight.agents import Agent, AgentState
from overnight.core.ledger import tick_key
from overnight.embedded.engine import Engine
from overnight.embedded.sql import schema
from overnight.embedded.sql.instants import to_us
from overnight.executions import Attempt, AttemptOutcome, Execution, Failure, FiringKind, Held, Status, execution_id
from overnight.ports import Transition

__all__ = ["EVERY_SECONDS", "FAILED", "agents", "due", "execution", "history", "main"]

EVERY_SECONDS = 250
"""Between two ticks of an agent with a history: 10,000 of them are 29 days."""

FAILED = 1_000
"""Of so many executions one has failed."""

ROWS = 10_000
"""How many are written at once."""

Row = Sequence[Any]


def agents(opened: Engine, first: int, last: int) -> None:
    """Agents `agent-<n>` from `first` to before `last`, each armed, the next tick some days away."""
    if first == 0:
        weekly = {"interval": {"weeks": 1}, "start_at": (opened.ports.now() + timedelta(days=3)).isoformat()}
        agent(opened, _name(0), "nothing", triggers=[{"name": "schedule", **weekly}])
    _copy(opened, [(_id(_name(number)), _name(number)) for number in range(max(first, 1), last)])


def due(opened: Engine, count: int, first_in: float, window: float) -> None:
    """Agents `due-<n>` that tick once, one after the other, the first in so many seconds and all within the window."""
    begin = opened.ports.now() + timedelta(seconds=first_in)
    for chunk in range(0, count, 500):

        def arm(numbers: Iterable[int] = range(chunk, min(chunk + 500, count))) -> None:
            for number in numbers:
                start_at = begin + timedelta(seconds=window) * number / count
                trigger = {"name": "schedule", "interval": {"hours": 1}, "start_at": start_at.isoformat()}
                agent(opened, f"due-{number}", "tick", triggers=[trigger])

        opened.ports.store.together(arm)


def history(opened: Engine, many: int, first: int, last: int) -> None:
    """Executions of `many` agents: ticks every 250 s up to now, the `first` newest to before the `last` newest."""
    now = opened.ports.now().replace(microsecond=0)
    newest = now - timedelta(seconds=10)
    if first == 0:
        _armed_since(opened, now - timedelta(days=29, hours=12), newest)
        _copy(opened, [(_id(_name(number)), _name(number)) for number in range(1, many)])
    template, state = opened.ports.store.read(_name(0))
    cursor = state.schedules["schedule"].cursor
    assert cursor is not None
    ids = [template.id, *(_id(_name(number)) for number in range(1, many))]

    def ticks() -> Iterator[Row]:
        for number in range(last // many - 1, first // many - 1, -1):
            nominal = cursor - timedelta(seconds=EVERY_SECONDS) * number
            for which, id_ in enumerate(ids):
                yield _row(id_, _name(which), nominal, failed=(number * many + which) % FAILED == FAILED - 1)

    _insert(opened, schema.executions, _COLUMNS, ticks())


# Agents


def _name(number: int) -> str:
    return f"agent-{number:06}"


def _id(name: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_OID, name).hex


def _armed_since(opened: Engine, since: datetime, cursor: datetime) -> None:
    """The first agent, armed long ago, with a ledger that reaches up to the cursor."""
    trigger = {"name": "schedule", "interval": {"seconds": EVERY_SECONDS}}
    ticks = (cursor - since) // timedelta(seconds=EVERY_SECONDS)
    anchor = cursor - timedelta(seconds=EVERY_SECONDS) * ticks
    then = replace(opened.ports, now=lambda: anchor)
    held, opened.ports = opened.ports, then
    try:
        agent(opened, _name(0), "nothing", triggers=[trigger | {"start_at": anchor.isoformat()}])
    finally:
        opened.ports = held

    def move(_: Agent, state: AgentState) -> Transition:
        armed = state.schedules["schedule"]
        armed = armed.model_copy(update={"cursor": cursor, "next": cursor + timedelta(seconds=EVERY_SECONDS)})
        return Transition(state.model_copy(update={"schedules": {"schedule": armed}, "last_run_at": cursor}))

    template = held.store.agent(_name(0))
    held.store.transition(template.id, move)
    held.clock.arm(template, "schedule", held.store.read(template.id)[1])


_OF_AGENT: Mapping[Table, str] = {
    schema.agents: "id",
    schema.states: "agent_id",
    schema.periods: "agent_id",
    schema.alarms: "agent_id",
}


def _copy(opened: Engine, copies: Sequence[tuple[str, str]]) -> None:
    """Copy every row of the first agent, for each id and name."""
    template = opened.ports.store.agent(_name(0))
    for table, key in _OF_AGENT.items():
        columns = [column.name for column in table.columns]
        rows = _read(opened, f"SELECT {_quoted(columns)} FROM {table.name} WHERE {key} = '{template.id}'")
        assert rows
        replaced = (
            [_as(value, template.id, id_, template.name, name) for value in row] for id_, name in copies for row in rows
        )
        _insert(opened, table, columns, replaced)


def _as(value: Any, id_: str, new_id: str, name: str, new_name: str) -> Any:
    return value.replace(id_, new_id).replace(name, new_name) if isinstance(value, str) else value


# Executions

_COLUMNS = [column.name for column in schema.executions.columns if column.name != "seq"]
_FAILURE = Failure(type="ValueError", message="no data", traceback="Traceback (most recent call last):\n  …")


def execution(agent_id: str, agent: str, nominal: datetime, *, failed: bool) -> Execution:
    """The record of a tick that was run at once."""
    key = tick_key("schedule", nominal)
    id_ = execution_id(agent_id, key)
    began, ended = nominal + timedelta(milliseconds=5), nominal + timedelta(milliseconds=12)
    failure = _FAILURE if failed else None
    outcome = AttemptOutcome.FAILED if failed else AttemptOutcome.SUCCEEDED
    return Execution(
        id=id_,
        rev=2,
        agent_id=agent_id,
        agent=agent,
        status=Status.FAILED if failed else Status.SUCCEEDED,
        kind=FiringKind.SCHEDULE,
        dedupe_key=key,
        trigger="schedule",
        nominal=nominal,
        previous=nominal - timedelta(seconds=EVERY_SECONDS),
        agent_version=1,
        created_at=nominal,
        started_at=began,
        attempt_started_at=began,
        finished_at=ended,
        attempt=1,
        tries=1,
        output=None if failed else Held(value={"text": None, "outputs": {}}),
        failure=failure,
        first=Attempt(
            execution_id=id_,
            number=1,
            outcome=outcome,
            started_at=began,
            finished_at=ended,
            worker="bench",
            failure=failure,
        ),
        retain_until=ended + timedelta(days=30),
    )


_SAMPLE = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
_SAMPLES = {failed: execution("f" * 32, "agent-name", _SAMPLE, failed=failed) for failed in (False, True)}
_BODIES = {failed: sample.model_dump_json(exclude_defaults=True) for failed, sample in _SAMPLES.items()}


def _row(agent_id: str, agent: str, nominal: datetime, *, failed: bool) -> Row:
    """The row of such a record; its JSON is the sample's with everything replaced that differs."""
    sample = _SAMPLES[failed]
    id_ = execution_id(agent_id, tick_key("schedule", nominal))
    body = _BODIES[failed].replace(sample.id, id_).replace(sample.agent_id, agent_id).replace(sample.agent, agent)
    for before, after in _instants(nominal):
        body = body.replace(before, after)
    at = to_us(nominal)
    ended = at + 12_000
    return (
        *(id_, 2, agent_id, sample.status.value, None, "schedule", "schedule", at, None, 1),
        *(at - EVERY_SECONDS * 1_000_000, at, None, ended + 30 * 86_400_000_000, body),
    )


def _instants(nominal: datetime) -> Iterator[tuple[str, str]]:
    """What stands in the sample, and what is to stand there."""
    for offset in (timedelta(), timedelta(seconds=-EVERY_SECONDS), timedelta(days=30)):
        yield (f"{_SAMPLE + offset:%Y-%m-%dT%H:%M:%S}", f"{nominal + offset:%Y-%m-%dT%H:%M:%S}")


# Rows


def _quoted(columns: Iterable[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _read(opened: Engine, query: str) -> list[Row]:
    database = opened.ports.store._database  # type: ignore[attr-defined]
    return list(database.read(lambda reading: _fetched(reading._cursor, query)))


def _fetched(cursor: Any, query: str) -> list[Row]:
    cursor.execute(query)
    rows: list[Row] = cursor.fetchall()
    return rows


def _insert(opened: Engine, table: Table, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write rows as fast as the database can: many in one transaction."""
    database = opened.ports.store._database  # type: ignore[attr-defined]
    remaining = iter(rows)
    while chunk := list(islice(remaining, ROWS)):
        if database.shared:
            with database._connections.borrowed() as connection:
                _copied(connection, table, columns, chunk)
        else:
            database.write(lambda transaction, chunk=chunk: _written(transaction._cursor, table, columns, chunk))


def _copied(connection: psycopg.Connection[Row], table: Table, columns: Sequence[str], rows: list[Row]) -> None:
    with connection.cursor().copy(f"COPY {table.name} ({_quoted(columns)}) FROM STDIN") as copy:  # type: ignore[arg-type]
        for row in rows:
            copy.write_row(row)


def _written(cursor: Any, table: Table, columns: Sequence[str], rows: list[Row]) -> None:
    places = ", ".join("?" * len(columns))
    cursor.executemany(f"INSERT INTO {table.name} ({_quoted(columns)}) VALUES ({places})", rows)


def main(data: str, url: str, kind: str, *numbers: str) -> None:
    """Fill it, while another engine may have it open; then have PostgreSQL know what its tables look like."""
    fill: Callable[..., None] = {"agents": agents, "due": due, "history": history}[kind]
    folder, address = Path(data), None if url == "-" else url
    if address is None:
        address = f"sqlite:///{folder / 'overnight.db'}"
    with engine(folder / "filling", address, started=False) as opened:
        fill(opened, *(float(number) if "." in number else int(number) for number in numbers))
    if not address.startswith("sqlite"):
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("ANALYZE")


if __name__ == "__main__":
    main(*sys.argv[1:])
