"""Overnight: one engine in this process, or two on one database, each in a process of its own; workers in theirs."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.bench.contenders.contender import THREADS, Contender, Tally, at_once
from tests.bench.setting import agent, engine

from overnight.core import fire
from overnight.embedded.engine import Engine

AGENTS = 200
"""Tasks are spread over so many agents."""


class Peer(Contender):
    """What is queued comes in at each engine in equal parts, as through a load balancer."""

    def __init__(self, folder: Path, url: str | None = None, engines: int = 1) -> None:
        super().__init__(folder, url)
        self._engines = engines
        self._opened = ExitStack()
        self._siblings: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        self._engine = self._opened.enter_context(engine(self.folder / "engine-0", self.url))
        for number in range(AGENTS):
            agent(self._engine, f"nothing-{number}", "nothing", concurrency={"max_parallel": 16, "queue_limit": 1_000})
        agent(self._engine, "tell", "tell")
        for number in range(1, self._engines):
            assert self.url is not None
            command = [sys.executable, "-m", __name__, str(self.folder / f"engine-{number}"), self.url]
            pipe = subprocess.PIPE
            self._siblings.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        for sibling in self._siblings:
            _answer(sibling)

    def queue(self, task: str) -> None:
        fire.trigger(self._engine.ports, "tell" if task == "tell" else f"{task}-0")

    def queue_many(self, tasks: int) -> None:
        """Queue so many, some at each engine."""
        for sibling in self._siblings:
            assert sibling.stdin is not None
            print(tasks // self._engines, file=sibling.stdin, flush=True)
        trigger_many(self._engine, tasks - tasks // self._engines * len(self._siblings), THREADS // self._engines)
        for sibling in self._siblings:
            _answer(sibling)

    def tally(self) -> Tally:
        database = self.url or self.folder / "engine-0" / "overnight.db"
        return Tally(database, "SELECT count(*) FROM executions WHERE status = 'succeeded'")

    def stop(self) -> None:
        for sibling in self._siblings:
            assert sibling.stdin is not None
            sibling.stdin.close()
            sibling.wait(30)
        self._opened.close()


def trigger_many(opened: Engine, executions: int, threads: int) -> None:
    """Fire so many times, all agents in turn."""
    at_once(lambda number: fire.trigger(opened.ports, f"nothing-{number % AGENTS}"), executions, threads)


def _answer(sibling: "subprocess.Popen[str]") -> None:
    assert sibling.stdout is not None
    if not sibling.stdout.readline():
        raise RuntimeError("an engine has ended")


def main(folder: str, url: str) -> None:
    """Another engine on the database: it fires as often as each line of its input says, and answers when it has."""
    with engine(Path(folder), url) as opened:
        print("ready", flush=True)
        for line in sys.stdin:
            trigger_many(opened, int(line), THREADS // 2)
            print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
