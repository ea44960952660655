"""What is particular to SQLite: its file, its one writer, its indexes."""

import re
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from sqlalchemy import insert

from overnight.agents import Agent, AgentDocument, AgentState, AgentStatus
from overnight.embedded.sql import (
    SqlStore,
    SqlWorkQueue,
    agents,
    alarms,
    blobs,
    deliveries,
    deployment,
    events,
    executions,
    gates,
    hooks,
    migrations,
    open_database,
)
from overnight.embedded.sql import queue as queue_
from overnight.embedded.sql import store as store_
from overnight.embedded.sql.schema import queue as queue_table
from overnight.embedded.sql.search import searches
from overnight.embedded.sql.statement import Statement, binds
from overnight.errors import Invalid, Unavailable
from overnight.executions import FiringKind, Reason, Status
from overnight.ports import Change, ExecutionFilter, Transition
from overnight.webhooks import hook_id

PUT = Statement(insert(queue_table).values(binds(queue_table)))
EVERY = Statement(queue_table.select())


def _put(transaction, name):
    transaction.run(PUT, execution_id=name, attempt=1, kind="run", agent_id="a", due=None, visible_at=0)


def _names(database):
    return sorted(row[0] for row in database.read(lambda reading: reading.all(EVERY)))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "overnight.db"


@pytest.fixture
def database(path):
    opened = open_database(f"sqlite:///{path}")
    yield opened
    opened.close()


TAKE_BACK = {
    2: ("DROP TABLE hooks",),
    3: ("DROP TABLE uses", "DROP TABLE blobs", "DROP TABLE secrets", "DROP TABLE deployment"),
    4: ("DROP INDEX executions_fired",),
    5: (
        "DROP INDEX executions_by_reason",
        "DROP INDEX agents_by_status",
        "DROP INDEX agents_with_schedules",
        "DROP INDEX agents_with_webhooks",
        "ALTER TABLE states ADD COLUMN status TEXT NOT NULL DEFAULT ''",
        "UPDATE states SET status = (SELECT status FROM agents WHERE agents.id = states.agent_id)",
        "ALTER TABLE agents DROP COLUMN status",
        "ALTER TABLE agents DROP COLUMN schedules",
        "ALTER TABLE agents DROP COLUMN webhooks",
    ),
}
"""How to take back what each version brought."""


def _set_back(path, version):
    """Make it a database of an earlier version."""
    with sqlite3.connect(path) as connection:
        for step in range(migrations.VERSION, version, -1):
            for sql in TAKE_BACK[step]:
                connection.execute(sql)
        connection.execute("UPDATE schema_version SET version = ?", (version,))
    connection.close()


def _layout(path):
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master").fetchall()
    connection.close()
    return {name: sorted(re.findall(r"[a-z_]+", (sql or "").lower())) for name, sql in rows}


# Opening


def test_a_database_of_a_newer_release_is_refused_and_left_as_it_is(path):
    open_database(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(Unavailable, match=rf"version 99.*knows them up to {migrations.VERSION}; use the newer release"):
        open_database(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_database_of_an_earlier_release_takes_the_steps_that_are_missing(path, monkeypatch):
    open_database(f"sqlite:///{path}").close()
    first, second = migrations.VERSION + 1, migrations.VERSION + 2
    steps = {
        first: ("ALTER TABLE agents ADD COLUMN colour TEXT", "UPDATE agents SET colour = 'blue'"),
        second: ("ALTER TABLE agents RENAME COLUMN colour TO color",),
    }
    monkeypatch.setattr(migrations, "VERSION", second)
    monkeypatch.setattr(migrations, "STEPS", steps)
    for _ in range(2):
        open_database(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(second,)]
        assert connection.execute("SELECT count(color) FROM agents").fetchall() == [(0,)]
    connection.close()


def test_a_step_that_fails_leaves_the_database_as_it_was(path, monkeypatch):
    open_database(f"sqlite:///{path}").close()
    next_version = migrations.VERSION + 1
    step = ("ALTER TABLE agents ADD COLUMN colour TEXT", "SELECT nonsense")
    monkeypatch.setattr(migrations, "VERSION", next_version)
    monkeypatch.setattr(migrations, "STEPS", {next_version: step})
    with pytest.raises(Unavailable, match="nonsense"):
        open_database(f"sqlite:///{path}")
    monkeypatch.undo()
    open_database(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as connection:
        assert "colour" not in connection.execute("SELECT sql FROM sqlite_master WHERE name = 'agents'").fetchone()[0]
    connection.close()


def test_a_database_of_version_1_learns_what_its_agents_are_found_by(path):
    database = open_database(f"sqlite:///{path}")
    document = AgentDocument.model_validate(
        {
            "name": "a",
            "flow": {"python": "m:f"},
            "triggers": [{"name": "in", "webhook": {}}, {"name": "t", "cron": "@daily"}],
        }
    )
    agent = Agent(id="a" * 32, document=document, created_at=START, updated_at=START)
    store = SqlStore(database, SqlWorkQueue(database, lambda: START), lambda *_: None, lambda: START)
    store.create_agent(Change(agent, Transition(AgentState(agent_id=agent.id, status=AgentStatus.PAUSED))))
    kept = store.hook(hook_id(agent.id, "in"))
    database.close()
    _set_back(path, 1)

    database = open_database(f"sqlite:///{path}")
    store = SqlStore(database, SqlWorkQueue(database, lambda: START), lambda *_: None, lambda: START)
    assert store.hook(hook_id(agent.id, "in")) == kept
    assert store.hook(hook_id(agent.id, "t")) is None
    for where in ({"status": AgentStatus.PAUSED}, {"having": "webhook"}, {"having": "schedule"}):
        assert [found for found, _ in store.agents(**where).items] == [agent]
    assert store.agents(status=AgentStatus.STOPPED).items == ()
    database.close()


@pytest.mark.parametrize("version", range(1, migrations.VERSION))
def test_a_database_that_was_brought_up_to_date_is_as_a_new_one(path, version):
    open_database(f"sqlite:///{path}").close()
    new = _layout(path)
    _set_back(path, version)
    open_database(f"sqlite:///{path}").close()
    assert _layout(path) == new


def test_a_file_that_is_no_database_is_said_to_be_so(path):
    path.write_bytes(b"this is no database, however long it may be" * 100)
    with pytest.raises(Unavailable, match=r"overnight\.db can't be opened: file is not a database"):
        open_database(f"sqlite:///{path}")


def test_a_folder_that_is_not_there_is_said_to_be_so(tmp_path):
    with pytest.raises(Unavailable, match="can't be opened"):
        open_database(f"sqlite:///{tmp_path}/none/overnight.db")


def test_another_kind_of_database_is_refused():
    with pytest.raises(Invalid, match="mysql"):
        open_database("mysql+pymysql://localhost/overnight")


def test_every_commit_is_on_disk_when_it_returns(database):
    (mode,) = database._connection.execute("PRAGMA journal_mode").fetchone()
    (synchronous,) = database._connection.execute("PRAGMA synchronous").fetchone()
    assert (mode, synchronous) == ("wal", 2)


# Group commit


def test_work_that_waits_together_is_committed_together(database):
    begun, go_on = threading.Event(), threading.Event()
    commits = []
    database._connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)

    def slow(transaction):
        begun.set()
        go_on.wait(30)
        _put(transaction, "slow")

    threads = [threading.Thread(target=lambda: database.write(slow))]
    threads[0].start()
    assert begun.wait(30)
    for n in range(20):
        threads.append(threading.Thread(target=lambda n=n: database.write(lambda tx: _put(tx, f"quick-{n}"))))
        threads[-1].start()
    _until(lambda: len(database._writer._waiting) == 20)
    go_on.set()
    for thread in threads:
        thread.join(30)
    database._connection.set_trace_callback(None)
    assert len(_names(database)) == 21
    assert len(commits) == 2


@pytest.mark.parametrize("failure", ["raises", "conflicts"])
def test_work_that_fails_after_it_wrote_is_undone_and_the_rest_of_its_batch_is_not(database, failure):
    database.write(lambda transaction: _put(transaction, "there"))
    begun, go_on = threading.Event(), threading.Event()
    done, failed = [], []

    def slow(transaction):
        begun.set()
        go_on.wait(30)

    def work(n):
        def write(transaction):
            _put(transaction, f"{n}")
            if n % 4 == 0:
                if failure == "raises":
                    raise ZeroDivisionError
                _put(transaction, "there")
            return n

        try:
            done.append(database.write(write))
        except (ZeroDivisionError, Unavailable):
            failed.append(n)

    threads = [threading.Thread(target=lambda: database.write(slow))]
    threads += [threading.Thread(target=work, args=(n,)) for n in range(10)]
    threads[0].start()
    assert begun.wait(30)
    for thread in threads[1:]:
        thread.start()
    _until(lambda: len(database._writer._waiting) == 10)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert sorted(failed) == [0, 4, 8]
    assert sorted(done) == [n for n in range(10) if n % 4]
    assert _names(database) == sorted(["there", *map(str, sorted(done))])


def test_putting_off_an_agent_holds_against_what_moved_its_state_in_the_same_batch(database):
    store = SqlStore(database, SqlWorkQueue(database, lambda: START), lambda agent, state: START, lambda: START)
    document = AgentDocument.model_validate({"name": "daily", "flow": {"python": "reports:run"}})
    agent = Agent(id="a", document=document, created_at=START, updated_at=START)
    store.create_agent(Change(agent, Transition(AgentState(agent_id="a"))))
    begun, go_on = threading.Event(), threading.Event()

    def move(agent, state):
        begun.set()
        go_on.wait(30)
        return Transition(state.model_copy(update={"note": "moved"}))

    works = [
        lambda: store.transition("a", move),
        lambda: store.transition("a", move),
        lambda: store.put_off("a", START + timedelta(hours=1)),
    ]
    threads = [threading.Thread(target=work) for work in works]
    for n, thread in enumerate(threads):
        thread.start()
        assert begun.wait(30)
        _until(lambda n=n: len(database._writer._waiting) == n)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert store.due_agents(START, 10) == []
    assert store.read("a")[1].rev == 2


def test_a_verb_within_a_verb_is_refused_and_not_waited_for(database):
    with pytest.raises(RuntimeError, match="within another"):
        database.write(lambda transaction: database.write(lambda inner: None))
    assert _names(database) == []


def test_a_listener_that_fails_harms_nobody(path, caplog):
    def wake():
        raise ZeroDivisionError

    database = open_database(f"sqlite:///{path}", wake)
    database.write(lambda transaction: transaction.after_commit.append(database.wake))
    database.write(lambda transaction: _put(transaction, "there"))
    assert _names(database) == ["there"]
    database.close()
    assert "what follows a commit failed" in caplog.text


def test_a_writer_in_another_process_is_waited_for(path, database):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writer = threading.Thread(target=lambda: database.write(lambda transaction: _put(transaction, "there")))
    writer.start()
    writer.join(0.05)
    assert writer.is_alive()
    assert _names(database) == []
    other.execute("COMMIT")
    other.close()
    writer.join(30)
    assert _names(database) == ["there"]


def test_a_database_that_stays_busy_is_unavailable(path, database):
    database._connection.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        database.write(lambda transaction: _put(transaction, "there"))
    other.execute("COMMIT")
    other.close()
    database.write(lambda transaction: _put(transaction, "there"))
    assert _names(database) == ["there"]


# Costs that stay flat

START = datetime(2026, 3, 1, tzinfo=UTC)
POSTGRESQL = {
    gates._LOCK_ALL,
    gates._LOCK_FREE,
    executions._LOCK_FREE,
    executions._READ_ALL,
    queue_._TAKE,
    queue_._TAKE_ALONG,
}
"""Statements that SQLite never sees."""
STATEMENTS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": statement
    for module in (agents, alarms, blobs, deliveries, deployment, events, executions, gates, hooks, queue_, store_)
    for name, statement in vars(module).items()
    if isinstance(statement, Statement) and statement not in POSTGRESQL
} | {f"agents._FORGET[{n}]": statement for n, statement in enumerate(agents._FORGET)}
SORTED = {"executions._LIVE", "executions._RANGES", "deliveries._OF_AGENT"}
"""They sort what they found, which is little, or of one moment."""
SCANS = {"SCAN CONSTANT ROW", "SCAN ringing", "SCAN next", "SCAN oldest"}
"""They are of a few rows."""


def _plan(database, statement):
    sql, own = statement.on(database.dialect)
    parameters = dict.fromkeys(re.findall(r":(\w+)", sql), 1) | own
    return [row[3] for row in database._connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]


def _check(plan, *, may_sort=False):
    for step in plan:
        assert not step.startswith("SCAN") or step in SCANS, plan
        assert may_sort or "TEMP B-TREE" not in step, plan


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_statement_reads_a_whole_table(database, name):
    _check(_plan(database, STATEMENTS[name]), may_sort=name in SORTED)


@pytest.mark.parametrize("name", ["_TICKS_OF_EACH", "_RANGES_OF_EACH"])
def test_no_ledger_is_read_but_by_its_index(database, name):
    plan = _plan(database, getattr(executions, name)["sqlite"])
    _check([step for step in plan if step not in {"SCAN asked", "SCAN 50 CONSTANT ROWS"}], may_sort=True)
    assert any(step.startswith("SEARCH executions") and "(agent_id=? AND trigger=? AND " in step for step in plan), plan


@pytest.mark.parametrize(
    ("agent", "status", "kind", "reason", "trigger", "since"),
    list(
        product(
            [None, "a"], [None, *Status], [None, FiringKind.MANUAL], [None, Reason.OVERLAP], [None, "t"], [None, START]
        )
    ),
)
def test_no_listing_reads_the_whole_history(database, agent, status, kind, reason, trigger, since):
    statuses, kinds = (status,) if status else (), (kind,) if kind else ()
    where = ExecutionFilter(agent, statuses, kinds, trigger, reason, since)
    (search,) = searches(where)
    for before, end in ((None, None), ((9, 9), None), ((9, 9), (1, 1))):
        for query in filter(lambda query: query is not None, (search.end(before), search.found(before, end, 50))):
            plan = _plan(database, Statement(query))
            if status and not status.terminal:
                assert "executions_not_succeeded (status=?" in plan[0], plan
            elif agent and (reason or status) and status is not Status.SUCCEEDED:
                assert "executions_of_agent_in_vain (agent_id=?" in plan[0], plan
            elif agent:
                assert "executions_by_agent (agent_id=?" in plan[0], plan
            elif reason:
                assert "executions_by_reason (reason=?" in plan[0], plan
            elif status and status is not Status.SUCCEEDED:
                assert "executions_not_succeeded (status=?" in plan[0], plan
            elif kind and not status:
                assert "executions_fired (kind=?" in plan[0], plan
            elif since or before:
                _check(plan)
            assert not any("TEMP B-TREE" in step for step in plan), plan


def _until(condition):
    waited = threading.Event()
    for _ in range(3_000):
        if condition():
            return
        waited.wait(0.01)
    raise AssertionError
