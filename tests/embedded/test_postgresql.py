"""What is particular to PostgreSQL; the contract suite tries the rest."""

import base64
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import func, select
from tests.support import postgresql

from overnight.agents import Agent, AgentDocument, AgentState, AgentStatus, Armed
from overnight.embedded.sql import Database, SqlAlarmClock, SqlStore, SqlWorkQueue, migrations, open_database, schema
from overnight.embedded.sql.deployment import agreed_key
from overnight.embedded.sql.secrets import SqlSecretStore
from overnight.embedded.sql.signals import EVERYTHING
from overnight.embedded.sql.statement import Statement
from overnight.errors import Invalid, NotFound, Unavailable
from overnight.ports import Change, Delivery, Transition

NAMES = Statement(select(schema.agents.c.name))
KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return postgresql.namespace(tmp_path)


@pytest.fixture
def open_one(url: str) -> Iterator[Callable[[], Database]]:
    """Opens the database once more, as another engine does."""
    opened: list[Database] = []

    def open_it(more: str = "") -> Database:
        opened.append(open_database(url + more))
        return opened[-1]

    yield open_it
    for one in opened:
        one.close()


@pytest.fixture
def database(open_one) -> Database:
    return open_one()


def store_on(database: Database) -> SqlStore:
    return SqlStore(database, SqlWorkQueue(database, database.now), lambda *_: None, database.now)


def make_agent(store: SqlStore, database: Database, name: str, **fields: object) -> Agent:
    document = AgentDocument.model_validate({"name": name, "flow": {"python": "m:f"}, **fields})
    agent = Agent(id=name * 32, document=document, created_at=database.now(), updated_at=database.now())
    store.create_agent(Change(agent, Transition(AgentState(agent_id=agent.id))))
    return agent


def noted(note: str, state: AgentState) -> Transition:
    return Transition(state.model_copy(update={"note": note}))


def asked(url: str, sql: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(sql).fetchone()
        return row and row[0]


def hang_up(url: str) -> None:
    """Have the server end every connection of an engine."""
    schema = url.rpartition("%3D")[2]
    asked(url, f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = '{schema}'")


def named(url: str) -> str:
    """The URL under which `hang_up` finds an engine."""
    return f"&application_name={url.rpartition('%3D')[2]}"


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# Opening


def test_a_server_that_does_not_answer_is_unavailable():
    with pytest.raises(Unavailable, match=r"does not answer: .*127\.0\.0\.1"):
        open_database("postgresql+psycopg://127.0.0.1:1/overnight?connect_timeout=2")


def test_a_driver_that_is_missing_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "overnight.embedded.sql.postgresql", raising=False)
    monkeypatch.delitem(sys.modules, "overnight.embedded.sql.connections", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(Invalid, match=r"pip install 'overnight\[postgres\]'"):
        open_database("postgresql://127.0.0.1:1/overnight")


@pytest.mark.parametrize("wrong", ["pool_size=1", "pool_size=many", "prepare_threshold=-1"])
def test_a_setting_that_is_none_is_refused(wrong):
    with pytest.raises(Invalid, match=wrong.partition("=")[0]):
        open_database(f"postgresql://127.0.0.1:1/overnight?{wrong}")


def test_a_url_that_is_none_is_refused():
    with pytest.raises(Invalid, match="is no URL"):
        open_database("postgresql on the big machine")


def test_what_is_acknowledged_is_durable_whatever_the_server_does_for_others(url, open_one):
    database = open_one(" -csynchronous_commit%3Doff -cdefault_transaction_isolation%3Dserializable")
    told = []
    for setting in ("synchronous_commit", "default_transaction_isolation"):
        statement = Statement(select(func.current_setting(setting)))
        told.append(database.read(lambda reading, ask=statement: reading.one(ask))[0])
    assert told == ["on", "read committed"]


@pytest.mark.parametrize("version", range(1, migrations.VERSION))
def test_a_database_of_an_earlier_release_is_brought_up_to_date(url, open_one, version):
    database = open_one()
    triggers = [{"name": "h", "webhook": {}}, {"name": "t", "cron": "@daily"}]
    agent = make_agent(store_on(database), database, "a", triggers=triggers)
    database.close()
    new = _layout(url)
    take_back = {
        2: "DROP TABLE hooks",
        3: "DROP TABLE uses, blobs, secrets, deployment",
        4: "DROP INDEX executions_fired",
        5: """
            DROP INDEX executions_by_reason, agents_by_status, agents_with_schedules, agents_with_webhooks;
            ALTER TABLE states ADD COLUMN status TEXT NOT NULL DEFAULT '';
            UPDATE states SET status = (SELECT status FROM agents WHERE agents.id = states.agent_id);
            ALTER TABLE agents DROP COLUMN status, DROP COLUMN schedules, DROP COLUMN webhooks;
        """,
    }
    with psycopg.connect(url, autocommit=True) as connection:
        for step in range(migrations.VERSION, version, -1):
            connection.execute(take_back[step])
        connection.execute("UPDATE schema_version SET version = %s", (version,))
    threads = [threading.Thread(target=open_one) for _ in range(4)]  # all engines at once
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert _layout(url) == new
    store = store_on(open_one())
    for where in ({"status": AgentStatus.STOPPED}, {"having": "webhook"}, {"having": "schedule"}):
        assert [found for found, _ in store.agents(**where).items] == [agent]
    assert store.agents(status=AgentStatus.PAUSED).items == ()


def _layout(url: str) -> list[tuple]:
    with psycopg.connect(url) as connection:
        columns = connection.execute(
            "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns "
            "WHERE table_schema = current_schema() ORDER BY 1, 2"
        ).fetchall()
        indexes = connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() ORDER BY 1"
        ).fetchall()
    return columns + indexes


# Connections that are lost


def test_connections_that_the_server_ended_are_replaced_unnoticed(url, open_one):
    database = open_one(named(url))
    store = store_on(database)
    agent = make_agent(store, database, "a")
    threads = [threading.Thread(target=store.healthy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    hang_up(url)
    assert store.read(agent.id)[0] == agent
    hang_up(url)
    store.transition(agent.id, lambda agent, state: noted("here", state))
    assert store.read(agent.id)[1].rev == 1


def test_a_transaction_whose_connection_was_lost_before_its_commit_is_done_again_and_counts_once(url, open_one):
    database = open_one(named(url))
    store = store_on(database)
    agent = make_agent(store, database, "a")
    tries = []

    def work():
        tries.append(store.read(agent.id)[1].rev)
        store.transition(agent.id, lambda agent, state: noted("moved", state))
        if len(tries) == 1:
            hang_up(url)
            store.healthy()

    store.together(work, agents=[agent.id])
    assert tries == [0, 0]
    assert store.read(agent.id)[1].rev == 1


def test_one_that_was_lost_at_its_commit_is_not_done_again(url, open_one):
    database = open_one(named(url))
    tries = []

    def work(transaction):
        tries.append(1)
        transaction.at_end(lambda *_: hang_up(url), dict)

    with pytest.raises(Unavailable, match="at a commit"):
        database.write(work)
    assert tries == [1]


def test_an_error_that_was_caught_on_the_way_is_no_commit(database):
    def work(transaction):
        with suppress(psycopg.Error):
            transaction.run_sql("SELECT nonsense")

    with pytest.raises(RuntimeError, match="was caught"):
        database.write(work)
    database.read(lambda reading: reading.all(NAMES))


def test_callers_who_come_at_the_same_time_share_a_transaction_that_waits_for_nobody(url, open_one):
    """What another engine holds is waited for by those who need it; the others' work is done meanwhile."""
    database = open_one()
    store = store_on(database)
    agents = [make_agent(store, database, name) for name in "abcd"]
    begun, go_on = threading.Event(), threading.Event()

    def slow(agent, state):
        begun.set()
        go_on.wait(20)
        return noted("moved", state)

    def move(agent):
        store.transition(agent.id, lambda agent, state: noted("moved", state))

    with psycopg.connect(url) as other:
        other.execute("SELECT 1 FROM states WHERE agent_id = %s FOR UPDATE", [agents[3].id])
        threads = [threading.Thread(target=store.transition, args=(agents[0].id, slow))]
        threads[0].start()
        assert begun.wait(20)
        threads += [threading.Thread(target=move, args=(agent,)) for agent in agents[1:]]
        for thread in threads[1:]:
            thread.start()
        until(lambda: len(database._writer._waiting) == 3)
        go_on.set()
        for thread in threads[:3]:
            thread.join(20)
        assert [store.read(agent.id)[1].rev for agent in agents] == [1, 1, 1, 0]
        assert threads[3].is_alive()
        first, second, third = (asked(url, f"SELECT xmin FROM states WHERE agent_id = '{a.id}'") for a in agents[:3])
        assert first != second == third
    threads[3].join(20)
    assert store.read(agents[3].id)[1].rev == 1


def test_who_waits_for_each_other_is_found_out_and_done_again(database):
    store = store_on(database)
    agents = [make_agent(store, database, name) for name in "ab"]
    both = threading.Barrier(2)
    first = threading.local()

    def work(order):
        for agent in order:
            store.transition(agent.id, lambda agent, state: noted("moved", state))
            if not getattr(first, "done", False):
                first.done = True
                both.wait(20)

    threads = [
        threading.Thread(target=lambda order=order: store.together(lambda: work(order)))
        for order in (agents, agents[::-1])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [store.read(agent.id)[1].rev for agent in agents] == [2, 2]


def test_who_says_which_agents_it_is_about_waits_for_nobody_who_waits_for_him(url, database):
    store = store_on(database)
    agents = [make_agent(store, database, name) for name in "abcdef"]
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    before = asked(url, deadlocks)

    def work(order):
        for agent in order:
            store.transition(agent.id, lambda agent, state: noted("moved", state))

    def often(order):
        for _ in range(20):
            store.together(lambda: work(order), agents=[agent.id for agent in order])

    threads = [threading.Thread(target=often, args=(order,)) for order in (agents, agents[::-1], agents[3:] + agents)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [store.read(agent.id)[1].rev for agent in agents] == [60] * 3 + [80] * 3
    assert asked(url, deadlocks) == before


def test_what_follows_a_commit_is_done_when_no_row_is_locked_any_more(open_one, database):
    store = store_on(database)
    agent = make_agent(store, database, "a")
    seen = []

    def work():
        store.transition(agent.id, lambda agent, state: noted("moved", state))
        database.afterwards(lambda: seen.append(store_on(open_one()).read(agent.id)[1].note))
        assert seen == []

    store.together(work)
    assert seen == ["moved"]
    database.afterwards(lambda: seen.append("at once"))
    assert seen == ["moved", "at once"]


# The server's time


def test_the_time_is_the_servers_and_never_ahead_of_it(url, database):
    for _ in range(20):
        now = database.now()
        assert timedelta(0) <= asked(url, "SELECT clock_timestamp()") - now < timedelta(seconds=2)


# Signals


@pytest.fixture
def hearing(url, open_one):
    """Two engines that hear each other, and what they heard."""
    heard: list[list[str]] = [[], []]
    engines = [open_one(named(url)), open_one(named(url))]
    for engine, ears in zip(engines, heard, strict=True):
        engine.listen(ears.append)
    until(lambda: all(heard))
    for ears in heard:
        assert ears == [EVERYTHING]
        ears.clear()
    return engines, heard


def test_what_one_tells_the_others_hear_and_it_does_not(hearing):
    (first, _), heard = hearing
    first.tell("messages")
    until(lambda: heard[1])
    assert heard == [[], ["messages"]]


def test_what_is_told_at_the_same_moment_is_told_once(hearing):
    (first, second), heard = hearing
    for number in range(2_000):
        first.tell("messages")
        if number == 1_000:
            first.tell("cancel x")
    first.tell("end")
    second.tell("end")
    until(lambda: "end" in heard[1] and "end" in heard[0])
    assert heard[0] == ["end"]
    assert "cancel x" in heard[1]
    assert len(heard[1]) < 500


def test_who_could_not_listen_for_a_while_looks_at_everything(url, hearing):
    (first, _), heard = hearing
    hang_up(url)
    until(lambda: all(EVERYTHING in ears for ears in heard))
    first.tell("messages")
    until(lambda: "messages" in heard[1])


# What goes to one of several engines


def _arm(clock: SqlAlarmClock, database: Database, number: int) -> None:
    agent = AgentDocument.model_validate({"name": "a", "flow": {"python": "m:f"}})
    now = database.now()
    armed = Armed(version=1, since=now, anchor=now, tzdata="2026.1", next=now)
    id_ = f"{number:032}"
    clock.arm(
        Agent(id=id_, document=agent, created_at=now, updated_at=now),
        "t", AgentState(agent_id=id_, schedules={"t": armed}),
    )  # fmt: skip


def at_once(engines: list[Callable[[], list]]) -> list[list]:
    """What each of them gets, when all ask again and again until there is nothing."""
    got: list[list] = [[] for _ in engines]
    barrier = threading.Barrier(len(engines))

    def take(ask: Callable[[], list], mine: list) -> None:
        barrier.wait()
        while found := ask():
            mine += found

    threads = [threading.Thread(target=take, args=pair) for pair in zip(engines, got, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return got


def test_an_alarm_rings_for_one_engine_and_a_burst_is_shared(open_one):
    databases = [open_one() for _ in range(3)]
    clocks = [SqlAlarmClock(database) for database in databases]
    for number in range(200):
        _arm(clocks[0], databases[0], number)
    now = databases[0].now()
    got = at_once([partial(clock.due, now, 256) for clock in clocks])
    assert sorted(alarm.agent_id for alarms in got for alarm in alarms) == [f"{number:032}" for number in range(200)]
    assert max(map(len, got)) < 200
    assert len(clocks[0].due(now + timedelta(seconds=11), 256)) == 32, "should its engine die, it rings again"


def test_a_notification_is_sent_by_one_engine(open_one):
    databases = [open_one() for _ in range(3)]
    stores = [store_on(database) for database in databases]
    now = databases[0].now()
    for number in range(40):
        stores[0].put_delivery(
            Delivery(
                id=f"msg_{number:02}",
                agent_id="a",
                execution_id="e",
                url="https://example.com/",
                body="{}",
                created_at=now,
                due=now,
            )
        )
    got = at_once([partial(store.due_deliveries, now, 20) for store in stores])
    found = sorted((delivery for deliveries in got for delivery in deliveries), key=lambda delivery: delivery.id)
    assert [delivery.id for delivery in found] == [f"msg_{number:02}" for number in range(40)]
    assert {delivery.due for delivery in found} == {now}


# What the engines agree on


def test_the_first_engine_makes_a_key_and_the_others_must_be_given_it(database, tmp_path):
    hosts = [tmp_path / name for name in "abc"]
    for host in hosts:
        host.mkdir()
    key = agreed_key(database, hosts[0], {})
    assert agreed_key(database, hosts[0], {}).derive("x") == key.derive("x")
    with pytest.raises(Invalid, match=r"OVERNIGHT_MASTER_KEY: .*no master key; give all of them the same one"):
        agreed_key(database, hosts[1], {})
    assert list(hosts[1].iterdir()) == []
    with pytest.raises(Invalid, match="is not that of the engines before it"):
        agreed_key(database, hosts[1], {"OVERNIGHT_MASTER_KEY": KEY})
    text = (hosts[0] / "master.key").read_text().strip()
    assert agreed_key(database, hosts[1], {"OVERNIGHT_MASTER_KEY": text}).derive("x") == key.derive("x")
    (hosts[2] / "master.key").write_text(text)
    (hosts[2] / "master.key").chmod(0o600)
    assert agreed_key(database, hosts[2], {}).derive("x") == key.derive("x")


def test_of_engines_that_are_the_first_at_the_same_moment_one_is(open_one, tmp_path):
    kept, refused = [], []
    barrier = threading.Barrier(4)

    def begin(number):
        database = open_one()
        folder = tmp_path / str(number)
        folder.mkdir()
        barrier.wait()
        try:
            agreed_key(database, folder, {})
            kept.append(folder)
        except Invalid:
            refused.append(folder)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(kept), len(refused)) == (1, 3)
    assert [path.name for path in kept[0].iterdir()] == ["master.key"]
    assert [list(folder.iterdir()) for folder in refused] == [[], [], []]


def test_a_secret_that_one_engine_keeps_another_reads_and_the_database_does_not(url, open_one, tmp_path):
    environ = {"OVERNIGHT_MASTER_KEY": KEY, "HOME": "here"}
    first, second = (
        SqlSecretStore(database, agreed_key(database, tmp_path, environ), environ)
        for database in (open_one(), open_one())
    )
    first.set("openai", "sk-1")
    first.set("other", "sk-2")
    assert second.resolve("secret:openai") == "sk-1"
    assert second.resolve("env:HOME") == "here"
    assert second.names() == ["openai", "other"]
    assert first.derive("hook") == second.derive("hook")
    assert asked(url, "SELECT count(*) FROM secrets WHERE position('sk-'::bytea IN value) > 0") == 0
    first.set("openai", "sk-3")
    assert second.resolve("secret:openai") == "sk-3"
    asked(url, "UPDATE secrets SET value = (SELECT value FROM secrets WHERE name = 'other') RETURNING 1")
    with pytest.raises(Unavailable, match="'openai' can't be decrypted"):
        second.resolve("secret:openai")
    second.delete("openai")
    with pytest.raises(NotFound, match="overnight secrets set openai"):
        first.resolve("secret:openai")
    with pytest.raises(NotFound):
        first.delete("openai")
