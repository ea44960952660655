"""A function may die after any of its calls to AWS: nothing is lost, doubled or stuck.

Each scenario is acted out again and again, in a stack of its own, and some function's process ends right after the
first call that writes, the second one, and so on. What it had in memory is gone. Redelivery by SQS and the watchdog do
their work. Whoever asked for something and got no answer asks again, and gets what was promised; or doesn't, and all is
sound nevertheless.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from tests.aws.harness.functions import Fuse
from tests.aws.harness.stack import Stack, statuses
from tests.aws.harness.stage import fails, held

from overnight.client import ApiError

pytestmark = pytest.mark.timeout(900)

Act = Callable[[Stack], object]
MOST_WRITES = 120
SETTLED_MINUTES = 8
"""A lease and the watchdog's bound after it, twice: the crash may meet the recovery, too."""
RETRIES = {"attempts": 4, "backoff_seconds": 2}


@dataclass(frozen=True)
class Scenario:
    """What there is, what is done, and what must have come of it when all has settled."""

    prepare: Act
    act: Act
    expect: Callable[[Stack], None]
    asks: bool = False
    """Whether `act` is somebody's request, which they may repeat."""
    minutes: float = SETTLED_MINUTES


def played(stack: Stack, scenario: Scenario, writes: int, *, asks_again: bool) -> str:
    """Act out the scenario with a crash after so many writes; where it crashed, if it came to that."""
    stack.deploy()
    scenario.prepare(stack)
    fuse = Fuse(writes)
    with stack.watched(fuse):
        if asks_again:
            with suppress(ApiError):
                scenario.act(stack)
            if fuse.blown:
                scenario.act(stack)
        else:
            with suppress(ApiError):
                scenario.act(stack)
        stack.live(minutes=scenario.minutes)
    stack.check()
    if asks_again or not fuse.blown or not scenario.asks:
        scenario.expect(stack)
    return fuse.blown


# Scenarios


def plain(stack: Stack) -> None:
    stack.agent(retries=RETRIES)


def three_queued(stack: Stack) -> None:
    plain(stack)
    for _ in range(3):
        stack.client.trigger("agent")


def running(stack: Stack) -> None:
    """One execution runs, another one waits."""
    plain(stack)
    stack.stage.says("agent", held)
    stack.client.trigger("agent", idempotency_key="first")
    stack.client.trigger("agent", idempotency_key="second")
    stack.beat()


def busy(stack: Stack) -> None:
    """A schedule, one execution that runs, one that waits."""
    stack.agent(retries=RETRIES, schedule={"cron": "0 * * * *"})
    stack.stage.says("agent", held)
    stack.client.trigger("agent", idempotency_key="first")
    stack.client.trigger("agent", idempotency_key="second")
    stack.beat()


def displaced(policy: str) -> Act:
    def prepare(stack: Stack) -> None:
        stack.agent(concurrency={"on_overlap": policy}, retries=RETRIES)
        stack.client.trigger("agent")
        stack.client.trigger("agent")

    return prepare


def hourly(stack: Stack) -> None:
    """It is a minute before the tick."""
    stack.agent(schedule={"cron": "0 * * * *"}, retries=RETRIES)
    stack.advance(minutes=59)


def every_twenty_seconds(stack: Stack) -> None:
    """Ticks within the minute go over the fire queue; after three of them it is over."""
    begin = f"{stack.now:%Y-%m-%dT%H}:01:20Z"
    end = f"{stack.now:%Y-%m-%dT%H}:02:00Z"
    stack.agent(triggers=[{"name": "often", "interval": {"seconds": 20}, "start_at": begin, "end_at": end}])


def down_for_hours(stack: Stack) -> None:
    stack.agent(schedule={"cron": "0 * * * *"}, retries=RETRIES)
    stack.advance(hours=4, minutes=30)


def gathering(stack: Stack) -> None:
    """Two events fill a batch; the third one waits until the window is over."""
    stack.agent(triggers=[{"name": "on", "event": {"name": "x", "batch": {"size": 2, "window_seconds": 30}}}])
    for number in range(3):
        stack.put_on_events_queue({"name": "x", "id": str(number)})


def subscribed(stack: Stack) -> None:
    for name in "abc":
        stack.agent(name, retries=RETRIES, triggers=[{"name": "on", "event": {"name": "x"}}])


def trigger(stack: Stack) -> None:
    stack.client.trigger("agent", idempotency_key="k")


def create(stack: Stack) -> None:
    if "agent" not in [agent["name"] for agent in stack.client.every_agent()]:
        stack.agent(schedule={"date": "2026-03-02T08:02:00Z"})


def delete(stack: Stack) -> None:
    if "agent" in [agent["name"] for agent in stack.client.every_agent()]:
        stack.client.delete_agent("agent")


def live(stack: Stack) -> None:
    stack.live(minutes=2)


def ends(*expected: str, agent: str = "agent") -> Callable[[Stack], None]:
    """Exactly these executions, in this order of creation."""

    def expect(stack: Stack) -> None:
        assert statuses(stack.rows(agent)) == list(expected)

    return expect


def all_of(*expectations: Callable[[Stack], None]) -> Callable[[Stack], None]:
    def expect(stack: Stack) -> None:
        for expectation in expectations:
            expectation(stack)

    return expect


def is_(status: str, schedules: int) -> Callable[[Stack], None]:
    """The agent's status, and how many of EventBridge's schedules are armed for it."""

    def expect(stack: Stack) -> None:
        assert stack.client.agent("agent")["status"] == status
        assert armed(stack) == schedules

    return expect


def armed(stack: Stack) -> int:
    return sum(1 for schedule in stack.account.schedules() if schedule.group_name.endswith("-runtime"))


def overlapped(stack: Stack) -> None:
    """The second one may have been quicker than the order to cancel it, where a crash held that up."""
    first, second, third = statuses(stack.rows())
    assert (first, third) == ("cancelled (overlap)", OK)
    assert second in {"cancelled (overlap)", OK}


def notified(stack: Stack) -> None:
    assert {headers["webhook-id"].rpartition("_")[2] for _, _, headers in stack.world.courier.posts} == {"failed"}


def gathered(stack: Stack) -> None:
    """Each event is told exactly once; one that a crash held up may be a batch of its own."""
    assert Counter(statuses(stack.rows())) in [Counter({"skipped (coalesced)": 3, OK: batches}) for batches in (2, 3)]
    told = [event["id"] for context in stack.stage.played for event in context.firing.payload["events"]]
    assert sorted(told) == ["0", "1", "2"]


def edit(**fields: Any) -> Act:
    return lambda stack: stack.client.edit_agent("agent", fields)


OK = "succeeded"
STOPPED = ["cancelled (stopped)"] * 2
SCENARIOS = {
    "create and arm": Scenario(lambda _: None, create, ends(OK), asks=True),
    "trigger": Scenario(plain, trigger, ends(OK), asks=True),
    "tick": Scenario(hourly, live, ends(OK), minutes=5),
    "ticks within the minute": Scenario(every_twenty_seconds, live, ends(OK, OK, OK)),
    "catch up": Scenario(down_for_hours, live, ends(*["skipped (coalesced)"] * 3, OK)),
    "batch": Scenario(gathering, live, gathered),
    "start and finish": Scenario(three_queued, live, ends(OK, OK, OK)),
    "retry": Scenario(
        lambda s: (three_queued(s), s.stage.says("agent", fails(), "done", fails())), live, ends(OK, OK, OK)
    ),
    "fail": Scenario(
        lambda s: (
            s.agent(retries={"attempts": 1}, notify={"on": ["failed"], "url": "https://example.com/"}),
            s.stage.says("agent", fails()),
            s.client.trigger("agent"),
        ),
        live,
        all_of(ends("failed"), notified),
    ),
    "recover": Scenario(lambda s: (running(s), s.kill("agent")), live, ends(OK, OK)),
    "cancel what waits": Scenario(
        running,
        lambda s: (s.client.cancel(s.rows()[1]["id"]), s.stage.let_go(s.stage.waiting[0]) if s.stage.waiting else None),
        ends(OK, "cancelled (requested)"),
        asks=True,
    ),
    "queue one": Scenario(displaced("queue_one"), trigger, ends(OK, "skipped (coalesced)", OK), asks=True),
    "cancel running": Scenario(displaced("cancel_running"), trigger, overlapped, asks=True),
    "start": Scenario(
        lambda s: s.agent(schedule={"cron": "0 0 * * *"}, enabled=False),
        lambda s: s.client.start("agent"), is_("ACTIVE", 1), asks=True,
    ),
    "pause": Scenario(
        lambda s: s.agent(schedule={"cron": "0 0 * * *"}),
        lambda s: s.client.pause("agent"), is_("PAUSED", 0), asks=True,
    ),
    "stop": Scenario(
        lambda s: (busy(s), s.kill("agent")), lambda s: s.client.stop("agent", cancel_running=True),
        all_of(is_("STOPPED", 0), ends(*STOPPED)), asks=True,
    ),
    "edit": Scenario(
        hourly, edit(triggers=[{"name": "daily", "cron": "0 0 * * *"}, {"name": "weekly", "cron": "0 0 * * 0"}]),
        all_of(is_("ACTIVE", 2), ends()), asks=True,
    ),
    "delete": Scenario(
        lambda s: (busy(s), s.kill("agent")), delete, lambda s: armed(s) == 0 or pytest.fail("still armed"), asks=True
    ),
    "event": Scenario(
        subscribed, lambda s: s.client.send_event("x", event_id="e"),
        all_of(*[ends(OK, agent=name) for name in "abc"]), asks=True,
    ),
    "event on the queue": Scenario(
        lambda s: (subscribed(s), s.put_on_events_queue({"name": "x", "id": "e"})), live,
        all_of(*[ends(OK, agent=name) for name in "abc"]),
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_crash_after_any_call_loses_doubles_and_blocks_nothing(stacks, name: str):
    scenario = SCENARIOS[name]
    for asks_again in {scenario.asks, False}:
        for writes in range(1, MOST_WRITES):
            where = ""
            stack = stacks()
            try:
                where = played(stack, scenario, writes, asks_again=asks_again)
            except AssertionError as error:
                error.add_note(f"{name}: after write {writes}, {'asked again' if asks_again else 'not asked again'}")
                raise
            finally:
                stack.close()
            if not where:
                break
        else:
            pytest.fail(f"{name} has more than {MOST_WRITES} writes")
