"""The PostgreSQL server of a run of the benches: by `pip`, with fsync on, or one that a variable names."""

import contextlib
import os
import uuid
from collections.abc import Iterator

import psycopg
from tests.support.postgresql import Server

__all__ = ["VARIABLE", "database", "facts", "server"]

VARIABLE = "OVERNIGHT_BENCH_POSTGRESQL"
"""The URL of a server whose databases may be made and dropped. A run of the benches sets it where nobody has."""


@contextlib.contextmanager
def server() -> Iterator[None]:
    """Have a server, with its own settings, until the end of the block."""
    if VARIABLE in os.environ:
        yield
        return
    own = Server()
    os.environ[VARIABLE] = own.url
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        own.close()


@contextlib.contextmanager
def database() -> Iterator[str]:
    """The URL of an empty database, which is dropped at the end."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(os.environ[VARIABLE], autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        connection.execute("CHECKPOINT")
        try:
            yield _renamed(os.environ[VARIABLE], name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]


def facts() -> dict[str, str]:
    """What a reader wants to know of the server."""
    names = ("server_version", "fsync", "synchronous_commit", "shared_buffers")
    with psycopg.connect(os.environ[VARIABLE]) as connection:
        rows = [connection.execute("SELECT current_setting(%s)", (name,)).fetchone() for name in names]
    return {name: str(row[0]) for name, row in zip(names, rows, strict=True) if row}


def _renamed(url: str, name: str) -> str:
    address, question, rest = url.partition("?")
    return f"{address.rpartition('/')[0]}/{name}{question}{rest}"
