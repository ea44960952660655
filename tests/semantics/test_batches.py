"""Batches and debounces: many events become one execution, and each is accounted for in exactly one."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.flows import broken
from tests.support.fuse import Crash, blown, fuse
from tests.support.sound import sound
from tests.support.world import World, statuses

from overnight.core import lifecycle
from overnight.core.payloads import opened
from overnight.errors import LineFull, OvernightError
from overnight.executions import Execution

BATCH = {"batch": {"size": 3, "window_seconds": 60}}
TRAILING = {"debounce": {"delay_seconds": 10, "max_delay_seconds": 30}}
LEADING = {"debounce": {"delay_seconds": 10, "max_delay_seconds": 30, "edge": "leading"}}
SKIPPED = "skipped (coalesced)"


def gathers(world: World, how: dict[str, Any], agent: str = "agent", **fields: Any) -> None:
    """An agent with one trigger, `on`, that gathers events called `x`."""
    fields = {"concurrency": {"max_parallel": 9}} | fields
    world.agent(agent, triggers=[{"name": "on", "event": {"name": "x"} | how}], **fields)


def send(world: World, *numbers: int) -> None:
    for number in numbers:
        world.send("x", {"n": number}, event_id=f"e{number}")


def payload(world: World, row: Execution) -> dict[str, Any]:
    value = opened(world.ports.blobs, row.payload)
    assert isinstance(value, dict)
    return value


def batches(world: World, agent: str = "agent") -> list[Execution]:
    """The executions that events became."""
    return [row for row in world.rows(agent) if row.dedupe_key.startswith("batch:")]


def told(world: World, agent: str = "agent") -> list[list[int]]:
    """What numbers each of those was told, in order."""
    return [[event["data"]["n"] for event in payload(world, row)["events"]] for row in batches(world, agent)]


# Batches


def test_a_batch_starts_when_it_is_full(world: World):
    gathers(world, BATCH)
    send(world, 1, 2)
    world.drain()
    assert told(world) == []
    send(world, 3, 4)
    world.drain()
    assert told(world) == [[1, 2, 3]]
    assert [given.payload for given in world.flows.ran] == [
        {"events": [{"id": f"e{n}", "name": "x", "data": {"n": n}} for n in (1, 2, 3)]}
    ]


def test_a_batch_starts_when_its_window_is_over(world: World):
    gathers(world, BATCH)
    send(world, 1)
    world.advance(50)
    send(world, 2)
    world.live(9, step=1)
    assert told(world) == []
    world.live(1, step=1)
    assert told(world) == [[1, 2]]
    world.live(minutes=10)
    assert told(world) == [[1, 2]], "a window opens with an event, never by itself"


def test_each_event_has_a_record_that_names_the_execution_it_became(world: World):
    gathers(world, BATCH)
    sent = [world.send("x", {"n": n}) for n in range(3)]
    world.drain()
    (batch,) = batches(world)
    rows = [world.row(*each.execution_ids) for each in sent]
    assert statuses(rows) == [SKIPPED] * 3
    assert [row.into for row in rows] == [batch.id] * 3
    assert (batch.status, batch.kind, batch.trigger) == ("succeeded", "event", "on")
    assert batch.dedupe_key.startswith("batch:on:")
    assert world.heard("execution.skipped") == []
    world.check()


def test_the_same_event_again_joins_nothing(world: World):
    gathers(world, BATCH)
    send(world, 1, 1, 2, 1)
    world.live(minutes=1)
    send(world, 2)
    world.live(minutes=2)
    assert told(world) == [[1, 2]]


def test_batches_of_several_triggers_and_agents_stay_apart(world: World):
    gathers(world, BATCH, "one")
    triggers = [
        {"name": "odd", "event": {"name": "x", "filter": "odd"} | BATCH},
        {"name": "even", "event": {"name": "x"} | BATCH},
    ]
    world.agent("two", triggers=triggers, concurrency={"max_parallel": 9})
    for n in range(6):
        world.send("x", {"n": n, "odd": n % 2 == 1})
    world.live(minutes=2)
    assert told(world, "one") == [[0, 1, 2], [3, 4, 5]]
    assert {row.trigger: numbers for row, numbers in zip(batches(world, "two"), told(world, "two"), strict=True)} == {
        "even": [0, 2, 4],
        "odd": [1, 3, 5],
    }


def test_the_input_is_made_of_the_events_together(world: World):
    gathers(world, BATCH | {"input": "{input_value: join(', ', events[].data.name)}"})
    for name in ("a", "b", "c"):
        world.send("x", {"name": name})
    world.drain()
    assert world.flows.ran[0].input["input_value"] == "a, b, c"


def test_a_batch_is_refused_room_before_it_is_opened_and_never_afterwards(world: World):
    gathers(world, BATCH, concurrency={"max_parallel": 1, "queue_limit": 1})
    world.hold("agent")
    send(world, 1)
    for _ in range(2):
        world.trigger()
        world.drain()
    send(world, 2, 3)
    world.drain()
    assert told(world) == [[1, 2, 3]], "though the line is full"
    with pytest.raises(LineFull):
        send(world, 4)
    assert world.store.event("e4") is None
    while world.under:
        world.finish(next(iter(world.under)))
        world.drain()
    send(world, 4)
    world.check()


def test_a_skip_policy_skips_a_batch_as_one(world: World):
    gathers(world, BATCH, concurrency={"on_overlap": "skip"})
    world.hold("agent")
    world.trigger()
    world.drain()
    send(world, 1, 2, 3)
    world.drain()
    assert statuses(batches(world)) == ["skipped (overlap)"]


def test_agents_that_batch_what_follows_from_themselves_stop_at_the_depth(world: World):
    gathers(world, BATCH | {"name": "overnight.execution.*", "batch": {"size": 1, "window_seconds": 1}})
    world.trigger()
    world.live(minutes=5)
    assert len(batches(world)) <= 9
    assert "skipped (depth)" in statuses(world.rows())
    sound(world)


# Debounces


def test_a_burst_starts_one_execution_at_its_end(world: World):
    gathers(world, TRAILING)
    for n in range(3):
        send(world, n)
        world.live(9, step=1)
    assert told(world) == []
    world.live(1, step=1)
    assert told(world) == [[0, 1, 2]]
    assert payload(world, *batches(world))["count"] == 3


def test_a_burst_that_does_not_end_is_cut_off(world: World):
    gathers(world, TRAILING)
    for n in range(8):
        send(world, n)
        world.live(9, step=1)
    assert told(world) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_long_burst_tells_the_newest_hundred_events_and_counts_them_all(world: World):
    gathers(world, TRAILING)
    send(world, *range(120))
    world.live(11)
    assert told(world) == [list(range(20, 120))]
    assert payload(world, *batches(world))["count"] == 120
    assert {row.into for row in world.rows() if row.status == "skipped"} == {batches(world)[0].id}


def test_a_leading_debounce_runs_with_the_first_event_and_lets_the_burst_pass(world: World):
    gathers(world, LEADING)
    send(world, 1)
    world.drain()
    assert told(world) == [[1]]
    for n in (2, 3, 4):
        world.live(9, step=1)
        send(world, n)
    assert told(world) == [[1]]
    assert [row.into for row in world.rows() if row.status == "skipped"] == [batches(world)[0].id] * 4
    world.live(3, step=1)  # thirty seconds after the first
    send(world, 5)
    world.drain()
    assert told(world) == [[1], [5]]
    world.live(10, step=1)  # ten seconds after the last
    send(world, 6)
    world.drain()
    assert told(world) == [[1], [5], [6]]


def test_ten_times_the_delay_is_the_longest_burst_unless_it_is_said(world: World):
    gathers(world, {"debounce": {"delay_seconds": 2}})
    for n in range(30):
        send(world, n)
        world.live(1, step=1)
    assert told(world)[0] == list(range(20))


# What becomes of them when an agent changes


@pytest.mark.parametrize("how", [BATCH, TRAILING, LEADING], ids=["batch", "trailing", "leading"])
def test_of_a_paused_agent_what_was_gathered_waits_in_the_line(world: World, how: dict[str, Any]):
    gathers(world, how)
    send(world, 1)
    lifecycle.pause(world.ports, "agent")
    send(world, 2)
    world.live(minutes=90)
    assert statuses(batches(world)) == ["pending"] if how is not LEADING else ["succeeded"]
    lifecycle.resume(world.ports, "agent")
    world.live(minutes=1)
    assert statuses(batches(world)) == ["succeeded"]
    assert told(world) == [[1]]
    assert "skipped (paused)" in statuses(world.rows())
    sound(world)


@pytest.mark.parametrize(
    ("end", "status"),
    [(lifecycle.stop, "cancelled (stopped)"), (lifecycle.delete, "cancelled (deleted)")],
)
def test_what_was_gathered_is_cancelled_with_its_agent(world: World, end: Callable[..., object], status: str):
    gathers(world, BATCH)
    send(world, 1, 2)
    end(world.ports, "agent")
    assert statuses(batches(world)) == [status]
    assert told(world) == [[1, 2]]
    assert world.state().gathered == {}
    world.live(minutes=5)
    assert statuses(batches(world)) == [status]
    sound(world)


def test_what_was_gathered_runs_when_its_trigger_is_edited_or_taken_away(world: World):
    gathers(world, BATCH)
    send(world, 1)
    world.edit("agent", triggers=[{"name": "on", "event": {"name": "x"} | TRAILING}])
    send(world, 2)
    world.edit("agent", triggers=[])
    world.drain()
    assert told(world) == [[1], [2]]
    assert statuses(batches(world)) == ["succeeded"] * 2


def test_an_edit_of_something_else_leaves_alone_what_is_gathered(world: World):
    gathers(world, BATCH)
    send(world, 1)
    world.edit("agent", description="another")
    send(world, 2, 3)
    world.drain()
    assert told(world) == [[1, 2, 3]]


def test_a_batch_that_failed_can_be_redriven_and_keeps_its_events(world: World):
    from overnight.core import retry  # noqa: PLC0415

    gathers(world, BATCH, retries={"attempts": 1})
    world.flows.says("agent", broken())
    send(world, 1, 2, 3)
    world.drain()
    (row,) = batches(world)
    assert row.status == "failed"
    retry.redrive(world.ports, row.id)
    world.drain()
    assert [len(given.payload["events"]) for given in world.flows.ran] == [3, 3]  # type: ignore[index,call-overload,arg-type]


# The second clock, and crashes


def test_a_window_whose_message_is_lost_is_closed_by_the_watchdog(world: World):
    gathers(world, BATCH)
    send(world, 1)
    world.advance(61)
    for message in world.queue.receive(10, world.now):
        world.queue.done(message)
    world.watch()
    assert told(world) == []
    world.advance(30)
    world.watch()
    assert told(world) == [[1]]


def accounted(world: World, sent: set[int]) -> None:
    """Each event that was accepted is told to exactly one execution, and its record names that one."""
    sound(world)
    records = {row.dedupe_key: row for row in world.rows() if row.dedupe_key.startswith("event:")}
    assert {int(key.removeprefix("event:e")) for key in records} == sent
    taken = {key: row for key, row in records.items() if row.reason == "coalesced"}
    tellings = [(f"event:{event['id']}", row.id) for row in batches(world) for event in payload(world, row)["events"]]
    assert len(set(tellings)) == len(tellings)
    if any("debounce" in str(trigger.event) and "leading" in str(trigger.event) for trigger in _triggers(world)):
        assert set(tellings) <= {(key, row.into) for key, row in taken.items()}
        assert {row.into for row in taken.values()} == {row.id for row in batches(world)}
    else:
        assert sorted(tellings) == sorted((key, row.into) for key, row in taken.items())
    assert len({row.id for row in batches(world)}) == len(batches(world))


def _triggers(world: World) -> tuple[Any, ...]:
    return world.store.agent(world.subjects["agent"]).document.triggers


HOWS = {"batch": BATCH, "trailing": TRAILING, "leading": LEADING}


@pytest.mark.parametrize("end", [None, lifecycle.stop, lifecycle.delete], ids=["runs", "stopped", "deleted"])
@pytest.mark.parametrize("how", HOWS)
def test_a_crash_after_any_write_leaves_each_event_in_exactly_one_execution(
    store_kind: str, how: str, end: Callable[..., object] | None
):
    def act(world: World) -> None:
        send(world, 1, 2, 3, 4)
        world.advance(5)
        send(world, 5)
        if end:
            end(world.ports, world.subjects["agent"])
        world.live(minutes=2, step=5)

    for writes in range(1, 200):
        world = World(store_kind)
        gathers(world, HOWS[how])
        crashed = blown(world, writes, act, steps=True)
        world.live(minutes=4, step=10)
        sent = {n for n in range(1, 6) if world.store.event(f"e{n}")}
        if end is None:
            accounted(world, sent)
        else:
            sound(world)
            assert {row.into for row in world.rows() if row.into} == {row.id for row in batches(world)}
            assert world.state().gathered == {} or how == "leading"
        world.close()
        if not crashed:
            break
    else:
        pytest.fail("more writes than expected")
    assert writes > 10


def test_events_that_come_at_once_are_each_in_exactly_one_execution(world: World):
    gathers(world, {"batch": {"size": 7, "window_seconds": 60}}, concurrency={"on_overlap": "allow"})
    with ThreadPoolExecutor(8) as senders:
        list(senders.map(lambda n: send(world, n), [*range(100), *range(50)]))
    world.live(minutes=2)
    accounted(world, set(range(100)))
    assert sorted(map(len, told(world))) == [2, *[7] * 14]


events = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 12)),
    st.tuples(st.just("send"), st.integers(0, 12)),
    st.tuples(st.just("pass"), st.sampled_from([0, 1, 6, 11, 31, 61])),
    st.tuples(st.just("live"), st.sampled_from([0, 5, 12, 35])),
    st.tuples(st.just("back"), st.sampled_from([1, 7])),
    st.tuples(st.just("crash"), st.integers(1, 9)),
    st.tuples(st.just("edit"), st.sampled_from(sorted(HOWS))),
    st.tuples(st.sampled_from(["pause", "resume", "start"]), st.just(0)),
)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(how=st.sampled_from(sorted(HOWS)), what=st.lists(events, max_size=25))
def test_whatever_happens_each_event_is_in_exactly_one_execution(how: str, what: list[tuple[str, Any]]):
    world = World()
    gathers(world, HOWS[how])
    leading = how == "leading"
    try:
        for act, how_much in what:
            leading = leading or how_much == "leading"
            try:
                do(world, act, how_much)
            except Crash:
                world.restart()
            except OvernightError:
                continue
        world.restart()
        lifecycle.start(world.ports, "agent")
        world.live(minutes=5, step=20)
        sent = {n for n in range(13) if (event := world.store.event(f"e{n}")) and event.done}
        if leading:
            sound(world)
            coalesced = [row for row in world.rows() if row.reason == "coalesced"]
            assert {row.into for row in coalesced} == {row.id for row in batches(world)}
            tellings = [event["id"] for row in batches(world) for event in payload(world, row)["events"]]
            assert len(set(tellings)) == len(tellings)
        else:
            accounted(world, sent)
    finally:
        world.close()


def do(world: World, act: str, how_much: Any) -> None:
    match act:
        case "send":
            send(world, how_much)
        case "pass":
            world.advance(how_much)
        case "back":  # clocks are set back
            world.now -= timedelta(seconds=how_much)
        case "live":
            world.live(how_much, step=5)
        case "crash":
            world.watch_writes(fuse(how_much))
        case "edit":
            world.edit("agent", triggers=[{"name": "on", "event": {"name": "x"} | HOWS[how_much]}])
        case verb:
            getattr(lifecycle, verb)(world.ports, "agent")
