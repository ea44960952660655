"""Flows whose course the test directs: what each attempt comes to, and how long it takes by the account's clock.

A flow runs in its function, which runs in a thread. There is one baton: either the test moves, or one function does,
until it is done or its flow waits for something.

    stage.says("report", fails("the line is busy"), "done")      # what the next attempts of an agent come to
    stage.says("report", held)                                   # waits until the test lets it go on
"""

import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

__all__ = ["PATIENCE_SECONDS", "Act", "Killed", "Stage", "Time", "fails", "held", "play", "takes"]

PATIENCE_SECONDS = 180.0
"""A function that does not come to anything within this hangs."""


class Killed(BaseException):
    """The process in which the flow ran is gone."""


@dataclass(eq=False)
class Act:
    """A flow that waits, until a time or until it is let go."""

    owner: Any
    """The invocation in which it runs."""
    until: datetime | None
    go: threading.Event = field(default_factory=threading.Event)
    killed: bool = False


Part = Callable[[Any], Any]
"""What an attempt comes to, given the run's context; text is its result."""


class Stage:
    """What the flows of one stack do."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.script: dict[str, deque[Part | str]] = defaultdict(deque)
        self.always: dict[str, Part | str] = {}
        self.played: list[Any] = []
        """The context of each attempt, in the order in which they began."""
        self.waiting: list[Act] = []
        self._holders: list[tuple[Any, threading.Event]] = []

    def says(self, agent: str, *parts: Part | str) -> None:
        """What the agent's next attempts come to; after them, and without any, it is `done`."""
        self.script[agent].extend(parts)

    def always_says(self, agent: str, part: Part | str) -> None:
        """What all the agent's attempts come to."""
        self.always[agent] = part

    # The test's side

    def hand_over(self, owner: Any, begin: Callable[[], object]) -> None:
        """Let an invocation go on until it is done, or its flow waits; within one, another may be handed the baton."""
        moved = threading.Event()
        self._holders.append((owner, moved))
        begin()
        came = moved.wait(PATIENCE_SECONDS)
        self._holders.remove((owner, moved))
        if not came:
            raise AssertionError("a function neither ends nor waits")

    def next_waking(self) -> datetime | None:
        """When the next flow goes on by itself."""
        return min((act.until for act in self.waiting if act.until), default=None)

    def wake(self) -> None:
        """Let those go on whose time has come."""
        while due := [act for act in self.waiting if act.until and act.until <= self.now()]:
            self.let_go(due[0])

    def let_go(self, act: Act) -> None:
        """Let a flow go on."""
        self.waiting.remove(act)
        if act.owner.done:  # its process did not wait for it
            act.killed = True
            act.go.set()
        else:
            self.hand_over(act.owner, act.go.set)

    def kill(self, act: Act) -> None:
        """Let the process in which a flow runs be gone."""
        act.killed = True
        act.owner.process.alive = False
        self.let_go(act)

    # The functions' and the flows' side

    def moved(self, owner: Any) -> None:
        """The invocation is done, or its flow waits: give the baton back, if it still has it."""
        for holder, moved in self._holders:
            if holder is owner:
                moved.set()

    def wait(self, seconds: float | None = None) -> None:
        """In a flow: wait so long by the account's clock, or until let go."""
        owner, _ = self._holders[-1]
        act = Act(owner, None if seconds is None else self.now() + timedelta(seconds=seconds))
        self.waiting.append(act)
        self.moved(owner)
        act.go.wait()
        if act.killed:
            raise Killed

    def perform(self, context: Any) -> Any:
        """In a flow: what this attempt comes to."""
        self.played.append(context)
        script = self.script[context.agent]
        part = script.popleft() if script else self.always.get(context.agent, "done")
        return part(context) if callable(part) else part


_on: list[Stage] = []


def raise_curtain(stage: Stage) -> None:
    """From now on, flows play on this stage."""
    _on.append(stage)


def drop_curtain(stage: Stage) -> None:
    """What still waits is gone."""
    _on.remove(stage)
    for act in stage.waiting:
        act.killed = True
        act.go.set()


def play(context: Any) -> Any:
    """The flow: see agents/acts.py."""
    return _on[-1].perform(context)


class Time:
    """Stands for the module `time` in flows that sleep: they sleep by the account's clock."""

    @staticmethod
    def sleep(seconds: float) -> None:
        """Sleep so long."""
        _on[-1].wait(seconds)


# Parts


def fails(message: str = "it broke") -> Part:
    """It raises."""

    def part(_: Any) -> Any:
        raise RuntimeError(message)

    return part


def takes(seconds: float, then: Part | str = "done") -> Part:
    """It takes so long."""

    def part(context: Any) -> Any:
        _on[-1].wait(seconds)
        return then(context) if callable(then) else then

    return part


def held(_: Any) -> str:
    """It waits until it is let go."""
    _on[-1].wait()
    return "done"
