"""Attempts, retries, recovery: fencing, leases, budgets, drains, and the order at the end."""

import random
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.flows import broken, failed, interrupted, ok, timed_out
from tests.support.fuse import blown
from tests.support.world import World, instant, statuses

from overnight.core import lifecycle, retry, run
from overnight.executions import AttemptOutcome, Execution, Message, Usage
from overnight.ports import RunReport, RunRequest

RETRY = {"attempts": 3, "backoff_seconds": 60, "jitter": "none", "backoff": "fixed"}


def outcomes(world: World, row: Execution) -> list[tuple[int, str]]:
    return [(attempt.number, str(attempt.outcome)) for attempt in world.store.attempts(row.id)]


# Retries


def test_a_failure_is_retried_after_its_wait_until_it_succeeds_and_every_attempt_is_kept(world: World):
    world.agent(retries=RETRY)
    world.flows.says("agent", failed("first"), timed_out())
    row = world.trigger()
    world.drain()
    assert (world.row(row).status, world.row(row).due) == ("retrying", world.now + timedelta(seconds=60))
    world.live(seconds=59)
    assert world.row(row).attempt == 1
    world.live(seconds=62)
    assert (world.row(row).status, world.row(row).tries, world.row(row).failure) == ("succeeded", 3, None)
    assert outcomes(world, row) == [(1, "failed"), (2, "timed_out"), (3, "succeeded")]
    first, second, third = world.store.attempts(row.id)
    assert first.failure
    assert (first.failure.message, first.worker) == ("first", "worker")
    assert [(a.started_at - row.created_at).total_seconds() for a in (first, second, third)] == [0, 60, 120]
    world.check()


def test_after_the_last_try_it_is_failed_for_good(world: World):
    world.agent(retries=RETRY)
    world.flows.says("agent", *[failed(f"number {n}") for n in (1, 2, 3)])
    row = world.trigger()
    world.live(minutes=10)
    row = world.row(row)
    assert (row.status, row.attempt) == ("failed", 3)
    assert row.failure
    assert row.failure.message == "number 3"
    assert world.heard("execution.dead_lettered")[0]["execution_id"] == row.id
    assert [row.id for row in world.rows() if row.status == "failed"] == [row.id]


def test_a_failure_that_no_retry_mends_is_not_retried(world: World):
    world.agent(retries=RETRY)
    world.flows.says("agent", broken())
    row = world.trigger()
    world.live(minutes=10)
    assert (world.row(row).status, outcomes(world, row)) == ("failed", [(1, "failed")])


def test_a_flow_can_ask_for_a_longer_wait(world: World):
    world.agent(retries=RETRY)
    world.flows.says("agent", failed(retry_after=600))
    row = world.trigger()
    world.drain()
    assert world.row(row).due == world.now + timedelta(seconds=600)


def test_chance_decides_within_the_jitter(world: World):
    world.agent(retries={"backoff_seconds": 60})
    for world.chance in (0.1, 0.25):
        world.flows.says("agent", failed())
        row = world.trigger()
        world.drain()
        assert world.row(row).due == world.now + timedelta(seconds=60 * world.chance)
        run.cancel(world.ports, row.id)


def test_a_slot_is_free_while_a_retry_waits(world: World):
    world.agent(retries=RETRY)
    world.flows.says("agent", failed())
    first, second = world.trigger(), world.trigger()
    world.drain()
    assert [world.row(row).status for row in (first, second)] == ["retrying", "succeeded"]


def test_a_retry_that_comes_due_while_others_wait_goes_first(world: World):
    world.agent(retries=RETRY)
    world.flows.says("agent", failed())
    again = world.trigger()
    world.drain()
    world.hold("agent")
    running, *_, last = [world.trigger() for _ in range(3)]
    world.live(seconds=61)
    assert world.state().line[0].id == again.id
    world.finish(running)
    world.drain()
    assert set(world.under) == {again.id}
    world.holding.clear()
    world.finish(again)
    world.drain()
    assert world.row(last).status == "succeeded"


def test_a_retry_without_a_wait_keeps_to_max_parallel_even_while_the_slot_is_being_released(world: World):
    """Another worker takes up the retry before the first one has released the slot."""
    world.agent(retries={"attempts": 2, "backoff_seconds": 0})
    first, second = world.trigger(), world.trigger()

    world.flows.says("agent", failed())
    (message,) = world.queue.receive(1, world.now)
    writes: list[str] = []

    def after(verb: str) -> None:
        writes.append(verb)
        if writes.count("store.revise") == 2 and not world.under:  # started, and its outcome recorded
            world.hold("agent")
            world.carry_out(Message(kind="retry", execution_id=first.id, agent_id=first.agent_id, attempt=2))

    world.watch_writes(after)
    run.run(world.ports, message)
    world.drain()
    assert set(world.under) == {first.id}
    assert {id_: slot.attempt for id_, slot in world.state().running.items()} == {first.id: 2}
    world.finish(first)
    world.drain()
    assert set(world.under) == {second.id}
    world.finish(second)
    world.restart()
    world.live(minutes=10)
    world.check()


# Fencing


def test_a_late_finisher_changes_nothing(world: World):
    world.agent(retries=RETRY)
    world.hold("agent")
    row = world.trigger()
    world.drain()
    late = world.under.pop(row.id)  # its worker is cut off: nobody renews its lease
    world.holding.clear()
    world.live(minutes=3)
    assert outcomes(world, row) == [(1, "lost"), (2, "succeeded")]
    before = (world.row(row), world.state())
    late.end(ok("far too late"))
    assert (world.row(row), world.state()) == before
    assert world.heard("attempt.fenced")[0]["attempt"] == 1


def test_a_late_finisher_does_not_free_the_slot_of_the_next_attempt(world: World):
    world.agent(retries=RETRY)
    world.hold("agent")
    row = world.trigger()
    world.trigger()
    world.drain()
    late = world.under.pop(row.id)
    world.live(minutes=3)
    assert world.row(row).status == "retrying"
    (other,) = world.under
    world.finish(other)
    world.live(minutes=2)
    assert world.row(row).attempt == 2
    late.end(failed())
    assert {id_: slot.attempt for id_, slot in world.state().running.items()} == {row.id: 2}
    world.finish(row)
    assert outcomes(world, row) == [(1, "lost"), (2, "succeeded")]


# Leases


def test_an_attempt_whose_lease_is_renewed_runs_on(world: World):
    world.agent(timeout_seconds=3600)
    world.hold("agent")
    row = world.trigger()
    world.live(minutes=30)
    assert (world.row(row).status, world.row(row).attempt) == ("running", 1)
    world.check()
    world.finish(row)


def test_an_attempt_whose_worker_is_gone_is_lost_within_thirty_seconds_of_its_leases_end(world: World):
    world.agent(retries={"attempts": 2, "backoff_seconds": 0})
    world.hold("agent")
    row = world.trigger()
    world.live(minutes=5)
    world.kill(row)
    lease = world.row(row).lease
    assert lease
    world.live(until(world, lease.until), step=2)
    assert world.row(row).status == "running", "never before the lease's end"
    world.live(seconds=30, step=2)
    assert outcomes(world, row) == [(1, "lost")]
    assert world.row(row).attempt == 2
    world.finish(row)
    assert world.row(row).status == "succeeded"


def until(world: World, when: datetime) -> float:
    return (when - world.now).total_seconds()


def test_a_lease_that_is_renewed_at_the_last_moment_holds(world: World):
    world.agent()
    world.hold("agent")
    row = world.trigger()
    world.drain()
    found_dead = world.row(row)
    world.advance(minutes=1)
    world.renew()
    agent = world.store.agent("agent")
    lost = RunReport(AttemptOutcome.LOST)
    run.finish(world.ports, [run.Ended(run.Started(found_dead, agent), lost)], lease_over=True)
    assert world.row(row).status == "running"
    world.finish(row)
    assert outcomes(world, row) == [(1, "succeeded")]


def test_an_attempt_that_is_lost_too_often_fails(world: World):
    world.agent(retries={"attempts": 2, "backoff_seconds": 0})
    world.hold("agent")
    row = world.trigger()
    for _ in range(2):
        world.live(seconds=1)
        world.kill(row)
        world.live(minutes=1)
    row = world.row(row)
    assert (row.status, outcomes(world, row)) == ("failed", [(1, "lost"), (2, "lost")])
    assert row.failure
    assert "worker" in row.failure.message
    assert not world.state().running


def test_a_message_that_was_lost_is_sent_again_at_growing_intervals(world: World):
    world.agent()
    row = world.trigger()
    sent = []
    for _ in range(3600):
        world.advance(1)
        before = len(world.heard("execution.resent"))
        world.watch()
        if len(world.heard("execution.resent")) > before:
            sent.append((world.now - row.created_at).total_seconds())
    gaps = [b - a for a, b in zip([0, *sent], sent, strict=False)]
    assert gaps[:6] == [20, 40, 80, 160, 320, 600]
    world.drain()
    assert world.row(row).status == "succeeded"
    assert len(world.flows.ran) == 1


def test_a_lost_retry_message_is_sent_again(world: World):
    world.agent(retries=RETRY)
    world.flows.says("agent", failed())
    row = world.trigger()
    world.drain()
    world.database.write(lambda transaction: transaction.run_sql("DELETE FROM queue"))
    world.live(minutes=2)
    assert world.row(row).status == "succeeded"


# Draining


def test_a_drain_does_not_charge_the_attempt_it_interrupts(world: World):
    world.agent(retries={"attempts": 1})
    world.flows.says("agent", interrupted(), interrupted(), interrupted())
    row = world.trigger()
    world.drain()
    row = world.row(row)
    assert (row.status, row.attempt, row.tries) == ("succeeded", 4, 1)
    assert outcomes(world, row) == [(1, "interrupted"), (2, "interrupted"), (3, "interrupted"), (4, "succeeded")]


def test_what_a_drain_interrupts_is_put_back_and_goes_on_first(world: World):
    world.agent()
    world.hold("agent")
    first, second = world.trigger(), world.trigger()
    world.drain()
    world.finish(first, interrupted())
    assert world.row(first).status == "retrying"
    world.restart()
    world.live(minutes=1)
    assert statuses(world.rows()) == ["succeeded", "succeeded"]
    assert world.row(second).attempt == 1


# Budgets


def test_a_redrive_resets_the_tries_while_attempt_numbers_only_grow(world: World):
    world.agent(retries={"attempts": 2, "backoff_seconds": 0})
    world.flows.says("agent", *[failed()] * 4)
    row = world.trigger()
    world.live(5)
    for _ in range(2):
        assert (world.row(row).status, world.row(row).tries) == ("failed", 2)
        retry.redrive(world.ports, row.id)
        world.live(5)
    row = world.row(row)
    assert (row.status, row.attempt, row.tries, row.redrives) == ("succeeded", 5, 1, 2)
    assert [number for number, _ in outcomes(world, row)] == [1, 2, 3, 4, 5]


def test_a_redrive_begins_the_backoff_again_and_a_drain_does_not_lengthen_it(world: World):
    world.agent(retries={"attempts": 3, "backoff_seconds": 10, "jitter": "none"})
    world.flows.says("agent", failed(), interrupted(), *[failed()] * 5)
    row = world.trigger()
    waits = []
    for _ in range(2):
        for _ in range(2):
            world.drain()
            waits.append(until(world, world.row(row).due or world.now))
            world.advance(waits[-1])
        world.drain()
        assert world.row(row).status == "failed"
        retry.redrive(world.ports, row.id)
    assert waits == [10, 20, 10, 20]


def test_a_failure_is_told_and_counted_before_a_redrive_even_if_a_crash_came_in_between(world: World):
    world.agent(retries={"attempts": 1}, notify={"on": ["failed"], "url": "https://example.com/hook"})
    follow = {"name": "overnight.execution.failed"}
    world.agent("follower", triggers=[{"name": "on", "event": follow}])
    world.flows.says("agent", failed())
    row = world.trigger()
    assert blown(world, 2, World.drain), "after the outcome"
    assert (world.row(row).status, set(world.state().running)) == ("failed", {row.id})
    retry.redrive(world.ports, row.id)
    assert (world.state().failures, len(world.store.deliveries(row.agent_id))) == (1, 1)
    world.drain()
    assert [world.row(row).status, *statuses(world.rows("follower"))] == ["succeeded", "succeeded"]


def test_tokens_are_summed_over_the_attempts(world: World):
    world.agent(retries={"attempts": 2, "backoff_seconds": 0})
    one = RunReport(failed().outcome, failure=failed().failure, usage=Usage(input_tokens=1, total_tokens=1))
    world.flows.says("agent", one, RunReport(ok().outcome, usage=Usage(output_tokens=2, total_tokens=2)))
    row = world.trigger()
    world.live(5)
    usage = world.row(row).usage
    assert usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (1, 2, 3)


# The order at the end


def test_at_the_end_the_outcome_comes_first_and_the_release_last(world: World):
    world.agent(notify={"on": ["failed"], "url": "https://example.com/hook"})
    world.agent("follower", triggers=[{"name": "on", "event": {"name": "overnight.execution.failed"}}])
    world.flows.says("agent", broken())
    world.trigger()
    (message,) = world.queue.receive(1, world.now)
    writes: list[str] = []
    world.watch_writes(writes.append)
    run.run(world.ports, message)
    assert [write for write in writes if write != "queue.send"] == [  # a send goes with the write where that is SQL
        "store.revise",  # running
        "store.revise",  # failed
        "store.put_event", "store.admit", "store.event_done", "bus.publish",
        "store.put_delivery",
        "store.transition",  # released
        "queue.done",
    ]  # fmt: skip


# Messages


def test_a_message_that_is_early_stale_or_unknown_does_nothing(world: World):
    agent = world.agent(retries=RETRY)
    world.flows.says("agent", failed())
    row = world.trigger()
    world.drain()
    before = world.row(row)

    def message(kind: str, attempt: int, id_: str = row.id) -> Message:
        return Message(kind=kind, execution_id=id_, agent_id=agent.id, attempt=attempt)  # type: ignore[arg-type]

    for kind in ("run", "retry"):
        for attempt in (1, 2, 3, 9):
            run.run(world.ports, message(kind, attempt))
        run.run(world.ports, message(kind, 1, "nobody"))
    world.advance(60)
    for attempt in (1, 3, 9):
        run.run(world.ports, message("retry", attempt))
    assert (world.row(row), world.state().running) == (before, {})
    assert len(world.flows.ran) == 1


@given(seed=st.integers(0, 2**32), max_parallel=st.sampled_from([1, 2, None]))
@settings(max_examples=15, deadline=None)
def test_messages_that_come_twice_and_in_any_order_run_each_attempt_once(seed: int, max_parallel: int | None):
    dice = random.Random(seed)
    world = World()
    world.agent(concurrency={"max_parallel": max_parallel}, retries={"attempts": 2, "backoff_seconds": 5})
    world.flows.says("agent", *[dice.choice([ok(), failed(), interrupted()]) for _ in range(8)])
    rows = [world.trigger() for _ in range(5)]
    seen: list[Message] = []
    for _ in range(40):
        seen += world.queue.receive(16, world.now)
        for message in dice.sample(seen, len(seen)) * 2:
            run.run(world.ports, message)
        world.advance(seconds=dice.choice([0, 1, 5, 20]))
        world.watch()
    ran = [(given.execution.id, given.execution.attempt) for given in world.flows.ran]
    assert len(set(ran)) == len(ran)
    assert {world.row(row).status for row in rows} <= {"succeeded", "failed"}
    for row in rows:
        assert [number for number, _ in outcomes(world, row)] == list(range(1, world.row(row).attempt + 1))
    world.advance(minutes=10)
    world.check()
    world.close()


def test_a_repeated_message_for_what_is_over_tells_nobody_once_more(world: World):
    world.agent(notify={"on": ["recovered"], "url": "https://example.com/hook"})
    world.flows.says("agent", broken(), ok(), broken())
    _, recovered, _ = [world.trigger() for _ in range(3)]
    world.drain()
    assert len(world.store.deliveries(recovered.agent_id)) == 1
    world.flows.says("agent", ok(), broken())
    fine = world.trigger()
    world.drain()
    world.trigger()
    world.drain()
    before = world.store.deliveries(fine.agent_id)
    for row in world.rows():
        run.run(world.ports, Message(kind="run", execution_id=row.id, agent_id=row.agent_id, attempt=row.attempt))
    assert world.store.deliveries(fine.agent_id) == before


def test_a_flow_that_edits_or_stops_its_own_agent_ends_well(world: World):
    world.agent(cron="* * * * *")

    def stops(request: RunRequest) -> RunReport:
        lifecycle.stop(world.ports, request.agent.id)
        return ok()

    def edits(request: RunRequest) -> RunReport:
        world.edit("agent", description=str(world.now))
        return ok()

    world.flows.says("agent", edits, stops)
    world.live(minutes=5)
    assert statuses(world.rows()) == ["succeeded", "succeeded"]
    assert world.state().status == "STOPPED"
    world.live(minutes=5)
    world.check()


def times(world: World) -> dict[str, Any]:
    state = world.state()
    return {"last": state.last_run_at, "next": state.next_run_at}


def test_an_agent_knows_when_it_last_ran_and_when_it_runs_next(world: World):
    world.agent(cron="0 * * * *")
    assert times(world) == {"last": None, "next": instant("2026-01-05 01:00")}
    world.live(hours=1, minutes=1)
    assert times(world) == {"last": instant("2026-01-05 01:00"), "next": instant("2026-01-05 02:00")}
