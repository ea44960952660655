"""The process may die after any write: nothing is lost, doubled or stuck.

Each scenario is acted out again and again, and ended by a crash after its first write, its second one, and so on. What
was in memory is gone; an engine starts on the same database, and time, redelivery and the watchdog do their work. A
caller who saw the crash either asks again, and gets what was promised; or doesn't, and all is sound nevertheless.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from tests.support.flows import broken, failed, interrupted
from tests.support.fuse import blown
from tests.support.sound import sound
from tests.support.world import World, statuses

from overnight.core import lifecycle, retry, run
from overnight.core.backfill import backfill
from overnight.core.payloads import opened
from overnight.errors import AgentNotFound, NotRedrivable

Act = Callable[[World], object]
MOST_WRITES = 120
RETRIES = {"attempts": 4, "backoff_seconds": 2}


@dataclass(frozen=True)
class Scenario:
    """What there is, what is done, and what must have come of it when all has settled."""

    prepare: Act
    act: Act
    expect: Callable[[World], None]
    asks: bool = False
    """Whether `act` is somebody's request, which they may repeat."""


def played(kind: str, scenario: Scenario, writes: int, *, asks_again: bool) -> bool:
    """Act out the scenario up to a crash after so many writes; whether it came to that."""
    world = World(kind)
    try:
        scenario.prepare(world)
        crashed = blown(world, writes, scenario.act, steps=True)
        if crashed and asks_again:
            scenario.act(world)
        world.live(minutes=7, step=30)
        sound(world)
        assert all(row.attempt <= 4 for row in world.rows(None))
        if asks_again or not crashed or not scenario.asks:
            scenario.expect(world)
        return crashed
    finally:
        world.close()


# Scenarios


def plain(world: World) -> None:
    world.agent(retries=RETRIES)


def three_queued(world: World) -> None:
    plain(world)
    for _ in range(3):
        world.trigger()


def running(world: World) -> None:
    plain(world)
    world.hold("agent")
    world.trigger(idempotency_key="first")
    world.trigger(idempotency_key="second")
    world.drain()
    world.advance(1)


def retrying(world: World) -> None:
    plain(world)
    world.flows.says("agent", failed())
    world.trigger()
    world.drain()
    world.advance(0.5)


def one_failed(world: World) -> None:
    plain(world)
    world.flows.says("agent", broken())
    world.trigger()
    world.drain()


def every(world: World, **fields: object) -> None:
    """A tick every hour; it is a second past the first one, and no alarm has rung yet."""
    world.agent(cron="0 * * * *", retries=RETRIES, **fields)
    world.advance(hours=1, seconds=1)


def busy(world: World) -> None:
    """A schedule with a tick that is due, one execution that runs, one that waits."""
    every(world)
    world.hold("agent")
    world.trigger(idempotency_key="first")
    world.trigger(idempotency_key="second")
    world.drain()
    world.advance(1)


def follower(world: World, status: str) -> None:
    follow = {"name": f"overnight.execution.{status}", "filter": "agent == 'agent'"}
    world.agent("follower", retries=RETRIES, triggers=[{"name": "on", "event": follow}])


def followed(world: World) -> None:
    world.agent(retries=RETRIES, notify={"on": ["succeeded"], "url": "https://example.com/"})
    follower(world, "succeeded")
    world.trigger()


def subscribed(world: World) -> None:
    for name in "abc":
        world.agent(name, retries=RETRIES, triggers=[{"name": "on", "event": {"name": "x"}}])


def gathers(world: World, **how: object) -> None:
    world.agent(retries=RETRIES, triggers=[{"name": "on", "event": {"name": "x"} | how}])


def send_three(world: World) -> None:
    for number in range(3):
        world.send("x", number, event_id=f"e{number}")


def gathered(expected: list[list[str]]) -> Callable[[World], None]:
    """Each event's record names the one execution that tells of it."""

    def expect(world: World) -> None:
        by_id = {row.id: row for row in world.rows()}
        batches = [row for row in by_id.values() if row.dedupe_key.startswith("batch:")]
        tells = {row.id: [e["id"] for e in opened(world.ports.blobs, row.payload)["events"]] for row in batches}  # type: ignore[index,call-overload]
        assert list(tells.values()) == expected
        assert {row.status for row in batches} == {"succeeded"}
        events = {row.dedupe_key.removeprefix("event:"): row for row in by_id.values() if row not in batches}
        assert set(events) == {"e0", "e1", "e2"}
        assert {row.reason for row in events.values()} == {"coalesced"}
        assert all(row.into in tells for row in events.values())
        assert all(events[event].into == id_ for id_, told in tells.items() for event in told)

    return expect


def down_for_hours(world: World, policy: str) -> None:
    world.agent(cron="0 * * * *", catch_up=policy, retries=RETRIES)
    world.advance(hours=4, minutes=30)


def gap(world: World) -> None:
    world.agent(cron="0 * * * *", retries=RETRIES, enabled=False)
    world.advance(hours=3, minutes=30)
    lifecycle.start(world.ports, "agent")


def create(world: World) -> None:
    if "agent" not in {agent.name for agent, _ in world.store.agents().items}:
        world.agent(date=world.began + timedelta(minutes=1))
    world.subjects["agent"] = world.store.agent("agent").id


def delete(world: World) -> None:
    try:
        lifecycle.delete(world.ports, "agent")
    except AgentNotFound:  # it was asked for again
        world.store.agent(world.subjects["agent"])


def redrive(world: World) -> None:
    try:
        retry.redrive(world.ports, world.rows()[0].id)
    except NotRedrivable:  # it was asked for again
        assert world.rows()[0].redrives == 1


def cancel(world: World, number: int) -> None:
    run.cancel(world.ports, world.rows()[number].id)


def fill(world: World) -> None:
    backfill(world.ports, "agent", world.began, world.began + timedelta(hours=3))


def live(world: World) -> None:
    world.live(minutes=1, step=5)


def displaced(policy: str) -> Act:
    def prepare(world: World) -> None:
        world.agent(concurrency={"on_overlap": policy}, retries=RETRIES)
        world.trigger()
        world.trigger()

    return prepare


def ends(*expected: str, agent: str = "agent") -> Callable[[World], None]:
    """Exactly these executions, in this order of creation."""

    def expect(world: World) -> None:
        assert statuses(world.rows(agent)) == list(expected)

    return expect


def overlapped(world: World) -> None:
    """The second one may have been quicker than the order to cancel it, where a crash held that up."""
    first, second, third = statuses(world.rows())
    assert (first, third) == ("cancelled (overlap)", "succeeded")
    assert second in {"cancelled (overlap)", "succeeded"}


def is_(status: str, *expected: str) -> Callable[[World], None]:
    def expect(world: World) -> None:
        assert world.state().status == status
        assert statuses(world.rows()) == list(expected)

    return expect


def all_of(*expectations: Callable[[World], None]) -> Callable[[World], None]:
    def expect(world: World) -> None:
        for expectation in expectations:
            expectation(world)

    return expect


def notified(kind: str) -> Callable[[World], None]:
    def expect(world: World) -> None:
        deliveries = world.store.deliveries(world.subjects["agent"])
        assert [delivery.id.rpartition("_")[2] for delivery in deliveries] == [kind]

    return expect


def disabled(world: World) -> None:
    assert world.state().status == "ERROR"
    assert world.state().failures == 2


OK = "succeeded"
SCENARIOS = {
    "create": Scenario(
        lambda _: None, create, ends(OK), asks=True
    ),
    "trigger": Scenario(plain, lambda w: w.trigger(idempotency_key="k"), ends(OK), asks=True),
    "start and finish": Scenario(three_queued, live, ends(OK, OK, OK)),
    "retry": Scenario(
        lambda w: (three_queued(w), w.flows.says("agent", failed(), interrupted(), failed())), live, ends(OK, OK, OK)
    ),
    "fail": Scenario(
        lambda w: (
            w.agent(retries={"attempts": 1}, pause_after_failures=2, notify={"on": ["failed"], "url": "https://x.yz/"}),
            w.flows.says("agent", broken(), broken()),
            w.trigger(),
            w.trigger(),
        ),
        live,
        all_of(ends("failed", "failed"), disabled),
    ),
    "publish and notify": Scenario(
        followed, live, all_of(ends(OK), ends(OK, agent="follower"), notified("succeeded"))
    ),
    "cancel what waits": Scenario(running, lambda w: cancel(w, 1), ends(OK, "cancelled (requested)"), asks=True),
    "cancel what runs": Scenario(running, lambda w: cancel(w, 0), ends("cancelled (requested)", OK), asks=True),
    "cancel a retry": Scenario(retrying, lambda w: cancel(w, 0), ends("cancelled (requested)"), asks=True),
    "recover": Scenario(
        lambda w: (running(w), w.kill(w.rows()[0])), live, ends(OK, OK)
    ),
    "queue one": Scenario(
        displaced("queue_one"), lambda w: w.trigger(idempotency_key="k"), ends(OK, "skipped (coalesced)", OK), asks=True
    ),
    "tell of what was skipped": Scenario(
        lambda w: (displaced("queue_one")(w), follower(w, "skipped")), lambda w: w.trigger(idempotency_key="k"),
        all_of(ends(OK, "skipped (coalesced)", OK), ends(OK, agent="follower")), asks=True,
    ),
    "tell of what was cancelled": Scenario(
        lambda w: (three_queued(w), follower(w, "cancelled"), lifecycle.pause(w.ports, "agent"), w.drain()),
        lambda w: lifecycle.stop(w.ports, "agent"),
        all_of(
            is_("STOPPED", OK, "cancelled (stopped)", "cancelled (stopped)"), ends(OK, OK, agent="follower"),
        ), asks=True,
    ),
    "cancel running": Scenario(
        displaced("cancel_running"), lambda w: w.trigger(idempotency_key="k"),
        overlapped, asks=True,
    ),
    "expire": Scenario(
        lambda w: (
            w.agent(start_deadline_seconds=20, retries=RETRIES), w.hold("agent"), w.trigger(), w.drain(), w.trigger(),
            w.advance(30), w.kill(w.rows()[0]), w.holding.clear(),
        ),
        live,
        ends(OK, "skipped (expired)"),
    ),
    "tick": Scenario(every, live, ends(OK)),
    "a tick that is skipped": Scenario(
        lambda w: every(w, exclude={"dates": ["2026-01-05"]}), live, ends("skipped (excluded)")
    ),
    "catch up, coalesce": Scenario(
        lambda w: down_for_hours(w, "coalesce"), live, ends(*["skipped (coalesced)"] * 3, OK)
    ),
    "catch up, all": Scenario(lambda w: down_for_hours(w, "all"), live, ends(OK, OK, OK, OK)),
    "catch up, skip": Scenario(lambda w: down_for_hours(w, "skip"), live, ends(*["skipped (missed)"] * 4)),
    "start": Scenario(
        lambda w: w.agent(cron="* * * * *", enabled=False), lambda w: lifecycle.start(w.ports, "agent"),
        is_("ACTIVE", *[OK] * 7), asks=True,
    ),
    "pause": Scenario(every, lambda w: lifecycle.pause(w.ports, "agent"), is_("PAUSED", OK), asks=True),
    "resume": Scenario(
        lambda w: (plain(w), w.trigger(), w.trigger(), lifecycle.pause(w.ports, "agent")),
        lambda w: lifecycle.resume(w.ports, "agent"), is_("ACTIVE", OK, OK), asks=True,
    ),
    "stop": Scenario(
        busy, lambda w: lifecycle.stop(w.ports, "agent"),
        is_("STOPPED", "cancelled (stopped)", "cancelled (stopped)", "cancelled (stopped)"), asks=True,
    ),
    "stop and cancel": Scenario(
        busy, lambda w: lifecycle.stop(w.ports, "agent", cancel_running=True),
        is_("STOPPED", "cancelled (stopped)", "cancelled (stopped)", "cancelled (stopped)"), asks=True,
    ),
    "delete": Scenario(
        busy, delete, ends("cancelled (deleted)", "cancelled (deleted)", "cancelled (deleted)"), asks=True
    ),
    "edit": Scenario(
        every, lambda w: w.edit("agent", triggers=[{"name": "schedule", "cron": "*/2 * * * *"}]),
        is_("ACTIVE", OK, OK, OK, OK), asks=True,
    ),
    "redrive": Scenario(one_failed, redrive, ends(OK), asks=True),
    "backfill": Scenario(gap, fill, ends(OK, OK, OK), asks=True),
    "event": Scenario(
        subscribed, lambda w: w.send("x", event_id="e"), all_of(*[ends(OK, agent=name) for name in "abc"]), asks=True
    ),
    "fill a batch": Scenario(
        lambda w: gathers(w, batch={"size": 3, "window_seconds": 60}), send_three, gathered([["e0", "e1", "e2"]]),
        asks=True,
    ),
    "close a batch": Scenario(
        lambda w: (gathers(w, batch={"size": 9, "window_seconds": 30}), send_three(w)), live,
        gathered([["e0", "e1", "e2"]]),
    ),
    "debounce": Scenario(
        lambda w: gathers(w, debounce={"delay_seconds": 20, "max_delay_seconds": 60}), send_three,
        gathered([["e0", "e1", "e2"]]), asks=True,
    ),
    "debounce, leading": Scenario(
        lambda w: gathers(w, debounce={"delay_seconds": 20, "edge": "leading"}), send_three, gathered([["e0"]]),
        asks=True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_crash_after_any_write_loses_doubles_and_blocks_nothing(store_kind: str, name: str):
    scenario = SCENARIOS[name]
    for asks_again in {scenario.asks, False}:
        for writes in range(1, MOST_WRITES):
            try:
                if not played(store_kind, scenario, writes, asks_again=asks_again):
                    break
            except AssertionError as error:
                error.add_note(f"{name}: after write {writes}, {'asked again' if asks_again else 'not asked again'}")
                raise
        else:
            pytest.fail(f"{name} has more than {MOST_WRITES} writes")
