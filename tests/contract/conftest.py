"""The engines that the contract is tried on, and the little world in which it is.

An engine registers in ENGINES with a function that opens its ports over a folder; opening the same folder again is a
restart. What it can't do (survive a restart, in memory) it says there.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support import aws, postgresql

from overnight.agents import Agent, AgentDocument, AgentState, AgentStatus, Slot
from overnight.aws.sqs import SqsWorkQueue
from overnight.embedded.sql import SqlAlarmClock, SqlStore, SqlWorkQueue, open_database
from overnight.executions import Attempt, AttemptOutcome, Execution, Firing, FiringKind, Message, Status
from overnight.ports import Admission, Admitted, Change, Decide, Revision, Transition

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        return self.at

    def pass_(self, **duration: float) -> datetime:
        self.at += timedelta(**duration)
        return self.at


def look_at(agent: Agent, state: AgentState) -> datetime | None:
    """The contract's own rule: when the earliest slot is to be looked at."""
    return min((slot.look_at for slot in state.running.values()), default=None)


@dataclass
class Opened:
    """An engine's ports."""

    store: Any
    queue: Any
    clock: Any
    close: Callable[[], None]
    woken: list[bool] = field(default_factory=list)


def open_sql(url: str, now: Callable[[], datetime]) -> Opened:
    woken: list[bool] = []
    database = open_database(url, lambda: woken.append(True))
    queue = SqlWorkQueue(database, now, visibility_seconds=30)
    store = SqlStore(database, queue, look_at, now)
    return Opened(store, queue, SqlAlarmClock(database), database.close, woken)


@dataclass(frozen=True)
class EngineKind:
    open: Callable[[Path, Callable[[], datetime]], Opened]
    durable: bool = True
    """Whether it survives a restart."""
    shared: bool = False
    """Whether several engines may use it at once, so that what one has taken from the queue stays taken."""
    unlike: Mapping[str, str] = field(default_factory=dict)
    """Tests, by name or by the name of their module, of what it does not promise, and why."""
    slow: frozenset[str] = frozenset()
    """Tests that take long on it, and are left to `make test-slow`."""


ENGINES = {
    "sqlite-file": EngineKind(lambda folder, now: open_sql(f"sqlite:///{folder}/overnight.db", now)),
    "sqlite-memory": EngineKind(lambda _, now: open_sql("sqlite://", now), durable=False),
    "postgresql": EngineKind(lambda folder, now: open_sql(postgresql.namespace(folder), now), shared=True),
}


def open_dynamodb(folder: Path, now: Callable[[], datetime]) -> Opened:
    """DynamoDB and SQS on moto, by the contract's time."""
    table = aws.make_table(f"contract_{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}")
    time = aws.moto_time(now)
    time.__enter__()
    queues = [aws.make_queue(f"{table}-{kind}") for kind in ("run", "retry", "fire")]
    queue = SqsWorkQueue(lambda: aws.client("sqs"), *queues, now)
    store = aws.open_store(table, look_at, now)
    sending = aws.Sending(store, queue.send)
    sending.prune = lambda now, limit: aws.time_to_live(table, now, limit)
    return Opened(sending, aws.Fresh(queue, store.execution), None, lambda: time.__exit__(None, None, None), [True])


_SQS = "SQS carries messages in any order, and more than once; what is stale is dropped by whoever receives it"
_OTHERS = "somebody else receives on AWS, and needs no waking"
_SCHEDULER = "EventBridge Scheduler rings; its adapter has tests of its own"
_IN_PROCESS = "moto is in this process"
_NAMED = "a blob's name says which execution needs it; tests/aws/adapters/test_retention.py"
ENGINES["dynamodb"] = EngineKind(
    open_dynamodb,
    unlike={
        "test_alarms": _SCHEDULER,
        "test_what_an_execution_was_given_gave_and_printed_is_needed_until_its_retention_is_over": _NAMED,
        "test_a_firing_that_was_there_already_needs_nothing": _NAMED,
        "test_a_write_that_fails_notes_nothing": _NAMED,
        "test_together": "DynamoDB has no transaction that is open; verbs are made to be interrupted",
        "test_a_write_that_fails_midway_leaves_nothing_behind": "what is sent is sent after what is written",
        "test_pruning_goes_a_little_at_a_time_the_oldest_first": "what has expired is not seen, deleted or not",
        "test_the_longest_due_comes_first": _SQS,
        "test_what_is_due_longer_comes_first_however_late_it_is_sent": _SQS,
        "test_what_began_meanwhile_is_not_received": _SQS,
        "test_what_is_sent_at_once_is_received_in_that_order": _SQS,
        "test_the_same_message_is_there_once_and_the_earlier_time_holds": _SQS,
        "test_the_next_time_to_receive_is_known": _OTHERS,
        "test_whoever_waits_is_woken_when_something_comes": _OTHERS,
        "test_a_new_process_sees_at_once_what_the_one_before_it_had_taken": _SQS,
        "test_two_processes_that_open_at_once_find_one_database": "the table is made by the stack",
        "test_after_closing_everything_is_unavailable_and_nothing_hangs": "there is nothing to close",
        "test_a_kill_loses_nothing_that_was_acknowledged_and_leaves_nothing_half_done": _IN_PROCESS,
    },
    slow=frozenset(
        {
            "test_a_filter_finds_what_it_says_and_all_of_it",
            "test_there_is_one_record_for_each_firing_whatever_comes_and_how_often",
        }
    ),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        on = getattr(item, "callspec", None)
        kind = ENGINES.get(str(on.params.get("world") or on.params.get("lasting"))) if on else None
        if kind and getattr(item, "originalname", None) in kind.slow:
            item.add_marker(pytest.mark.slow)


class World:
    """An engine, its time, and what the tests do again and again. A folder that is there already is a restart."""

    def __init__(self, kind: EngineKind, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.now = Time()
        self._count = 0
        folder.mkdir(exist_ok=True)
        self.open()

    def open(self) -> None:
        self.opened = self.kind.open(self.folder, self.now)
        self.store, self.queue, self.clock = self.opened.store, self.opened.queue, self.opened.clock

    def restart(self) -> None:
        self.opened.close()
        self.open()

    def close(self) -> None:
        self.opened.close()

    # Agents

    def document(self, name: str = "daily", **fields: Any) -> AgentDocument:
        return AgentDocument.model_validate({"name": name, "flow": {"python": "reports:run"}} | fields)

    def fresh(self, prefix: str = "x") -> str:
        """A name that was not there yet."""
        self._count += 1
        return f"{prefix}-{self._count:028}"

    def agent(
        self, name: str = "daily", *, agent_id: str | None = None, state: dict[str, Any] | None = None, **fields: Any
    ) -> Agent:
        """A stored agent, ACTIVE unless `state` says otherwise."""
        agent = Agent(
            id=agent_id or self.fresh("id"),
            document=self.document(name, **fields),
            created_at=self.now(),
            updated_at=self.now(),
        )
        given = AgentState.model_validate({"agent_id": agent.id, "status": AgentStatus.ACTIVE} | (state or {}))
        self.store.create_agent(Change(agent, Transition(given)))
        return agent

    def edit(self, agent: Agent, **changes: Any) -> Agent:
        """Change an agent's row; `document` fields by name make a new version."""

        def change(now: Agent, state: AgentState) -> Change:
            return Change(now.model_copy(update=changes), Transition(state))

        changed = self.store.change_agent(agent.id, change)
        return changed[0].agent

    def state(self, agent: Agent) -> AgentState:
        return self.store.read(agent.id)[1]

    # Executions

    def firing(self, agent: Agent, key: str | None = None, **fields: Any) -> Firing:
        given = {"kind": FiringKind.MANUAL, "dedupe_key": key or self.fresh("manual")} | fields
        return Firing(agent_id=agent.id, **given)

    def execution(self, agent: Agent, firing: Firing, **fields: Any) -> Execution:
        given = {
            "status": Status.PENDING,
            "kind": firing.kind,
            "dedupe_key": firing.dedupe_key,
            "trigger": firing.trigger,
            "nominal": firing.nominal,
            "until": firing.until,
            "count": firing.count,
            "previous": firing.previous,
            "agent_version": agent.version,
            "created_at": self.now(),
        } | fields
        return Execution(id=firing.execution_id, agent_id=agent.id, agent=agent.name, **given)

    def message(self, execution: Execution, attempt: int = 1, **fields: Any) -> Message:
        given = {"kind": "run", "execution_id": execution.id, "agent_id": execution.agent_id, "attempt": attempt}
        return Message.model_validate(given | fields)

    def slot(self, attempt: int = 1, **look_in: float) -> Slot:
        return Slot(attempt=attempt, since=self.now(), look_at=self.now() + timedelta(**look_in or {"minutes": 1}))

    def admit(self, agent: Agent, firing: Firing | None = None, **fields: Any) -> Admitted:
        """Let a firing in: a slot in the state, a message in the queue; or at once terminal, where `fields` say so."""
        firing = firing or self.firing(agent)
        return self.store.admit(firing, self.letting_in(firing, **fields))

    def admit_named(self, ref: str, key: str | None = None) -> Admitted:
        """The same for the agent of that id or name, by a firing of that key."""

        def asked(agent_id: str) -> tuple[Firing, Decide]:
            firing = Firing(agent_id=agent_id, kind=FiringKind.MANUAL, dedupe_key=key or self.fresh("manual"))
            return firing, self.letting_in(firing)

        return self.store.admit_named(ref, asked)

    def letting_in(self, firing: Firing, **fields: Any) -> Decide:
        def decide(agent: Agent, state: AgentState) -> Admission:
            execution = self.execution(agent, firing, **fields)
            if execution.status is not Status.PENDING or execution.due:
                return Admission(execution, Transition(state))
            running = state.running | {execution.id: self.slot()}
            moved = state.model_copy(update={"running": running})
            return Admission(execution, Transition(moved, (self.message(execution),)))

        return decide

    def started(self, agent: Agent, **fields: Any) -> Execution:
        execution = self.admit(agent, **fields).execution
        return self.store.revise(execution.id, self.start)[0].execution

    def start(self, execution: Execution) -> Revision:
        changes = {"status": Status.RUNNING, "attempt": execution.attempt + 1, "started_at": self.now()}
        return Revision(execution.model_copy(update=changes))

    def end(self, execution: Execution, status: Status = Status.SUCCEEDED, **fields: Any) -> Revision:
        ended = self.now()
        changes = {"status": status, "finished_at": ended, "retain_until": ended + timedelta(days=30)} | fields
        outcome = AttemptOutcome.SUCCEEDED if status is Status.SUCCEEDED else AttemptOutcome.FAILED
        attempt = self.attempt(execution, execution.attempt, outcome)
        return Revision(execution.model_copy(update=changes), attempt)

    def attempt(self, execution: Execution, number: int, outcome: AttemptOutcome = AttemptOutcome.FAILED) -> Attempt:
        return Attempt(
            execution_id=execution.id,
            number=number,
            outcome=outcome,
            started_at=self.now(),
            finished_at=self.now(),
            worker="worker",
        )

    def received(self, limit: int = 100) -> list[Message]:
        return list(self.queue.receive(limit, self.now()))


def _kind(request: pytest.FixtureRequest) -> EngineKind:
    kind = ENGINES[request.param]
    for name in (request.node.originalname, request.module.__name__.rpartition(".")[2]):
        if reason := kind.unlike.get(name):
            pytest.skip(reason)
    return kind


@pytest.fixture(params=ENGINES)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """The contract on each engine."""
    made = World(_kind(request), tmp_path / "data")
    yield made
    made.close()


@pytest.fixture(params=[name for name, kind in ENGINES.items() if kind.durable])
def lasting(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """The contract on each engine that survives a restart."""
    made = World(_kind(request), tmp_path / "data")
    yield made
    made.close()
