"""The store, the work queue and the alarm clock on SQL: SQLite, and PostgreSQL."""

from overnight.embedded.sql.alarms import Alarm, SqlAlarmClock
from overnight.embedded.sql.database import Database, open_database
from overnight.embedded.sql.queue import SqlWorkQueue
from overnight.embedded.sql.store import SqlStore

__all__ = ["Alarm", "Database", "SqlAlarmClock", "SqlStore", "SqlWorkQueue", "open_database"]
