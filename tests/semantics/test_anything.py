"""Whatever happens, in whatever order: nothing is lost, doubled or stuck.

Hypothesis makes up histories of two agents: firings, attempts that end in every way or not at all, edits and every
other verb, workers that die or come back too late, messages that come twice, time that passes with an engine or
without one, and crashes after any write. After each step the invariants of the agents' states hold; at the end, when
everything has settled, `verify` finds nothing, and every execution has ended as it should.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.support.flows import Under, broken, failed, interrupted, ok
from tests.support.fuse import Crash, fuse
from tests.support.sound import sound
from tests.support.world import World

from overnight.core import lifecycle, retry, run
from overnight.core.backfill import backfill
from overnight.errors import OvernightError
from overnight.executions import Execution, Message  # noqa: TC001 - hypothesis reads the annotations
from overnight.ports import RunReport

AGENTS = ("clock", "ear")
Reports = dict[str, Callable[[], RunReport]]
REPORTS: Reports = {"ok": ok, "failed": failed, "broken": broken, "interrupted": interrupted}

agents = st.sampled_from(AGENTS)
which = st.integers(0, 1_000)
policies = st.fixed_dictionaries(
    {
        "concurrency": st.fixed_dictionaries(
            {
                "max_parallel": st.sampled_from([1, 1, 2, None]),
                "on_overlap": st.sampled_from(["queue", "queue", "queue_one", "skip", "cancel_running", "allow"]),
                "queue_limit": st.sampled_from([100, 1, 2]),
            }
        ),
        "retries": st.fixed_dictionaries(
            {"attempts": st.sampled_from([3, 2, 1]), "backoff_seconds": st.sampled_from([0, 0, 1, 40])}
        ),
        "start_deadline_seconds": st.sampled_from([None, None, 20]),
        "pause_after_failures": st.sampled_from([None, None, None, 2]),
    }
)
schedules = st.fixed_dictionaries(
    {
        "interval": st.sampled_from([{"minutes": 2}, {"minutes": 7}]),
        "catch_up": st.sampled_from(["coalesce", "skip", "all"]),
        "catch_up_window_seconds": st.sampled_from([0, 900, 86_400]),
        "jitter_seconds": st.sampled_from([0, 0, 100]),
    }
)


class Anything(RuleBasedStateMachine):
    """Two agents: one follows the clock, the other events and the first one's executions."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.late: list[Under] = []
        self.messages: list[Message] = []
        self.over: dict[str, Execution] = {}
        self.bound: dict[str, int] = {}
        self.known: set[str] = set()
        self.seen: dict[str, int] = {}

    # What happens, each of it ended by a crash now and then

    def does(self, act: Callable[[], object]) -> None:
        """Do something, as far as the process lives."""
        try:
            with suppress(OvernightError):
                act()
        except Crash:
            self.world.restart()
            for name in AGENTS:  # a crash may have come before we heard of the agent's id
                with suppress(OvernightError):
                    self.world.subjects[name] = self.world.store.agent(name).id
            self.hold()

    def hold(self) -> None:
        self.known |= set(self.world.subjects.values())
        self.world.holding = set(self.known)

    @initialize(clock=policies, ear=policies, schedule=schedules)
    def begin(self, clock: dict[str, Any], ear: dict[str, Any], schedule: dict[str, Any]) -> None:
        self.create("clock", clock, schedule)
        self.create("ear", ear, schedule)

    @rule(writes=st.integers(1, 12))
    def crash_after(self, writes: int) -> None:
        """The process will die after so many writes from here."""
        self.world.watch_writes(fuse(writes))

    @rule()
    def crash(self) -> None:
        self.world.restart()
        self.hold()

    # Firings

    @rule(name=agents, key=st.none() | st.sampled_from("ab"), body=st.integers(0, 1))
    def trigger(self, name: str, key: str | None, body: int) -> None:
        self.does(lambda: self.world.trigger(name, idempotency_key=key, payload=body))

    @rule(event_id=st.none() | st.sampled_from("ab"))
    def send(self, event_id: str | None) -> None:
        self.does(lambda: self.world.send("x", event_id=event_id))

    @rule(minutes=st.integers(1, 30))
    def backfill(self, minutes: int) -> None:
        until = self.world.now
        self.does(lambda: backfill(self.world.ports, "clock", until - timedelta(minutes=minutes), until))

    # Attempts

    @rule(most=st.integers(1, 4))
    def take_up(self, most: int) -> None:
        """Workers take messages, and their attempts stay under way."""

        def act() -> None:
            for message in self.world.queue.receive(most, self.world.now):
                self.messages.append(message)
                self.world.carry_out(message)

        self.does(act)

    @precondition(lambda self: self.messages)
    @rule(number=which)
    def redeliver(self, number: int) -> None:
        """A message comes once more."""
        message = self.messages[number % len(self.messages)]
        if message.execution_id not in self.world.under:
            self.does(lambda: self.world.carry_out(message))

    @precondition(lambda self: self.world.under)
    @rule(number=which, report=st.sampled_from(["ok", "ok", *REPORTS]))
    def finish(self, number: int, report: str) -> None:
        self.does(lambda: self.world.finish(self.one_under_way(number), REPORTS[report]()))

    @precondition(lambda self: self.world.under)
    @rule(number=which)
    def kill(self, number: int) -> None:
        self.world.kill(self.one_under_way(number))

    @precondition(lambda self: self.world.under)
    @rule(number=which, found=st.booleans())
    def cut_off(self, number: int, found: bool) -> None:
        """A worker is cut off: it runs on, nobody renews its lease, and it may come back too late."""
        self.late.append(self.world.under.pop(self.one_under_way(number)))
        if found:
            self.live(45)

    @precondition(lambda self: self.late)
    @rule(report=st.sampled_from(list(REPORTS)))
    def come_back(self, report: str) -> None:
        late = self.late.pop()
        self.does(lambda: late.end(REPORTS[report]()))

    def one_under_way(self, number: int) -> str:
        return list(self.world.under)[number % len(self.world.under)]

    # Executions

    @rule(number=which)
    def cancel(self, number: int) -> None:
        if rows := self.world.rows(None):
            self.does(lambda: run.cancel(self.world.ports, rows[number % len(rows)].id))

    @rule(number=which, latest=st.booleans())
    def redrive(self, number: int, latest: bool) -> None:
        if rows := [row for row in self.world.rows(None) if row.status == "failed"]:
            self.does(lambda: retry.redrive(self.world.ports, rows[number % len(rows)].id, latest=latest))

    # Agents

    def create(self, name: str, policy: dict[str, Any], schedule: dict[str, Any]) -> None:
        def act() -> None:
            if name == "clock":
                self.world.agent(name, **policy, **schedule)
                return
            follow = {"name": "overnight.execution.*", "filter": "agent == 'clock' && status != 'skipped'"}
            triggers = [{"name": "on", "event": {"name": "x"}}, {"name": "after", "event": follow}]
            self.world.agent(name, **policy, triggers=triggers)

        self.does(act)
        self.hold()

    @rule(name=agents, verb=st.sampled_from([lifecycle.pause, lifecycle.resume, lifecycle.start, lifecycle.stop]))
    def change(self, name: str, verb: Callable[..., object]) -> None:
        self.does(lambda: verb(self.world.ports, name))

    @rule(name=agents)
    def stop_and_cancel(self, name: str) -> None:
        self.does(lambda: lifecycle.stop(self.world.ports, name, cancel_running=True))

    @rule(name=agents, policy=policies)
    def edit(self, name: str, policy: dict[str, Any]) -> None:
        self.does(lambda: self.world.edit(name, **policy))

    @rule(schedule=schedules)
    def reschedule(self, schedule: dict[str, Any]) -> None:
        self.does(lambda: self.world.edit("clock", triggers=[{"name": "schedule"} | schedule]))

    @rule(name=agents, policy=policies, schedule=schedules)
    def delete(self, name: str, policy: dict[str, Any], schedule: dict[str, Any]) -> None:
        """Delete the agent, and make another one of its name."""
        self.does(lambda: lifecycle.delete(self.world.ports, name))
        self.create(name, policy, schedule)

    # Time and the engine

    @rule(seconds=st.sampled_from([0.5, 21, 130, 1000]))
    def time_passes(self, seconds: float) -> None:
        """Nobody is there, or everything hangs."""
        self.world.advance(seconds)

    @rule(seconds=st.sampled_from([1, 45, 130]))
    def live(self, seconds: float) -> None:
        self.does(lambda: self.world.live(seconds, step=15))

    @rule(work=st.sampled_from(["ring", "watch", "renew"]))
    def engine(self, work: str) -> None:
        self.does(getattr(self.world, work))

    # What holds after each step

    @invariant()
    def the_gate_is_kept(self) -> None:
        for agent_id in self.known:
            agent, state = self.world.store.read(agent_id)
            line = [waiting.id for waiting in state.line]
            assert len(set(line)) == len(line), "twice in the line"
            assert not set(line) & set(state.running), "in the line and in the running set"
            # Fewer slots by an edit let nobody in before enough are free.
            slots = max(agent.document.concurrency.slots, self.bound.get(agent.id, 0))
            assert len(state.running) <= slots, "more than max_parallel"
            self.bound[agent.id] = len(state.running)
            assert state.status == "ACTIVE" or not state.schedules
            assert self.at_work(agent_id) <= slots, "more workers than max_parallel"

    def at_work(self, agent_id: str) -> int:
        """How many workers of the agent have not let go, and are not given up either."""
        under = [under for under in self.world.under.values() if under.message.agent_id == agent_id]
        rows = [(under, self.world.row(under.message.execution_id)) for under in under]
        return sum(
            row.attempt == under.message.attempt and row.lease is not None and row.lease.until > self.world.now
            for under, row in rows
        )

    @invariant()
    def what_is_not_over_is_carried_on(self) -> None:
        for row in self.world.store.unfinished().items:
            state = self.world.store.read(row.agent_id)[1]
            slot = state.running.get(row.id)
            if row.status == "running":
                assert slot
                assert slot.attempt == row.attempt
            claimed = slot is not None and slot.attempt == row.attempt + 1
            waits = any(waiting.id == row.id and waiting.attempt == row.attempt + 1 for waiting in state.line)
            settling = row.id in state.settle and not slot
            assert (row.status == "running") + claimed + waits + settling + (row.due is not None) == 1, row

    @invariant()
    def what_is_over_stays_as_it_is(self) -> None:
        for row in self.world.rows(None):
            before = self.over.get(row.id)
            assert before is None or before == row or (before.status == "failed" and row.redrives > before.redrives)
            assert row.attempt >= self.seen.get(row.id, 0), "attempt numbers only grow"
            self.seen[row.id] = row.attempt
            if row.status.terminal:
                self.over[row.id] = row
            else:
                self.over.pop(row.id, None)

    # At the end

    def teardown(self) -> None:
        world = self.world
        try:
            for under in self.late:
                under.end(None)
            world.restart()
            world.live(minutes=6, step=60)
            for agent, _ in world.store.agents().items:
                lifecycle.start(world.ports, agent.id)
            world.live(minutes=6, step=60)
            for agent, _ in world.store.agents().items:
                lifecycle.stop(world.ports, agent.id)
            world.live(minutes=6, step=60)
            self.what_is_over_stays_as_it_is()
            sound(world)
        finally:
            world.close()


QUICK = settings(
    max_examples=60, stateful_step_count=40, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip


def test_nothing_is_lost_doubled_or_stuck_whatever_happens():
    run_state_machine_as_test(Anything, settings=QUICK)  # type: ignore[no-untyped-call]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_nothing_is_lost_doubled_or_stuck_whatever_happens_for_long():
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Anything, settings=settings(QUICK, max_examples=400, stateful_step_count=60, derandomize=False)
    )
