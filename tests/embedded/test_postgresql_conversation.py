"""What is said on a connection: many statements at once, each prepared once."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url
from tests.support import postgresql

from overnight.embedded.sql import conversation as conversation_
from overnight.embedded.sql.connections import Connections
from overnight.embedded.sql.conversation import Connection, Conversation

PREPARED = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%/* ours */%'"
OURS = "SELECT %(n)s::BIGINT /* ours */"


@pytest.fixture
def connections(tmp_path: Path) -> Iterator[Connections]:
    opened = Connections(make_url(postgresql.namespace(tmp_path)))
    yield opened
    opened.close()


@pytest.fixture
def connection(connections: Connections) -> Iterator[Connection]:
    with connections.open() as opened:
        opened.execute("CREATE TEMPORARY TABLE notes (number BIGINT UNIQUE, text TEXT, bytes BYTEA)")
        yield opened


def asked(connection: Connection, sql: str, **parameters: object) -> object:
    conversation = Conversation(connection)
    conversation.execute(sql, parameters)
    row = conversation.fetchone()
    return row and row[0]


def test_a_statement_is_prepared_once_on_each_connection(connections, connection):
    for number in range(3):
        assert asked(connection, OURS, n=number) == number
        with connections.open() as other:
            assert asked(other, OURS, n=number) == number
    assert connection.execute(PREPARED).fetchone() == (1,)


def test_behind_a_pooler_nothing_is_prepared(tmp_path):
    connections = Connections(make_url(f"{postgresql.namespace(tmp_path)}&prepare_threshold=0"))
    with connections.open() as connection:
        assert [asked(connection, OURS, n=number) for number in range(7)] == list(range(7))
        assert connection.execute(PREPARED).fetchone() == (0,)
    connections.close()


def test_what_is_too_many_to_be_prepared_is_answered_all_the_same(connection, monkeypatch):
    monkeypatch.setattr(conversation_, "PREPARED", 1)
    conversation = Conversation(connection)
    for _ in range(2):
        questions = [(OURS.replace("ours", f"ours */ /* {n}"), {"n": n}) for n in range(3)]
        assert conversation.all_of(questions) == [[(0,)], [(1,)], [(2,)]]
    assert connection.execute(PREPARED).fetchone() == (1,)


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        ("SELECT %(a)s::TEXT || '%%' || %(b)s::TEXT || %(a)s::TEXT", "x%yx"),
        ("SELECT %(n)s::BIGINT + %(n)s::BIGINT", -8),
        ("SELECT %(none)s::BIGINT", None),
        ("SELECT array_length(%(many)s::TEXT[], 1)", 2),
        ("SELECT (%(many)s::TEXT[])[2]", '{"} , \\'),
        ("SELECT %(bytes)s::BYTEA", b"\0\\\xff"),
    ],
)
def test_values_arrive_as_they_are(connection, sql, answer):
    given = {"a": "x", "b": "y", "n": -4, "none": None, "many": ["", '{"} , \\'], "bytes": b"\0\\\xff"}
    assert asked(connection, sql, **given) == answer


def test_what_is_said_is_done_before_what_is_asked(connection):
    conversation = Conversation(connection)
    conversation.executemany("INSERT INTO notes (number) VALUES (%(n)s)", [{"n": 1}, {"n": 2}])
    assert connection.execute("SELECT count(*) FROM notes").fetchone() == (0,), "nothing asked for it yet"
    conversation.execute("UPDATE notes SET text = 'seen'")
    assert conversation.rowcount == 2


def test_an_error_undoes_what_was_said_with_it_and_the_connection_goes_on(connection):
    conversation = Conversation(connection)
    conversation.say("BEGIN")
    conversation.executemany("INSERT INTO notes (number) VALUES (%(n)s)", [{"n": 1}, {"n": 1}, {"n": 2}])
    with pytest.raises(psycopg.errors.UniqueViolation):
        conversation.execute("COMMIT")
    connection.rollback()
    assert asked(connection, "SELECT count(*) FROM notes") == 0


def test_a_value_that_can_not_be_sent_harms_nobody(connection):
    with pytest.raises(psycopg.DataError):
        asked(connection, "SELECT %(text)s::TEXT", text="\0")
    assert asked(connection, OURS, n=1) == 1


def test_much_more_than_the_network_takes_at_once_goes_either_way(connection):
    conversation = Conversation(connection)
    rows = [{"n": number, "text": str(number % 10) * 100_000, "bytes": bytes(100_000)} for number in range(100)]
    sql = "INSERT INTO notes VALUES (%(n)s, %(text)s, %(bytes)s) RETURNING text"
    conversation.executemany(sql, rows)
    conversation.execute("SELECT number, text, bytes FROM notes ORDER BY number")
    assert conversation.fetchall() == [tuple(row.values()) for row in rows]
    assert conversation.fetchone() is None


def test_a_connection_that_is_lost_is_known_to_be(connections, connection):
    with connections.open() as other:
        other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
    with pytest.raises(psycopg.OperationalError):
        asked(connection, OURS, n=1)
    assert connection.closed
