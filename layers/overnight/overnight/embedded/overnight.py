"""Overnight inside a Python program: declare agents, register them, start the engine."""

import multiprocessing
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from overnight.embedded.declare import Agent
from overnight.errors import AgentNotFound, OvernightError

if TYPE_CHECKING:
    from overnight.embedded.engine import Engine
    from overnight.executions import Execution

__all__ = ["Overnight"]

DRAIN_SECONDS = 30.0


class Overnight:
    """An engine in this process, with agents that this program declares.

        with Overnight(data_dir=".overnight") as overnight:
            overnight.register(Agent(name="report", flow=report, schedule={"cron": "0 8 * * *"}))
            overnight.serve()

    What it keeps is in `data_dir`; one engine has it at a time. Agents are stored under their names: one that is
    registered again is changed where it differs, and one that is registered no more stays until it is deleted.
    Worker processes import the program's main module, so what starts the engine stands under
    `if __name__ == "__main__":`; inside a worker, starting does nothing.
    """

    def __init__(
        self,
        data_dir: str | PathLike[str] = ".overnight",
        *,
        folders: Iterable[str | PathLike[str]] | None = None,
        database: str | None = None,
        workers: int | None = None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            data_dir: the folder of everything the engine keeps.
            folders: below these Python flows may be imported; the working folder if not given. The modules of functions
                that are registered may be imported wherever they are.
            database: an SQLAlchemy URL; SQLite in the data folder if not given.
            workers: how many attempts run at once.
        """
        self._data = Path(data_dir)
        self._folders = (Path.cwd(),) if folders is None else tuple(Path(folder) for folder in folders)
        self._database = database
        self._workers = workers
        self._agents: dict[str, Agent] = {}
        self._packages: frozenset[str] = frozenset()
        self._engine: Engine | None = None

    def register(self, agent: Agent) -> None:
        """Store an agent; before the start, keep it for then.

        Raises:
            Invalid: its document is; every field is named.
            OvernightError: it is new to a running engine, and so is its module.
        """
        if self._engine is not None:
            if agent.package and agent.package not in self._packages:
                raise OvernightError(f"register {agent.name!r} before the start: workers don't know {agent.package!r}")
            self._store(agent)
        self._agents[agent.name] = agent

    def start(self) -> Self:
        """Open the data folder, store the agents, begin; returns at once.

        Raises:
            Unavailable: another engine has the folder, or the database does not answer.
            Invalid: a registered agent is; nothing runs then.
        """
        if self._engine is not None or _in_worker():
            return self
        self._open()
        try:
            self._running().start()
        except BaseException:
            self.stop(drain_seconds=0)
            raise
        return self

    def stop(self, drain_seconds: float = DRAIN_SECONDS) -> None:
        """Stop: running attempts get so long to end; what is cut off goes on at the next start."""
        if self._engine is not None:
            engine, self._engine = self._engine, None
            engine.stop(drain_seconds)

    def serve(self, host: str = "127.0.0.1", port: int = 8321, drain_seconds: float = DRAIN_SECONDS) -> None:
        """Start, serve the HTTP API, and return when SIGINT or SIGTERM has come and all has drained.

        OVERNIGHT_API_TOKEN, where it is set, is asked for; without one only a loopback host will do. Call it on the
        main thread, where signals arrive.

        Raises:
            Invalid: a registered agent is; or the host can be reached from elsewhere, and there is no token.
            Unavailable: the address can't be had, or another engine has the folder.
            OvernightError: it is started already.
        """
        if _in_worker():
            return
        if self._engine is not None:
            raise OvernightError("the engine is started already; serve() starts it by itself")
        from overnight.embedded.serve import serve  # noqa: PLC0415 - imports uvicorn

        self._open()
        token = os.environ.get("OVERNIGHT_API_TOKEN") or None
        try:
            serve(self._running(), host=host, port=port, token=token, drain_seconds=drain_seconds)
        finally:
            self._engine = None

    def trigger(
        self,
        name: str,
        input_value: str | None = None,
        *,
        payload: Any = None,
        idempotency_key: str | None = None,
    ) -> "Execution":
        """Run an agent now; the execution, as it is admitted.

        Raises:
            AgentNotFound, NoFreeSlot, LineFull, IdempotencyMismatch: as the API answers them.
        """
        from overnight.core import fire  # noqa: PLC0415

        given = None if input_value is None else {"input_value": input_value}
        ports = self._running().ports
        return fire.trigger(ports, name, input=given, payload=payload, idempotency_key=idempotency_key).execution

    def execution(self, execution_id: str) -> "Execution":
        """The execution of that id. Raises ExecutionNotFound."""
        return self._running().ports.store.execution(execution_id)

    def wait(self, execution_id: str, timeout_seconds: float = 600.0) -> "Execution":
        """The execution, once it has ended. Raises TimeoutError, ExecutionNotFound."""
        deadline = time.monotonic() + timeout_seconds
        while not (execution := self.execution(execution_id)).status.terminal:
            if time.monotonic() > deadline:
                raise TimeoutError(f"execution {execution_id} is {execution.status} after {timeout_seconds:g} s")
            time.sleep(0.02)
        return execution

    def output(self, execution: "Execution") -> Any:
        """What an execution gave: `text` and `outputs`; None where it gave nothing."""
        from overnight.core.payloads import opened  # noqa: PLC0415

        return opened(self._running().ports.blobs, execution.output)

    def __enter__(self) -> Self:
        """Itself; it is started by `start` or `serve`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def _running(self) -> "Engine":
        if self._engine is None:
            raise OvernightError("the engine is not started; in a worker process it never is")
        return self._engine

    def _open(self) -> None:
        """Open the data folder, and store the agents in it."""
        from overnight.embedded.wiring import Settings, open_engine  # noqa: PLC0415 - only what starts needs it

        self._packages = frozenset(agent.package for agent in self._agents.values() if agent.package)
        settings = Settings(
            data=self._data,
            database=self._database,
            folders=self._folders,
            packages=tuple(sorted(self._packages)),
        )
        self._engine = open_engine(settings if self._workers is None else replace(settings, workers=self._workers))
        try:
            for agent in self._agents.values():
                self._store(agent)
        except BaseException:
            self.stop(drain_seconds=0)
            raise

    def _store(self, agent: Agent) -> None:
        from overnight.api.documents import accept  # noqa: PLC0415
        from overnight.core import lifecycle  # noqa: PLC0415

        ports = self._running().ports
        document = accept(ports, agent.document())
        try:
            lifecycle.edit(ports, agent.name, document)
        except AgentNotFound:
            lifecycle.create(ports, document)


def _in_worker() -> bool:
    """Whether this is a worker process, which imports the main module: at its own start, and when it runs a flow."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        return True
    return multiprocessing.parent_process() is not None and "overnight.embedded.worker" in sys.modules
