"""Executions: one durable record for each accepted firing, and what becomes of it."""

import hashlib
import re
from typing import Any

import pytest
from tests.support.flows import broken, failed, ok
from tests.support.world import World, instant, statuses

from overnight.core import lifecycle, retry, run
from overnight.core.backfill import backfill
from overnight.core.payloads import opened
from overnight.core.webhooks.receive import receive
from overnight.core.webhooks.schemes import Delivery
from overnight.errors import NotRedrivable
from overnight.executions import Execution, Message
from overnight.ports import RunReport, RunRequest
from overnight.webhooks import hook_id


def test_an_execution_is_recorded_before_it_runs_and_keeps_what_it_was_given_and_gave(world: World):
    world.agent(input={"input_value": "by default", "tweaks": {"llm": {"temperature": 0}}})
    row = world.trigger(input={"input_value": "now"}, payload={"from": "me"})
    assert (row.status, row.kind, row.attempt, row.created_at) == ("pending", "manual", 0, world.now)
    world.flows.says("agent", ok("all is well"))
    world.advance(3)
    world.drain()
    row = world.row(row)
    assert (row.status, row.started_at, row.finished_at) == ("succeeded", world.now, world.now)
    assert opened(world.ports.blobs, row.output) == {"text": "all is well", "outputs": {}}
    (given,) = world.flows.ran
    assert given.input["input_value"] == "now"
    assert given.input["tweaks"] == {"llm": {"temperature": 0}}
    assert given.payload == {"from": "me"}
    assert given.session_id == row.id


@pytest.mark.parametrize(
    ("given", "of_the_trigger", "asked", "session"),
    [
        ({}, None, {}, "execution"),
        ({"share_session": True}, None, {}, "agent"),
        ({"share_session": True}, False, {}, "execution"),
        ({}, True, {}, "agent"),
        ({"session_id": "its own"}, True, {}, "its own"),
        ({"session_id": "its own"}, None, {"session_id": "of the firing"}, "of the firing"),
    ],
)
def test_a_session_is_that_of_the_execution_unless_it_is_shared_or_given(
    world: World, given: dict[str, Any], of_the_trigger: bool | None, asked: dict[str, Any], session: str
):
    on = {"name": "x", "input": "asked"} if asked else {"name": "x"}
    agent = world.agent(input=given, triggers=[{"name": "on", "event": on, "share_session": of_the_trigger}])
    world.send("x", {"asked": asked})
    world.drain()
    (row,) = world.rows()
    (ran,) = world.flows.ran
    assert ran.session_id == {"execution": row.id, "agent": agent.id}.get(session, session)


def test_what_is_large_is_held_elsewhere_and_read_back(world: World):
    world.agent()
    large = {"text": "x" * 50_000}
    world.flows.says("agent", RunReport(ok().outcome, text="y" * 50_000))
    row = world.trigger(payload=large)
    world.drain()
    row = world.row(row)
    assert len(row.model_dump_json()) < 4_096
    assert opened(world.ports.blobs, row.payload) == large
    assert opened(world.ports.blobs, row.output) == {"text": "y" * 50_000, "outputs": {}}
    assert world.flows.ran[0].payload == large


def test_variables_are_resolved_at_run_time_and_never_stored(world: World):
    world.agent(variables={"WORD": "env:GREETING"})
    row = world.trigger()
    world.drain()
    assert world.flows.ran[0].variables == {"WORD": "hello"}
    assert "hello" not in world.row(row).model_dump_json()
    assert "hello" not in repr(world.flows.ran[0])


def test_a_missing_variable_fails_at_once_and_says_how_to_set_it(world: World):
    world.agent(variables={"KEY": "secret:openai"})
    row = world.trigger()
    world.live(minutes=10)
    row = world.row(row)
    assert (row.status, row.attempt) == ("failed", 1)
    assert row.failure
    assert "overnight secrets set openai" in row.failure.message
    assert not world.flows.ran


# Dedupe


def fired(world: World, kind: str) -> Execution:
    """The execution of a firing of that kind."""
    match kind:
        case "tick":
            world.at("2026-01-05 08:00")
            world.beat()
        case "webhook":
            receive(world.ports, hook_id(world.subjects["agent"], "in"), Delivery({"idempotency-key": "d-1"}, b""))
        case "event":
            world.send("x", event_id="e-1")
        case "batch":
            world.send("y", event_id="e-1")
            world.drain()
        case "keyed":
            world.trigger(idempotency_key="k-1")
        case "manual":
            world.trigger()
        case "backfill":
            backfill(world.ports, "agent", instant("2026-01-04 00:00"), instant("2026-01-05 00:00"))
    return world.rows()[-1]


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("tick", "tick:schedule:2026-01-05T08:00:00Z"),
        ("webhook", "hook:in:d-1"),
        ("event", "event:e-1"),
        ("batch", "batch:gathers:[0-9]+"),
        ("keyed", "key:k-1"),
        ("manual", "manual:[0-9a-f]{32}"),
        ("backfill", "backfill:[0-9a-f]{16}:schedule:2026-01-04T08:00:00Z"),
    ],
)
def test_a_firing_is_known_by_its_dedupe_key_and_its_execution_by_a_hash_of_agent_and_key(
    world: World, kind: str, key: str
):
    triggers: list[dict[str, object]] = [
        {"name": "in", "webhook": {"signature": "none"}},
        {"name": "on", "event": {"name": "x"}},
        {"name": "gathers", "event": {"name": "y", "batch": {"size": 1, "window_seconds": 60}}},
    ]
    agent = world.agent(cron="0 8 * * *", triggers=triggers)
    row = fired(world, kind)
    assert re.fullmatch(key, row.dedupe_key)
    assert row.id == hashlib.sha256(f"{agent.id}\n{row.dedupe_key}".encode()).hexdigest()[:32]


# The line


def test_the_line_is_first_in_first_out(world: World):
    world.agent()
    rows = [world.trigger() for _ in range(5)]
    world.drain()
    assert [given.execution.id for given in world.flows.ran] == [row.id for row in rows]


def test_never_more_than_max_parallel_run_at_once(world: World):
    world.agent(concurrency={"max_parallel": 2})
    world.hold("agent")
    rows = [world.trigger() for _ in range(5)]
    world.drain()
    assert len(world.under) == 2
    for row in rows:
        world.finish(row)
        world.drain()
        assert len(world.under) <= 2
    assert statuses(world.rows()) == ["succeeded"] * 5


def test_allow_runs_everything_at_once(world: World):
    world.agent(concurrency={"on_overlap": "allow"})
    world.hold("agent")
    for _ in range(5):
        world.trigger()
    world.drain()
    assert len(world.under) == 5


def test_skip_records_what_it_leaves_out(world: World):
    world.agent(concurrency={"on_overlap": "skip"})
    world.hold("agent")
    first = world.trigger()
    world.drain()
    world.trigger()
    world.finish(first)
    assert statuses(world.rows()) == ["succeeded", "skipped (overlap)"]


def test_queue_one_keeps_the_newest_and_names_it_in_those_it_replaced(world: World):
    world.agent(concurrency={"on_overlap": "queue_one"})
    world.hold("agent")
    first, *replaced, newest = [world.trigger() for _ in range(4)]
    assert statuses(world.rows()) == ["pending", "skipped (coalesced)", "skipped (coalesced)", "pending"]
    assert [world.row(row).into for row in replaced] == [replaced[1].id, newest.id]
    world.drain()
    world.finish(first)
    world.drain()
    world.finish(newest)
    world.check()


def test_cancel_running_cancels_the_oldest_and_starts_the_newest_when_its_worker_lets_go(world: World):
    world.agent(concurrency={"on_overlap": "cancel_running"})
    world.hold("agent")
    old = world.trigger()
    world.drain()
    new = world.trigger()
    world.live(5)
    assert statuses(world.rows()) == ["cancelled (overlap)", "pending"]
    assert world.flows.stopped == [old.id]
    assert set(world.state().running) == {old.id}
    world.finish(old)
    world.drain()
    assert statuses(world.rows()) == ["cancelled (overlap)", "running"]
    world.finish(new)
    world.check()


def test_cancel_running_starts_the_newest_when_the_lease_of_the_cancelled_one_ends(world: World):
    world.agent(concurrency={"on_overlap": "cancel_running"})
    world.hold("agent")
    old = world.trigger()
    world.drain()
    lease = world.row(old).lease
    assert lease
    world.advance(5)
    new = world.trigger()
    world.live((lease.until - world.now).total_seconds() - 1, step=1)
    assert statuses(world.rows()) == ["cancelled (overlap)", "pending"]
    world.live(31, step=1)
    assert statuses(world.rows()) == ["cancelled (overlap)", "running"]
    # The old worker lets go at last, and changes nothing.
    world.finish(old)
    assert set(world.state().running) == {new.id}
    world.finish(new)
    assert statuses(world.rows()) == ["cancelled (overlap)", "succeeded"]


def test_cancel_running_takes_back_what_no_worker_has_taken_up(world: World):
    world.agent(concurrency={"on_overlap": "cancel_running"})
    world.trigger()
    world.trigger()
    world.drain()
    assert statuses(world.rows()) == ["cancelled (overlap)", "succeeded"]
    assert len(world.flows.ran) == 1


# Deadlines


def test_what_could_not_start_in_time_is_skipped(world: World):
    world.agent(start_deadline_seconds=60)
    world.hold("agent")
    first, _ = world.trigger(), world.trigger()
    world.live(59)
    assert statuses(world.rows()) == ["running", "pending"]
    world.live(31)
    assert statuses(world.rows()) == ["running", "skipped (expired)"]
    world.finish(first)
    world.check()


def test_what_has_a_slot_but_no_worker_in_time_is_skipped_and_its_slot_freed(world: World):
    world.agent(start_deadline_seconds=60, retention_days=90)
    late, next_ = world.trigger(), world.trigger()
    world.advance(30)
    fresh = world.trigger()
    world.advance(30)
    world.drain()
    assert statuses(world.rows()) == ["skipped (expired)", "skipped (expired)", "succeeded"]
    assert [world.row(row).status for row in (late, next_, fresh)] == ["skipped", "skipped", "succeeded"]
    kept = world.row(late).retain_until
    assert kept
    assert (kept - world.now).days == 90
    assert not world.state().running


def test_a_retry_has_no_deadline_to_start_by(world: World):
    world.agent(start_deadline_seconds=60, retries={"attempts": 2, "backoff_seconds": 300, "jitter": "none"})
    world.flows.says("agent", failed())
    world.trigger()
    world.live(minutes=10)
    assert statuses(world.rows()) == ["succeeded"]


# What is pinned


def test_retries_use_the_definition_of_admission_and_so_does_a_redrive(world: World):
    world.agent(input={"input_value": "old"}, retries={"attempts": 2, "backoff_seconds": 10})
    world.flows.says("agent", failed(), failed())
    row = world.trigger()
    world.drain()
    world.edit("agent", input={"input_value": "new"}, retries={"attempts": 9})
    world.live(60)
    assert world.row(row).status == "failed"
    retry.redrive(world.ports, row.id)
    world.drain()
    assert [given.input["input_value"] for given in world.flows.ran] == ["old", "old", "old"]
    assert world.row(row).agent_version == 1


def test_an_edit_while_it_waits_does_not_reach_it(world: World):
    world.agent(input={"input_value": "old"})
    world.trigger()
    world.edit("agent", input={"input_value": "new"})
    world.trigger()
    world.drain()
    assert [given.input["input_value"] for given in world.flows.ran] == ["old", "new"]


# Terminal statuses


def every_verb(world: World, id_: str) -> None:
    row = world.row(id_)
    run.cancel(world.ports, id_)
    for kind in ("run", "retry"):
        for attempt in range(1, row.attempt + 3):
            run.run(world.ports, Message(kind=kind, execution_id=id_, agent_id=row.agent_id, attempt=attempt))
    for attempt in range(1, row.attempt + 2):
        agent = world.store.agent_version(row.agent_id, row.agent_version)
        late = run.Started(row.model_copy(update={"attempt": attempt}), agent)
        run.finish(world.ports, [run.Ended(late, ok("late"))])
    lifecycle.stop(world.ports, row.agent_id, cancel_running=True)


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled", "skipped (paused)"])
def test_a_terminal_execution_never_changes(world: World, end: str):
    world.agent(triggers=[{"name": "on", "event": {"name": "x"}}])
    world.flows.says("agent", broken() if end == "failed" else ok())
    if end == "skipped (paused)":
        lifecycle.pause(world.ports, "agent")
    world.send("x")
    if end == "cancelled":
        run.cancel(world.ports, world.rows()[0].id)
    world.drain()
    (before,) = world.rows()
    assert statuses([before])[0].startswith(end)
    if end != "failed":
        with pytest.raises(NotRedrivable):
            retry.redrive(world.ports, before.id)
    every_verb(world, before.id)
    world.live(minutes=10)
    assert world.rows() == [before]


# Cancelling


def test_cancelling_what_waits_takes_it_out_of_the_line_at_once(world: World):
    world.agent()
    world.hold("agent")
    first, second, third = [world.trigger() for _ in range(3)]
    world.drain()
    assert run.cancel(world.ports, second.id).status == "cancelled"
    assert [waiting.id for waiting in world.state().line] == [third.id]
    world.finish(first)
    world.drain()
    world.finish(third)
    assert statuses(world.rows()) == ["succeeded", "cancelled (requested)", "succeeded"]


def test_cancelling_what_runs_is_recorded_at_once_and_frees_the_slot_when_the_worker_lets_go(world: World):
    world.agent()
    world.hold("agent")
    first, second = world.trigger(), world.trigger()
    world.drain()
    run.cancel(world.ports, first.id)
    assert world.row(first).status == "cancelled"
    assert world.flows.stopped == [first.id]
    # Messages that come twice, and rounds of the watchdog, free nothing either.
    run.run(world.ports, Message(kind="run", execution_id=first.id, agent_id=first.agent_id, attempt=1))
    world.live(15, step=1)
    assert statuses(world.rows()) == ["cancelled (requested)", "pending"]
    world.finish(first, ok("too late"))
    world.drain()
    assert statuses(world.rows()) == ["cancelled (requested)", "running"]
    world.finish(second)
    assert [str(attempt.outcome) for attempt in world.store.attempts(first.id)] == ["cancelled"]


def test_cancelling_what_runs_frees_the_slot_at_the_leases_end_when_the_worker_is_gone(world: World):
    world.agent()
    world.hold("agent")
    first, second = world.trigger(), world.trigger()
    world.drain()
    world.kill(first)
    run.cancel(world.ports, first.id)
    world.live(seconds=world.ports.lease_seconds + 30, step=2)
    assert statuses(world.rows()) == ["cancelled (requested)", "running"]
    world.finish(second)


def test_cancelling_what_waits_for_a_retry_ends_it(world: World):
    world.agent(retries={"attempts": 3, "backoff_seconds": 60, "jitter": "none"})
    world.flows.says("agent", failed())
    row = world.trigger()
    world.drain()
    assert world.row(row).status == "retrying"
    run.cancel(world.ports, row.id)
    world.live(minutes=10)
    assert statuses(world.rows()) == ["cancelled (requested)"]
    assert len(world.flows.ran) == 1


def test_a_cancel_during_the_run_wins_over_its_outcome(world: World):
    world.agent()
    row = world.trigger()

    def cancelled_meanwhile(request: RunRequest) -> RunReport:
        run.cancel(world.ports, request.execution.id)
        return ok()

    world.flows.says("agent", cancelled_meanwhile)
    world.drain()
    assert statuses([world.row(row)]) == ["cancelled (requested)"]
    assert world.heard("attempt.fenced")
    assert not world.state().running
