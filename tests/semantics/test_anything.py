"""Whatever happens, in whatever order: nothing is lost, doubled or stuck.

Dice make up histories of two agents: firings, attempts that end in every way or not at all, edits and every other verb,
workers that die or come back too late, messages that come twice, time that passes with an engine or without one, and
crashes after any write. After each step the invariants of the agents' states hold; at the end, when everything has
settled, `verify` finds nothing, and every execution has ended as it should. A history that fails is cut down to what it
takes. (Hypothesis' own machine repeats itself too much here: it found a tenth as much in the same time.)
"""

import os
import random
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.flows import Under, broken, failed, interrupted, ok
from tests.support.fuse import Crash, fuse
from tests.support.sound import sound
from tests.support.world import World

from overnight.core import events, lifecycle, retry, run
from overnight.core.backfill import backfill
from overnight.core.payloads import opened
from overnight.errors import OvernightError
from overnight.ports import RunReport

if TYPE_CHECKING:
    from overnight.executions import Execution, Message

REPORTS: dict[str, Callable[[], RunReport]] = {
    "ok": ok, "failed": failed, "broken": broken, "interrupted": interrupted,
}  # fmt: skip

# How often each of it happens.
HAPPENINGS = [
    word.replace("_", " ")
    for word, times in {
        "trigger": 16, "trigger_once": 3, "send": 4, "send_once": 2, "backfill": 2,
        "take": 20, "end_ok": 10, "end_failed": 12, "end_broken": 2, "end_interrupted": 2,
        "kill": 2, "cut_off": 2, "lose": 4, "late_ok": 3, "late_failed": 3, "again": 6,
        "cancel": 8, "redrive": 6,
        "pause": 2, "resume": 4, "start": 6, "stop": 1, "stop_and_cancel": 1, "edit": 2, "reschedule": 1,
        "regather": 1, "delete": 1,
        "crash": 2, "crash_soon": 12, "live": 6, "ring": 2, "watch": 6, "nothing": 4,
    }.items()
    for _ in range(times)
]  # fmt: skip
POLICIES: list[dict[str, Any]] = [
    {"concurrency": concurrency, "retries": {"attempts": 3, "backoff_seconds": backoff}} | more
    for concurrency, backoff, more in [
        ({}, 0, {}),
        ({"max_parallel": 2}, 0, {}),
        ({}, 40, {}),
        ({"max_parallel": None}, 1, {"pause_after_failures": 2}),
        ({"queue_limit": 1}, 0, {"start_deadline_seconds": 100}),
        ({"on_overlap": "queue_one"}, 0, {}),
        ({"on_overlap": "skip"}, 1, {}),
        ({"on_overlap": "cancel_running", "max_parallel": 2}, 0, {}),
        ({"on_overlap": "cancel_running"}, 1, {"start_deadline_seconds": 20}),
        ({"on_overlap": "allow"}, 0, {"retries": {"attempts": 1}}),
    ]
]
SCHEDULES: list[dict[str, Any]] = [
    {"interval": {"minutes": 2}},
    {"interval": {"minutes": 2}, "catch_up": "all", "jitter_seconds": 100},
    {"interval": {"minutes": 7}, "catch_up": "skip"},
    {"interval": {"minutes": 1}, "catch_up_window_seconds": 300, "jitter_seconds": 30},
    {"interval": {"minutes": 2}, "catch_up": "all", "catch_up_window_seconds": 900},
]

GATHERINGS: list[dict[str, Any]] = [
    {},
    {"batch": {"size": 3, "window_seconds": 50}},
    {"debounce": {"delay_seconds": 20, "max_delay_seconds": 60}},
    {"debounce": {"delay_seconds": 30, "edge": "leading"}},
]

Step = tuple[str, int]


class History:
    """Two agents: one follows the clock, the other events and the first one's executions."""

    def __init__(self, kind: str) -> None:
        self.world = World(kind)
        self.late: list[Under] = []
        self.messages: list[Message] = []
        self.over: dict[str, Execution] = {}
        self.bound: dict[str, int] = {}
        self.known: set[str] = set()
        self.seen: dict[str, int] = {}

    def happens(self, what: str, number: int) -> None:
        """Something happens; `number` chooses to whom or what."""
        match what.split():
            case ["create", name]:
                self.create(name, number)
            case ["crash", *soon]:
                self.crash(number % 12 + 1 if soon else 0)
            case ["take" | "end" | "kill" | "cut" | "lose" | "late" | "again" as act, *how]:
                self.work(act, how, number)
            case ["cancel" | "redrive" as verb]:
                self.decide(verb, number)
            case ["nothing"]:  # nobody is there, or everything hangs
                self.world.advance([0.5, 21, 130, 1000][number % 4])
            case ["live"]:
                self.does(lambda: self.world.live([1, 45, 130][number % 3], step=15))
            case ["ring" | "watch" as work]:
                self.does(getattr(self.world, work))
            case _:
                self.fire_or_change(what, ["clock", "ear"][number % 2], number // 2)

    def does(self, act: Callable[[], object]) -> None:
        """Do something, as far as the process lives."""
        try:
            with suppress(OvernightError):
                act()
        except Crash:
            self.world.restart()
            for name in ("clock", "ear"):  # a crash may have come before we heard of the agent's id
                with suppress(OvernightError):
                    self.world.subjects[name] = self.world.store.agent(name).id
            self.hold()

    def hold(self) -> None:
        self.known |= set(self.world.subjects.values())
        self.world.holding = set(self.known)

    def crash(self, writes: int) -> None:
        """The process dies: now, or after so many writes from here."""
        if writes:
            self.world.watch_writes(fuse(writes), steps=True)
            return
        self.world.restart()
        self.hold()

    def fire_or_change(self, what: str, name: str, number: int) -> None:
        world, ports, once = self.world, self.world.ports, "ab"[number % 2]
        acts: dict[str, Callable[[], object]] = {
            "trigger": lambda: world.trigger(name),
            "trigger once": lambda: world.trigger(name, idempotency_key=once, payload=number % 3),
            "send": lambda: world.send("x"),
            "send once": lambda: world.send("x", event_id=once),
            "backfill": lambda: backfill(ports, "clock", world.now - timedelta(minutes=number % 20 + 1), world.now),
            "stop and cancel": lambda: lifecycle.stop(ports, name, cancel_running=True),
            "edit": lambda: world.edit(name, **POLICIES[number % len(POLICIES)]),
            "reschedule": lambda: world.edit("clock", triggers=[{"name": "schedule"} | _chosen(SCHEDULES, number)]),
            "regather": lambda: self.gather_otherwise(number),
            "delete": lambda: lifecycle.delete(ports, name),
        }
        self.does(acts.get(what) or (lambda: getattr(lifecycle, what)(ports, name)))
        if what == "delete":
            self.create(name, number)

    def create(self, name: str, number: int) -> None:
        policy = _chosen(POLICIES, number)
        follow = {"name": "overnight.execution.*", "filter": "agent == 'clock' && status != 'skipped'"}
        on, after = [_chosen(GATHERINGS, number // divisor) for divisor in (len(POLICIES), 37)]
        triggers = [{"name": "on", "event": {"name": "x"} | on}, {"name": "after", "event": follow | after}]
        schedule = _chosen(SCHEDULES, number // len(POLICIES)) if name == "clock" else {"triggers": triggers}
        self.does(lambda: self.world.agent(name, **policy, **schedule))
        self.hold()

    def gather_otherwise(self, number: int) -> None:
        """Edit how the listener gathers what comes."""
        on = {"name": "on", "event": {"name": "x"} | _chosen(GATHERINGS, number)}
        after = self.world.store.agent("ear").document.trigger("after")
        assert after
        self.world.edit("ear", triggers=[on, after.model_dump()])

    def decide(self, verb: str, number: int) -> None:
        """Cancel what is not over, or redrive what has failed."""
        rows = [row for row in self.world.rows(None) if row.status == "failed" or not row.status.terminal]
        rows = [row for row in rows if (row.status == "failed") == (verb == "redrive")]
        if rows:
            id_, ports = _chosen(rows, number).id, self.world.ports
            self.does(lambda: run.cancel(ports, id_) if verb == "cancel" else retry.redrive(ports, id_))

    # Workers

    def work(self, act: str, how: list[str], number: int) -> None:
        world = self.world
        if act == "take":
            self.does(self.take_up)
        elif act == "again" and self.messages:
            message = _chosen(self.messages[::-1], number)
            if message.execution_id not in world.under:
                self.does(lambda: world.carry_out(message))
        elif act == "late" and self.late:
            late = self.late.pop()
            self.does(lambda: late.end(REPORTS[how[0]]()))
        elif act in {"end", "kill", "cut", "lose"} and world.under:
            id_ = _chosen(list(world.under), number)
            if act == "end":
                self.does(lambda: world.finish(id_, REPORTS[how[0]]()))
            elif act == "kill":
                world.kill(id_)
            else:  # its worker is cut off: it runs on, nobody renews its lease, and it may come back too late
                self.late.append(world.under.pop(id_))
                if act == "lose":
                    self.does(lambda: world.live(45, step=15))

    def take_up(self) -> None:
        """Messages are taken, and their attempts stay under way."""
        for message in self.world.queue.receive(3, self.world.now):
            self.messages.append(message)
            self.world.carry_out(message)

    # What holds after each step

    def check(self) -> None:
        self.the_gate_is_kept()
        if self.world.kind != "dynamodb":  # where a crash may part two writes, the watchdog has to come by first
            self.what_is_not_over_is_carried_on()
        self.what_is_over_stays_as_it_is()

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

    def what_is_not_over_is_carried_on(self) -> None:
        for row in self.world.store.unfinished().items:
            state = self.world.store.read(row.agent_id)[1]
            slot = state.running.get(row.id)
            if row.status == "running":
                assert slot
                assert slot.attempt == row.attempt
            claimed = slot is not None and slot.attempt == row.attempt + 1
            waits = any(waiting.id == row.id and waiting.attempt == row.attempt + 1 for waiting in state.line)
            # An order that a crash cut off may find the next try already due: whichever comes first ends it.
            settling = row.id in state.settle and not slot and row.due is None
            assert (row.status == "running") + claimed + waits + settling + (row.due is not None) == 1, row

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

    def settle(self) -> None:
        """Whoever is late comes back; engines run; in the end all is sound."""
        world = self.world
        for under in self.late:
            self.does(lambda under=under: under.end(ok()))  # type: ignore[misc]
        world.restart()
        world.live(minutes=6, step=60)
        for agent, _ in world.store.agents().items:
            lifecycle.start(world.ports, agent.id)
        world.live(minutes=6, step=60)
        for agent, _ in world.store.agents().items:
            lifecycle.stop(world.ports, agent.id)
        world.live(events.PUT_OFF[1].total_seconds(), step=60)
        self.what_is_over_stays_as_it_is()
        self.every_event_is_accounted_for()
        sound(world)

    def every_event_is_accounted_for(self) -> None:
        """What was gathered names the execution that it became, and no other execution tells of it."""
        rows = {row.id: row for row in self.world.rows(None)}
        tells: dict[tuple[str, str], str] = {}
        for row in rows.values():
            if row.dedupe_key.startswith("batch:"):
                for event in opened(self.world.ports.blobs, row.payload)["events"]:  # type: ignore[index,call-overload]
                    assert tells.setdefault((row.agent_id, f"event:{event['id']}"), row.id) == row.id, "told twice"
        for row in rows.values():
            # What was coalesced later than at its insert was in the line, and a newer one took its place.
            if row.reason == "coalesced" and row.dedupe_key.startswith("event:") and row.rev == 0:
                assert row.into in rows, "gathered, and never told"
                told = tells.pop((row.agent_id, row.dedupe_key), None)
                payload: Any = opened(self.world.ports.blobs, rows[row.into].payload)
                # A leading debounce tells of the first event of a burst only.
                assert told == row.into or (told is None and payload.get("count") == 1), "not told"
        assert not tells, "told, and not recorded as gathered"
        for _, state in self.world.store.agents(deleted=True, limit=500).items:
            assert all(kept.fired for kept in state.gathered.values())


def _chosen(of: list[Any], number: int) -> Any:
    return of[number % len(of)]


def made_up(dice: random.Random, steps: int) -> list[Step]:
    begin = [(f"create {name}", dice.randrange(1_000)) for name in ("clock", "ear")]
    return begin + [(dice.choice(HAPPENINGS), dice.randrange(1_000)) for _ in range(steps)]


def wrong(kind: str, steps: list[Step]) -> Exception | None:
    """What goes wrong in that history, if anything does."""
    history = History(kind)
    try:
        for what, number in steps:
            history.happens(what, number)
            history.check()
        history.settle()
    except Exception as error:  # noqa: BLE001 - shown with the history
        return error
    finally:
        history.world.close()
    return None


def cut_down(kind: str, steps: list[Step]) -> list[Step]:
    """The same failure in fewer steps."""
    size = len(steps) // 2
    while size:
        for begin in range(2, len(steps), size):
            fewer = steps[:begin] + steps[begin + size :]
            if len(fewer) < len(steps) and wrong(kind, fewer):
                steps = fewer
                break
        else:
            size //= 2
    return steps


def play(kind: str, seeds: range, steps: int) -> None:
    for seed in seeds:
        history = made_up(random.Random(seed), steps)
        if wrong(kind, history):
            history = cut_down(kind, history)
            pytest.fail(f"seed {seed}: {wrong(kind, history)!r}\nin {history}")


def fewer(kind: str, histories: int) -> int:
    """On moto, each takes as long as sixty elsewhere."""
    return max(histories // 60, 3) if kind == "dynamodb" else histories


def test_nothing_is_lost_doubled_or_stuck_whatever_happens(store_kind: str):
    play(store_kind, range(fewer(store_kind, 60)), steps=50)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_is_lost_doubled_or_stuck_whatever_happens_for_long(store_kind: str):
    begin = int(os.environ.get("OVERNIGHT_SEED", "1000"))  # another one plays other histories
    play(store_kind, range(begin, begin + fewer(store_kind, 300)), steps=80)
