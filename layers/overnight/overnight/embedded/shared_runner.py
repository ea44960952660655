"""The `FlowRunner` where several engines run attempts: one that is to end may run on another one."""

from overnight.embedded.sql import Database
from overnight.embedded.workers import Workers
from overnight.ports import RunReport, RunRequest

__all__ = ["CANCEL", "SharedRunner"]

CANCEL = "cancel"


class SharedRunner:
    """The workers of this engine, and word to the others."""

    def __init__(self, workers: Workers, database: Database) -> None:
        self._workers = workers
        self._database = database

    def run(self, request: RunRequest) -> RunReport:
        """Run one attempt to its end, here."""
        return self._workers.run(request)

    def cancel(self, execution_id: str) -> None:
        """End the attempt at once, wherever it runs, as soon as the record says so.

        An engine that doesn't hear of it finds out when it renews the lease.
        """
        self._database.afterwards(lambda: self._workers.cancel(execution_id))
        self._database.afterwards(lambda: self._database.tell(f"{CANCEL} {execution_id}"))
