"""Events: durable first, then one execution for every agent that subscribes; agents that follow agents."""

from itertools import pairwise
from typing import Any

import pytest
from tests.support.flows import broken, failed
from tests.support.fuse import Crash, blown, fuse
from tests.support.world import World, statuses

from overnight.core import events, lifecycle, run
from overnight.core.payloads import opened
from overnight.errors import Invalid, LineFull
from overnight.executions import Event


def follows(world: World, agent: str, *names: str, **fields: Any) -> None:
    """An agent that subscribes to these events, by one trigger each."""
    triggers = [{"name": f"on-{n}", "event": {"name": name}} for n, name in enumerate(names)]
    world.agent(agent, **{"triggers": triggers} | fields)


def test_every_agent_that_subscribes_gets_one_execution(world: World):
    follows(world, "a", "dataset.created")
    follows(world, "b", "dataset.created", "dataset.*")
    follows(world, "c", "dataset.deleted")
    sent = world.send("dataset.created", {"size": 3})
    assert [len(world.rows(agent)) for agent in "abc"] == [1, 1, 0]
    assert set(sent.execution_ids) == {row.id for row in world.rows(None)}
    world.drain()
    for given in world.flows.ran:
        assert given.payload == {"id": sent.event.id, "name": "dataset.created", "data": {"size": 3}}


@pytest.mark.parametrize(
    ("subscribed", "name", "reached"),
    [
        ("dataset.created", "dataset.created", True),
        ("dataset.created", "dataset.created.now", False),
        ("dataset.*", "dataset.created", True),
        ("dataset.*", "dataset.created.now", True),
        ("dataset.*", "dataset", False),
        ("dataset.*", "datasets.created", False),
        ("dataset.created.*", "dataset.created", False),
        ("Dataset.created", "dataset.created", False),
    ],
)
def test_a_subscription_is_a_name_or_a_prefix_that_ends_at_a_dot(
    world: World, subscribed: str, name: str, reached: bool
):
    follows(world, "a", subscribed)
    assert bool(world.send(name).execution_ids) is reached


@pytest.mark.parametrize(
    ("filter_", "data", "reached"),
    [
        ("size > `0`", {"size": 1}, True),
        ("size > `0`", {"size": 0}, False),
        ("size > `0`", {"size": "many"}, False),
        ("size > `0`", None, False),
        ("size", {"size": 0}, True),  # JMESPath: a number is true
        ("tags", {"tags": []}, False),
        ("tags", {"tags": ["x"]}, True),
        ("name", {"name": ""}, False),
        ("length(size)", {"size": 1}, False),  # an error of the expression lets nothing through
    ],
)
def test_a_filter_lets_through_what_it_finds_true(world: World, filter_: str, data: Any, reached: bool):
    world.agent(triggers=[{"name": "on", "event": {"name": "x", "filter": filter_}}])
    assert bool(world.send("x", data).execution_ids) is reached


def test_the_first_trigger_that_matches_wins_and_makes_the_input(world: World):
    triggers = [
        {"name": "large", "event": {"name": "dataset.*", "filter": "size > `100`", "input": "{input_value: 'large'}"}},
        {"name": "any", "event": {"name": "dataset.created", "input": "summary"}},
        {"name": "never", "event": {"name": "dataset.created", "input": "{input_value: 'never'}"}},
    ]
    world.agent(triggers=triggers, input={"input_value": "by default"})
    world.send("dataset.created", {"size": 101, "summary": "x"})
    world.send("dataset.created", {"size": 1, "summary": "one row"})
    world.send("dataset.created", {"size": 1})
    world.drain()
    assert [row.trigger for row in world.rows()] == ["large", "any", "any"]
    assert [given.input["input_value"] for given in world.flows.ran] == ["large", "one row", "by default"]


def test_the_same_event_again_is_the_same_executions(world: World):
    follows(world, "a", "x")
    follows(world, "b", "x")
    first = world.send("x", event_id="e")
    world.drain()
    again = world.send("x", event_id="e")
    world.drain()
    assert (first.duplicate, again.duplicate) == (False, True)
    assert again.execution_ids == first.execution_ids
    assert len(world.flows.ran) == 2
    assert world.send("x").execution_ids != first.execution_ids


@pytest.mark.parametrize("name", ["", "a b", ".x", "x.", "a..b", "dataset.*"])
def test_a_name_that_is_none_is_refused_and_nothing_kept(world: World, name: str):
    with pytest.raises(Invalid):
        world.send(name)
    assert world.store.pending_events(world.now, 10) == []


def test_an_event_is_refused_before_anything_is_kept_when_a_line_is_full(world: World):
    follows(world, "a", "x", concurrency={"queue_limit": 1})
    follows(world, "b", "x", concurrency={"max_parallel": 9})
    world.send("x")
    world.send("x", event_id="accepted")
    with pytest.raises(LineFull):
        world.send("x", event_id="e")
    assert world.store.event("e") is None
    assert [len(world.rows(agent)) for agent in "ab"] == [2, 2]
    assert world.send("x", event_id="accepted").duplicate, "what was accepted once is never refused"
    world.drain()
    sent = world.send("x", event_id="e")
    assert not sent.duplicate
    assert [len(world.rows(agent)) for agent in "ab"] == [3, 3]


def fills_up(world: World, agent: str, *, before: str) -> None:
    """Somebody else fills the agent's line just after this verb."""

    def after(verb: str) -> None:
        if verb == before:
            while True:
                try:
                    world.trigger(agent)
                except LineFull:
                    break

    world.watch_writes(after)


def test_what_comes_where_nobody_can_be_refused_waits_for_room(world: World):
    """From a queue, there is nobody to be told of a full line: the event is kept, and reaches the others at once."""
    follows(world, "a", "x", concurrency={"queue_limit": 1})
    follows(world, "b", "x")
    world.send("x")
    world.send("x")
    event = Event(id="taken", name="x", at=world.now)
    reached = events.take(world.ports, event)
    assert len(reached) == 2
    assert [len(world.rows(agent)) for agent in "ab"] == [2, 3]
    world.drain()
    world.live(minutes=2)
    assert len(world.rows("a")) == 3
    assert events.take(world.ports, event) == (), "it is done with"
    assert [len(world.rows(agent)) for agent in "ab"] == [3, 3]
    world.check()


def test_a_lifecycle_event_that_nobody_follows_is_not_kept(world: World):
    """There is one for each execution."""
    for name in ("overnight.execution.succeeded", "x"):
        assert events.take(world.ports, Event(id=name, name=name, at=world.now)) == ()
    assert world.store.event("overnight.execution.succeeded") is None
    assert world.store.event("x") is not None


def test_a_line_that_fills_up_meanwhile_delays_the_event_for_its_agent_alone(world: World):
    follows(world, "a", "x", concurrency={"queue_limit": 1})
    follows(world, "b", "x")
    world.hold("a")
    fills_up(world, "a", before="store.put_event")
    sent = world.send("x", event_id="e")
    world.drain()
    assert statuses(world.rows("b")) == ["succeeded"]
    assert "event" not in {row.kind for row in world.rows("a")}
    world.live(minutes=30)
    assert "event" not in {row.kind for row in world.rows("a")}
    for _ in range(2):
        world.finish(next(iter(world.under)))
        world.drain()
    world.live(minutes=11)
    reached = next(row for row in world.rows("a") if row.kind == "event")
    assert set(sent.execution_ids) == {reached.id, world.rows("b")[0].id}
    assert len(world.rows("b")) == 1
    event = world.store.event("e")
    assert event is not None
    assert event.done
    world.check()


def test_events_that_wait_for_room_starve_no_others(world: World):
    follows(world, "full", "x", concurrency={"queue_limit": 1})
    follows(world, "free", "y", concurrency={"on_overlap": "allow"})
    world.hold("full")
    for _ in range(2):
        world.trigger("full")
        world.drain()
    for n in range(150):  # more than a round of the watchdog takes
        world.store.put_event(Event(id=f"x{n:03}", name="x", at=world.now))
    world.store.put_event(Event(id="y", name="y", at=world.now))
    world.live(minutes=2)
    assert statuses(world.rows("free")) == ["succeeded"]
    assert len(world.rows("full")) == 2


def test_an_event_that_waits_for_room_is_tried_less_often_the_longer_it_waits_up_to_ten_minutes(world: World):
    follows(world, "a", "x", concurrency={"queue_limit": 1})
    world.hold("a")
    world.send("x")
    world.send("x")
    world.drain()
    events.take(world.ports, Event(id="taken", name="x", at=world.now))
    tried = [world.now]
    for _ in range(240):
        world.advance(30)
        world.renew()
        before = len(world.heard("execution.refused"))
        world.watch()
        if len(world.heard("execution.refused")) > before:
            tried.append(world.now)
    gaps = [(b - a).total_seconds() for a, b in pairwise(tried)]
    assert gaps == sorted(gaps)
    assert gaps[0] <= 60
    assert gaps[-3:] == [630] * 3, "ten minutes, and what the watchdog leaves to others"


def test_a_lifecycle_event_waits_for_room_too(world: World):
    follows(world, "then", "overnight.execution.succeeded", concurrency={"queue_limit": 1})
    world.agent("first")
    world.hold("then")
    for _ in range(2):
        world.trigger("then")
        world.drain()
    world.trigger("first")
    world.drain()
    assert [row.kind for row in world.rows("then")] == ["manual", "manual"]
    for _ in range(2):
        world.finish(next(iter(world.under)))
        world.drain()
    world.live(minutes=2)
    assert "event" in {row.kind for row in world.rows("then")}


def test_an_event_reaches_more_subscribers_than_a_page_has(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(events, "PAGE", 3)
    for n in range(10):
        follows(world, f"a{n}", "x", "x.*")
    sent = world.send("x", event_id="e")
    assert len(set(sent.execution_ids)) == 10
    assert world.send("x", event_id="e").execution_ids == sent.execution_ids
    assert {len(world.rows(f"a{n}")) for n in range(10)} == {1}


def test_a_fan_out_goes_on_after_the_last_page_that_was_noted(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(events, "PAGE", 2)
    agents = [f"a{n}" for n in range(7)]
    for agent in agents:
        follows(world, agent, "x")
    stored = fuse(5)  # the event, two executions, the note of it, one execution
    world.watch_writes(lambda verb: stored(verb) if verb.startswith("store.") else None)
    with pytest.raises(Crash):
        world.send("x", event_id="e")
    world.restart()
    pending = world.store.event("e")
    assert pending is not None
    assert pending.after == sorted(world.subjects.values())[1]
    world.live(minutes=1)
    assert [statuses(world.rows(agent)) for agent in agents] == [["succeeded"]] * 7


def test_an_agent_that_subscribes_later_gets_no_event_that_was_done(world: World):
    follows(world, "a", "x")
    first = world.send("x", event_id="e")
    follows(world, "b", "x")
    again = world.send("x", event_id="e")
    assert again.execution_ids == first.execution_ids
    assert world.rows("b") == []


def test_the_event_that_counts_is_the_first_of_its_id(world: World):
    follows(world, "a", "x")
    world.send("x", {"n": 1}, event_id="e")
    assert world.send("x", {"n": 2}, event_id="e").event.data == {"n": 1}


@pytest.mark.parametrize("name", ["s3.ObjectCreated.Put", "aws:ec2/state-change", "order_paid", "a.b:c/d-e_f.1"])
def test_what_can_be_sent_can_be_subscribed_to(world: World, name: str):
    follows(world, "exactly", name)
    follows(world, "all", f"{name.rpartition('.')[0] or name}.*")
    assert len(world.send(name).execution_ids) == (2 if "." in name else 1)


def test_an_event_reaches_agents_by_their_status(world: World):
    for agent in ("active", "paused", "stopped"):
        follows(world, agent, "x")
    lifecycle.pause(world.ports, "paused")
    lifecycle.stop(world.ports, "stopped")
    world.send("x")
    assert [statuses(world.rows(agent)) for agent in ("active", "paused", "stopped")] == [
        ["pending"], ["skipped (paused)"], [],
    ]  # fmt: skip


def test_agents_follow_agents(world: World):
    world.agent("first")
    follows(world, "then", "overnight.execution.succeeded", concurrency={"on_overlap": "allow"})
    follows(world, "otherwise", "overnight.execution.failed")
    world.flows.says("first", broken())
    failed = world.trigger("first")
    world.drain()
    assert statuses(world.rows("otherwise")) == ["succeeded"]
    payload = opened(world.ports.blobs, world.rows("otherwise")[0].payload)
    assert isinstance(payload, dict)
    data = payload["data"]
    assert isinstance(data, dict)
    assert (data["execution_id"], data["agent"], data["error"]) == (failed.id, "first", "the package is missing")


def test_a_chain_of_agents_that_is_deeper_than_eight_stops(world: World):
    """An agent that follows itself."""
    follows(world, "agent", "start", "overnight.execution.succeeded")
    world.send("start")
    world.live(minutes=10)
    assert [row.depth for row in world.rows()] == list(range(10))
    assert statuses(world.rows()) == ["succeeded"] * 9 + ["skipped (depth)"]
    world.check()


def test_what_is_skipped_or_cancelled_is_told_too(world: World):
    follows(world, "agent", "x", concurrency={"on_overlap": "skip"})
    follows(world, "other", "overnight.execution.skipped", "overnight.execution.cancelled")
    world.send("x")
    world.send("x")
    lifecycle.stop(world.ports, "agent", cancel_running=True)
    world.drain()
    assert [row.trigger for row in world.rows("other")] == ["on-0", "on-1"]


@pytest.mark.parametrize("why", ["stopped", "requested"])
def test_what_is_cancelled_while_it_waits_for_its_retry_is_told_too(world: World, why: str):
    world.agent(retries={"attempts": 2, "backoff_seconds": 10, "jitter": "none"})
    follows(world, "other", "overnight.execution.cancelled")
    world.flows.says("agent", failed())
    row = world.trigger()
    world.drain()
    world.advance(1)
    if why == "stopped":
        lifecycle.stop(world.ports, "agent")
    else:
        run.cancel(world.ports, row.id)
    world.live(60)
    assert statuses(world.rows("agent")) == [f"cancelled ({why})"]
    assert [row.trigger for row in world.rows("other")] == ["on-0"]


def test_a_fan_out_that_a_crash_interrupts_is_carried_on_by_the_watchdog(store_kind: str):
    agents = "abcd"
    for writes in range(1, 20):
        world = World(store_kind)
        for agent in agents:
            follows(world, agent, "x")
        crashed = blown(world, writes, lambda world: world.send("x", event_id="e"), steps=True)
        world.live(minutes=1)
        assert [statuses(world.rows(agent)) for agent in agents] == [["succeeded"]] * 4, f"after {writes} writes"
        assert world.store.pending_events(world.now, 10) == []
        world.check(settling=world.now - world.began)
        world.close()
        if not crashed:
            break
    else:
        pytest.fail("more writes than expected")
    each = 3 if store_kind == "dynamodb" else 1  # its row, the state, the message
    assert writes == 1 + 4 * each + 2, "the event, four executions, and that it is done"
