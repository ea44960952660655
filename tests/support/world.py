"""A world in which agents run: the real core over a real store, with time, chance, ids and flows in the test's hands.

    world = World()
    world.agent("daily", cron="0 8 * * *")
    world.live(hours=24)
    assert [row.status for row in world.rows("daily")] == ["succeeded"]
    world.check()

Another store is one more entry of STORES.
"""

import base64
import itertools
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from tests.support import postgresql
from tests.support.flows import Flows, Under, ok
from tests.support.fuse import Watched, watched

from overnight.agents import Agent, AgentDocument, AgentState
from overnight.core import events, fire, lifecycle, notify, run, watchdog
from overnight.core.attempts import renew
from overnight.core.due import look_at
from overnight.core.ledger import alarm_at
from overnight.core.retention import prune
from overnight.core.verify import Report, verify
from overnight.embedded.blobs import FolderBlobStore
from overnight.embedded.bus import LocalBus
from overnight.embedded.secrets import FileSecretStore
from overnight.embedded.sql import Database, SqlAlarmClock, SqlStore, SqlWorkQueue, open_database
from overnight.executions import AttemptOutcome, Event, Execution, Message, Tick
from overnight.ports import ExecutionFilter, Ports, RunReport, Store

__all__ = ["STORES", "World", "instant", "statuses"]

DATABASES: Mapping[str, Callable[[], Database]] = {
    "sqlite": lambda: open_database("sqlite://"),
    "postgresql": postgresql.emptied,
}


class Sql:
    """The store in the same database as queue and alarms."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, queue: SqlWorkQueue, now: Callable[[], datetime]) -> Store:
        """The store, as a process opens it that starts."""
        return SqlStore(self._database, queue, look_at, now)

    def watched(self, store: Store, after: Callable[[str], None]) -> Any:
        """The store, with `after` called after each step that may be the last: every verb, which is a transaction."""
        return Watched(store, "store", after)

    def lose(self, execution_id: str) -> None:
        """Delete an execution's row behind the store's back."""
        self._database.write(lambda write: write.run_sql(f"DELETE FROM executions WHERE id = '{execution_id}'"))

    def expire(self, now: datetime) -> None:
        """Let go what the database removes by itself: nothing."""

    def close(self) -> None:
        """Nothing is left but the database."""


class DynamoDb:
    """The store in a table on moto."""

    def __init__(self, _: Database) -> None:
        from tests.support import aws  # noqa: PLC0415 - moto is slow to import

        self._aws = aws
        self._table = aws.make_table(aws.fresh("world"))
        self._calls = aws.Calls("dynamodb")

    def open(self, _: SqlWorkQueue, now: Callable[[], datetime]) -> Store:
        """The store, as a process opens it that starts."""
        self._calls.after = lambda _: None
        return self._aws.open_store(self._table, look_at, now, self._calls)

    def watched(self, store: Store, after: Callable[[str], None]) -> Any:
        """The store, with `after` called after each step that may be the last: every call that writes."""
        self._calls.after = after
        return store

    def lose(self, execution_id: str) -> None:
        """Delete an execution's row behind the store's back."""
        self._aws.delete(self._table, f"EXEC#{execution_id}", "EXEC")

    def expire(self, now: datetime) -> None:
        """Let go what the database removes by itself: whatever has outlived its time to live."""
        self._aws.time_to_live(self._table, now, 1_000)

    def close(self) -> None:
        """Nobody uses the store any more."""
        self._aws.client("dynamodb").delete_table(TableName=self._table)


STORES: Mapping[str, type[Sql | DynamoDb]] = {"dynamodb": DynamoDb} | dict.fromkeys(DATABASES, Sql)
"""The stores on which everything must hold identically; DynamoDB's queue and alarms are in a database in memory."""

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday


def instant(text: str) -> datetime:
    """`2026-01-05T08:00:00Z`, or `2026-01-05 08:00` for short."""
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


@cache
def _folder() -> Path:
    kept = tempfile.TemporaryDirectory(prefix="overnight-test-")
    _folder.kept = kept  # type: ignore[attr-defined]  # until the process ends
    return Path(kept.name)


@cache
def _blobs() -> FolderBlobStore:
    return FolderBlobStore(_folder() / "blobs")


@cache
def _secrets() -> FileSecretStore:
    key = base64.b64encode(bytes(range(32))).decode()
    return FileSecretStore(_folder(), {"OVERNIGHT_MASTER_KEY": key, "GREETING": "hello"})


class Courier:
    """Posts nowhere; answers what the test says, 200 unless it says something."""

    def __init__(self) -> None:
        self.answers: list[int | Exception] = []
        self.posts: list[tuple[str, bytes, dict[str, str]]] = []

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        self.posts.append((url, body, dict(headers)))
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return answer


class World:
    """One engine's worth of ports, and what an engine does with them, step by step."""

    def __init__(self, kind: str = "sqlite", *, at: datetime = BEGIN, database: Database | None = None) -> None:
        self.kind = kind
        self.database = database or DATABASES.get(kind, DATABASES["sqlite"])()
        self._stored = STORES[kind](self.database)
        self.began = self.now = at
        self.chance = 0.5
        self.flows = Flows()
        self.courier = Courier()
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.holding: set[str] = set()
        self.under: dict[str, Under] = {}
        self.subjects: dict[str, str] = {}
        self._ids = itertools.count(1)
        self._open()

    def _open(self) -> None:
        self.queue = SqlWorkQueue(self.database, lambda: self.now)
        self.store = self._stored.open(self.queue, lambda: self.now)
        self.clock = SqlAlarmClock(self.database, alarm_at)
        self.ports = Ports(
            store=self.store,
            clock=self.clock,
            queue=self.queue,
            runner=self.flows,
            secrets=_secrets(),
            blobs=_blobs(),
            bus=LocalBus(self.store, self._fan_out),
            courier=self.courier,
            observe=lambda happened, /, **facts: self.told.append((happened, facts)),
            now=lambda: self.now,
            chance=lambda: self.chance,
            new_id=lambda: f"{next(self._ids):032x}",
        )

    def _fan_out(self, event: Event) -> None:
        self.database.afterwards(lambda: events.fan_out(self.ports, event))

    def close(self) -> None:
        """Let workers go, and close the database."""
        self.die()
        self._stored.close()
        self.database.close()

    # Crashes

    def watch_writes(self, after: Callable[[str], None], *, steps: bool = False) -> None:
        """Call `after` after every write, until the next restart; a Crash that it raises ends the process there.

        With `steps`, after every one of which a verb of the store is made, where it is no transaction.
        """
        ports = watched(self.ports, after)
        if steps:
            ports["store"] = self._stored.watched(self.store, after)
        ports["bus"] = Watched(LocalBus(ports["store"], self._fan_out), "bus", after)
        self.ports = replace(self.ports, **ports)

    def die(self) -> None:
        """Kill every worker in mid-run."""
        under, self.under = self.under, {}
        for held in under.values():
            held.end(None)

    def restart(self) -> None:
        """End the process, whatever it was doing, and start another one on the same database."""
        self.die()
        self.holding.clear()
        self._open()

    def down(self, **how_long: float) -> None:
        """Nobody is there for a while; then an engine starts."""
        self.advance(**how_long)
        self.restart()
        self.beat()

    def lose(self, execution: Execution) -> None:
        """Let a record be gone, which nothing in an engine ever does."""
        self._stored.lose(execution.id)

    def prune(self) -> None:
        """Remove what was kept for long enough, as the engine does now and then."""
        self._stored.expire(self.now)
        prune(self.ports)

    # Time

    def at(self, when: str | datetime) -> None:
        """Set the clock."""
        self.now = instant(when) if isinstance(when, str) else when

    def advance(self, seconds: float = 0, **more: float) -> None:
        """Let time pass, with nobody there to see it: `advance(30)`, `advance(hours=2)`."""
        self.now += timedelta(seconds=seconds, **more)

    def live(self, seconds: float = 0, *, step: float = 15, **more: float) -> None:
        """Let time pass as an engine sees it: alarms ring, messages are carried out, the watchdog looks."""
        until = self.now + timedelta(seconds=seconds, **more)
        self.beat()
        while self.now < until:
            hints = (self.clock.earliest(), self.queue.earliest(self.now), self.now + timedelta(seconds=step))
            self.now = min([until, *(hint for hint in hints if hint and hint > self.now)])
            self.beat()

    def beat(self) -> None:
        """What an engine does at one moment."""
        self.renew()
        self.ring()
        self.drain()
        self.watch()
        self.drain()

    # What an engine does

    def ring(self) -> None:
        """Ring every alarm that is due."""
        while alarms := self.clock.due(self.now, 100):
            for alarm in alarms:
                upcoming = fire.tick(self.ports, alarm.agent_id, alarm.trigger, alarm.nominal)
                self.clock.advance([(alarm, upcoming)])

    def drain(self) -> None:
        """Carry out every message that is due; attempts of agents that are held stay under way."""
        while messages := self.ports.queue.receive(16, self.now):
            for message in messages:
                self.carry_out(message)

    def carry_out(self, message: Message) -> None:
        """Carry out one message, as a worker does."""
        if message.agent_id not in self.holding:
            run.run(self.ports, message)
            return
        under = Under(message)
        self.flows.hold(under, lambda: run.run(self.ports, message))
        if under.request is not None:
            self.under[message.execution_id] = under
        if under.error is not None:
            raise under.error

    def renew(self) -> None:
        """Hold the leases of the attempts under way."""
        until = self.now + timedelta(seconds=self.ports.lease_seconds)
        for id_, under in self.under.items():
            attempt = under.message.attempt
            self.ports.store.revise(id_, lambda row, attempt=attempt: renew(row, attempt, until))  # type: ignore[misc]

    def watch(self) -> None:
        """One round of the watchdog; what goes wrong there goes wrong here."""
        before = len(self.told)
        watchdog.watch(self.ports)
        wrong = [facts for happened, facts in self.told[before:] if happened == "watchdog.failed"]
        assert not wrong, wrong

    def deliver(self) -> None:
        """Send the notifications that are due."""
        while notify.deliver_due(self.ports):
            pass

    # Attempts under way

    def hold(self, *agents: str) -> None:
        """Let the attempts of these agents stay in their flow until `finish` or `kill`."""
        self.holding |= {self.subjects[agent] for agent in agents}

    def finish(self, execution: Execution | str, report: RunReport | None = None) -> Execution:
        """Let an attempt's flow end, and its worker do the rest."""
        id_ = execution if isinstance(execution, str) else execution.id
        under = self.under.pop(id_)
        stopped = RunReport(AttemptOutcome.CANCELLED)
        under.end(report or (stopped if under.asked_to_stop else ok()))
        return self.row(id_)

    def kill(self, execution: Execution | str) -> None:
        """Kill the worker of an attempt: it says nothing more."""
        self.under.pop(execution if isinstance(execution, str) else execution.id).end(None)

    # Agents and firings

    def document(self, name: str, **fields: Any) -> AgentDocument:
        """A document; `cron`, `interval`, `date` with their settings are short for one trigger named `schedule`."""
        fields = {"name": name, "flow": {"python": "agents:run"}, "enabled": True} | fields
        keys = {"cron", "interval", "date", "timezone", "start_at", "end_at", "jitter_seconds", "exclude"}
        keys |= {"catch_up", "catch_up_window_seconds"}
        if schedule := {key: fields.pop(key) for key in keys & fields.keys()}:
            fields["triggers"] = [{"name": "schedule"} | schedule, *fields.get("triggers", ())]
        return AgentDocument.model_validate(fields)

    def agent(self, name: str = "agent", **fields: Any) -> Agent:
        """Create an agent, active unless `enabled=False`."""
        agent, _ = lifecycle.create(self.ports, self.document(name, **fields))
        self.subjects[name] = agent.id
        return agent

    def edit(self, agent: str, /, **fields: Any) -> None:
        """Change some fields of an agent's document."""
        kept = self.store.agent(agent).document.model_dump()
        lifecycle.edit(self.ports, agent, AgentDocument.model_validate(kept | fields))

    def trigger(self, name: str = "agent", **how: Any) -> Execution:
        """Trigger an agent by hand."""
        return fire.trigger(self.ports, name, **how).execution

    def send(self, name: str, data: Any = None, *, event_id: str | None = None) -> events.Sent:
        """Send an event."""
        return events.send(self.ports, name, data, event_id=event_id)

    # What is there

    def row(self, execution: Execution | str) -> Execution:
        """The execution as it is now."""
        return self.store.execution(execution if isinstance(execution, str) else execution.id)

    def rows(self, agent: str | None = "agent") -> list[Execution]:
        """The executions of an agent, or of all, the oldest first."""
        where = ExecutionFilter(agent_id=self.subjects[agent] if agent else None)
        found: list[Execution] = []
        cursor = None
        while True:
            page = self.store.executions(where, cursor=cursor, limit=200)
            found += page.items
            if (cursor := page.cursor) is None:
                return found[::-1]

    def state(self, agent: str = "agent") -> AgentState:
        """The agent's state; of a deleted one too."""
        return self.store.read(self.subjects[agent])[1]

    def ledger(self, agent: str = "agent", trigger: str = "schedule") -> list[Tick]:
        """The ledger of a schedule from the beginning."""
        ever = timedelta(days=3650)
        return list(self.store.ticks(self.subjects[agent], trigger, self.began - ever, self.now + ever))

    def kept(self, trigger: str = "schedule") -> list[str]:
        """The ledger, line by line: `08:00 succeeded`, `08:00-09:40 skipped (missed) 101`."""
        lines = []
        for tick in self.ledger(trigger=trigger):
            until = f"-{tick.until:%H:%M}" if tick.until else ""
            reason = f" ({tick.reason})" if tick.reason else ""
            count = f" {tick.count}" if tick.until else ""
            lines.append(f"{tick.nominal:%H:%M}{until} {tick.status}{reason}{count}")
        return lines

    def heard(self, happened: str) -> list[dict[str, Any]]:
        """What the observer was told under that name."""
        return [facts for told, facts in self.told if told == happened]

    def verify(self, **how: Any) -> Report:
        """What `overnight verify` says of everything since the beginning."""
        return verify(self.store, self.now, self.began - timedelta(days=1), self.now + timedelta(days=1), **how)

    def check(self, **how: Any) -> None:
        """Nothing is lost, doubled or stuck."""
        report = self.verify(**how)
        assert report.ok, report.findings


def statuses(rows: Iterable[Execution]) -> list[str]:
    """Their statuses, with the reason where there is one: `skipped (overlap)`."""
    return [f"{row.status} ({row.reason})" if row.reason else str(row.status) for row in rows]
