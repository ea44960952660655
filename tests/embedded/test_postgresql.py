"""What is particular to PostgreSQL: it may not be there. The contract suite tries the rest, where it is installed."""

import importlib

import pytest

from overnight.embedded.sql import open_database
from overnight.errors import Invalid, Unavailable


def test_a_server_that_does_not_answer_is_unavailable():
    pytest.importorskip("psycopg")
    with pytest.raises(Unavailable, match="does not answer"):
        open_database("postgresql://127.0.0.1:1/overnight?connect_timeout=2")


def test_a_driver_that_is_missing_is_named(monkeypatch):
    def missing():
        raise ModuleNotFoundError("psycopg")

    dialect = importlib.import_module("sqlalchemy.dialects.postgresql.psycopg").PGDialect_psycopg
    monkeypatch.setattr(dialect, "import_dbapi", staticmethod(missing))
    with pytest.raises(Invalid, match=r"pip install 'psycopg\[binary\]'"):
        open_database("postgresql://127.0.0.1:1/overnight")
