"""Agent status: start, stop, pause, resume and delete, and what each means for every kind of firing."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.support.flows import broken, failed
from tests.support.world import World, instant, statuses

from overnight.agents import Agent, AgentState
from overnight.core import backfill, fire, lifecycle, run
from overnight.errors import AgentExists, AgentNotFound, AgentStopped, NoFreeSlot, Unavailable
from overnight.executions import Firing, FiringKind
from overnight.ports import Ports

Verb = Callable[[Ports, str], object]
VERBS: dict[str, Verb] = {
    "start": lifecycle.start,
    "stop": lifecycle.stop,
    "pause": lifecycle.pause,
    "resume": lifecycle.resume,
    "fail": lambda ports, ref: lifecycle.fail(ports, ref, "it could not be armed"),
}
REACHES = {
    ("STOPPED", "start"): "ACTIVE", ("STOPPED", "stop"): "STOPPED", ("STOPPED", "pause"): "agent_stopped",
    ("STOPPED", "resume"): "agent_stopped", ("STOPPED", "fail"): "STOPPED",
    ("ACTIVE", "start"): "ACTIVE", ("ACTIVE", "stop"): "STOPPED", ("ACTIVE", "pause"): "PAUSED",
    ("ACTIVE", "resume"): "ACTIVE", ("ACTIVE", "fail"): "ERROR",
    ("PAUSED", "start"): "ACTIVE", ("PAUSED", "stop"): "STOPPED", ("PAUSED", "pause"): "PAUSED",
    ("PAUSED", "resume"): "ACTIVE", ("PAUSED", "fail"): "PAUSED",
    ("ERROR", "start"): "ACTIVE", ("ERROR", "stop"): "STOPPED", ("ERROR", "pause"): "PAUSED",
    ("ERROR", "resume"): "ACTIVE", ("ERROR", "fail"): "ERROR",
}  # fmt: skip
INTO: dict[str, tuple[str, ...]] = {"STOPPED": ("stop",), "ACTIVE": (), "PAUSED": ("pause",), "ERROR": ("fail",)}


def bring(world: World, status: str, name: str = "agent") -> None:
    for verb in INTO[status]:
        VERBS[verb](world.ports, name)
    assert world.state(name).status == status


@pytest.mark.parametrize(("status", "verb"), REACHES)
def test_each_verb_leads_from_each_status_to_where_it_should_and_is_idempotent(world: World, status: str, verb: str):
    world.agent(cron="* * * * *")
    bring(world, status)
    expected = REACHES[status, verb]
    if expected == "agent_stopped":
        with pytest.raises(AgentStopped):
            VERBS[verb](world.ports, "agent")
        return
    VERBS[verb](world.ports, "agent")
    once = world.state()
    assert once.status == expected
    assert bool(once.schedules) == bool(world.clock.earliest()) == (expected == "ACTIVE")
    world.advance(5)
    VERBS[verb](world.ports, "agent")
    assert world.state() == once
    world.live(minutes=10)
    world.check()


def test_an_agent_is_created_stopped_unless_it_says_enabled(world: World):
    world.agent("off", enabled=False, cron="* * * * *")
    world.agent("on", cron="* * * * *")
    assert (world.state("off").status, world.state("on").status) == ("STOPPED", "ACTIVE")
    world.live(minutes=3)
    assert (len(world.rows("off")), len(world.rows("on"))) == (0, 3)


def test_a_note_of_a_pause_is_kept_with_the_time(world: World):
    world.agent()
    world.advance(7)
    lifecycle.pause(world.ports, "agent", note="until the key is new")
    paused = ("until the key is new", world.now)
    assert (world.state().note, world.state().changed_at) == paused
    world.advance(7)
    world.edit("agent", description="the key is awaited")
    assert (world.state().note, world.state().changed_at) == paused
    lifecycle.resume(world.ports, "agent")
    assert world.state().note is None


def test_a_name_is_taken_once(world: World):
    world.agent("a")
    world.agent("b")
    with pytest.raises(AgentExists):
        world.agent("a")
    with pytest.raises(AgentExists):
        world.edit("b", name="a")


# What each status means for each kind of firing


def fired(world: World, kind: str) -> str:
    """What becomes of a firing: the status of its execution after a while, `nothing`, or the code of the refusal."""
    before = {row.id for row in world.rows()}
    match kind:
        case "webhook":
            firing = Firing(
                agent_id=world.subjects["agent"], kind=FiringKind.WEBHOOK, dedupe_key="hook:on:1", trigger="hook"
            )
            try:
                fire.admit(world.ports, firing)
            except AgentStopped as refusal:
                return refusal.code
        case "event":
            world.send("x")
        case "manual":
            world.trigger()
        case "tick":
            world.live(61)
    world.drain()
    new = [row for row in world.rows() if row.id not in before]
    return statuses(new)[0] if new else "nothing"


MEANS = {
    "ACTIVE": {"webhook": "succeeded", "event": "succeeded", "manual": "succeeded", "tick": "succeeded"},
    "PAUSED": {"webhook": "skipped (paused)", "event": "skipped (paused)", "manual": "succeeded", "tick": "nothing"},
    "ERROR": {"webhook": "skipped (paused)", "event": "skipped (paused)", "manual": "succeeded", "tick": "nothing"},
    "STOPPED": {"webhook": "agent_stopped", "event": "nothing", "manual": "succeeded", "tick": "nothing"},
}


@pytest.mark.parametrize("kind", ["webhook", "event", "manual", "tick"])
@pytest.mark.parametrize("status", MEANS)
def test_the_status_decides_what_becomes_of_a_firing(world: World, status: str, kind: str):
    world.agent(triggers=[{"name": "on", "event": {"name": "x"}}], cron="* * * * *")
    bring(world, status)
    assert fired(world, kind) == MEANS[status][kind]


def retrying(world: World) -> str:
    """An execution that waits a minute for its retry."""
    world.flows.says("agent", failed())
    row = world.trigger()
    world.drain()
    assert world.row(row).status == "retrying"
    return row.id


RETRY = {"attempts": 2, "backoff_seconds": 60, "jitter": "none"}


def test_the_retries_of_a_paused_agent_wait_at_the_head_of_the_line_until_it_is_resumed(world: World):
    world.agent(retries=RETRY)
    id_ = retrying(world)
    lifecycle.pause(world.ports, "agent")
    world.live(minutes=30)
    assert world.row(id_).status == "retrying"
    assert [waiting.id for waiting in world.state().line] == [id_]
    world.check()
    lifecycle.resume(world.ports, "agent")
    world.drain()
    assert world.row(id_).status == "succeeded"


def test_the_line_of_a_paused_agent_waits(world: World):
    world.agent()
    world.hold("agent")
    first, second = world.trigger(), world.trigger()
    world.drain()
    lifecycle.pause(world.ports, "agent")
    world.finish(first)
    world.live(minutes=10)
    assert world.row(second).status == "pending"
    world.check()
    lifecycle.resume(world.ports, "agent")
    world.drain()
    assert world.row(second).status == "running"
    world.finish(second)


def test_by_hand_a_paused_agent_runs_although_its_line_waits(world: World):
    world.agent()
    world.trigger()
    waiting = world.trigger()
    lifecycle.pause(world.ports, "agent")
    world.drain()
    row = world.trigger()
    with pytest.raises(NoFreeSlot):
        world.trigger()
    world.drain()
    assert (world.row(row).status, world.row(waiting).status) == ("succeeded", "pending")


def test_stopping_cancels_the_line_and_lets_what_runs_end(world: World):
    world.agent()
    world.hold("agent")
    first, *_ = [world.trigger() for _ in range(3)]
    world.drain()
    lifecycle.stop(world.ports, "agent")
    assert statuses(world.rows()) == ["running", "cancelled (stopped)", "cancelled (stopped)"]
    world.finish(first)
    assert world.row(first).status == "succeeded"
    world.live(minutes=10)
    world.check()


def test_stopping_cancels_what_runs_only_when_asked_to(world: World):
    world.agent(concurrency={"max_parallel": 2})
    world.hold("agent")
    rows = [world.trigger() for _ in range(3)]
    world.drain()
    lifecycle.stop(world.ports, "agent", cancel_running=True)
    assert statuses(world.rows()) == ["cancelled (stopped)"] * 3
    assert set(world.flows.stopped) == {row.id for row in rows[:2]}
    assert len(world.state().running) == 2, "the slots are free when their workers let go"
    for row in rows[:2]:
        world.finish(row)
    assert not world.state().running


def test_stopping_takes_back_what_no_worker_has_taken_up_however_many(world: World):
    world.agent(concurrency={"max_parallel": None})
    for _ in range(300):
        world.trigger()
    lifecycle.stop(world.ports, "agent", cancel_running=True)
    assert set(statuses(world.rows())) == {"cancelled (stopped)"}
    assert not world.state().running
    world.drain()
    assert not world.flows.ran


def test_the_retries_of_a_stopped_agent_are_cancelled_when_they_come_due(world: World):
    world.agent(retries=RETRY)
    id_ = retrying(world)
    world.advance(1)
    lifecycle.stop(world.ports, "agent")
    world.live(minutes=2)
    assert statuses([world.row(id_)]) == ["cancelled (stopped)"]


def test_what_was_triggered_by_hand_on_a_stopped_agent_is_retried(world: World):
    world.agent(retries=RETRY, enabled=False)
    world.advance(1)
    id_ = retrying(world)
    world.live(minutes=2)
    assert world.row(id_).status == "succeeded"


def test_starting_takes_effect_in_the_record_first_and_the_schedule_follows(world: World):
    world.agent(cron="0 * * * *", enabled=False)
    world.advance(hours=5)
    lifecycle.start(world.ports, "agent")
    assert world.state().next_run_at == instant("2026-01-05 06:00")
    assert world.clock.earliest() == instant("2026-01-05 06:00")
    assert world.state().want_version == world.state().armed_version


# Failing to arm and to disarm


class Clock:
    """An alarm clock that doesn't answer."""

    def __init__(self, world: World, *broken: str) -> None:
        self._clock = world.clock
        self._broken = broken

    def arm(self, agent: Agent, trigger: str, state: AgentState) -> None:
        self._do("arm", agent, trigger, state)

    def disarm(self, agent_id: str, trigger: str) -> None:
        self._do("disarm", agent_id, trigger)

    def _do(self, verb: str, *args: Any) -> None:
        if verb in self._broken:
            raise Unavailable("the alarm clock does not answer")
        getattr(self._clock, verb)(*args)


def breaks(world: World, *verbs: str) -> None:
    world.ports = replace(world.ports, clock=Clock(world, *verbs))


def test_an_agent_that_cannot_be_armed_goes_into_error_with_the_reason(world: World):
    world.agent(cron="* * * * *", enabled=False)
    breaks(world, "arm")
    lifecycle.start(world.ports, "agent")
    state = world.state()
    assert state.status == "ERROR"
    assert state.note == "could not be armed: the alarm clock does not answer"
    assert not state.schedules
    breaks(world)
    lifecycle.start(world.ports, "agent")
    world.live(minutes=2)
    assert statuses(world.rows()) == ["succeeded", "succeeded"]


def test_a_failure_to_disarm_is_told_and_never_more(world: World):
    world.agent(cron="* * * * *")
    breaks(world, "disarm")
    lifecycle.pause(world.ports, "agent")
    assert world.state().status == "PAUSED"
    assert world.heard("agent.disarm_failed")
    # The tick that comes all the same is dropped, and disarms itself.
    breaks(world)
    assert world.clock.earliest()
    world.live(minutes=10)
    assert world.rows() == []
    assert world.clock.earliest() is None
    world.check()


def test_a_failure_to_disarm_never_keeps_a_ghost(world: World):
    agent = world.agent(cron="* * * * *")
    breaks(world, "disarm")
    lifecycle.delete(world.ports, "agent")
    with pytest.raises(AgentNotFound):
        world.store.agent("agent")
    breaks(world)
    world.live(minutes=10)
    assert world.clock.earliest() is None
    assert not world.flows.ran
    assert world.store.agent(agent.id).deleted_at
    world.check()


# Failing too often


def test_an_agent_that_fails_too_often_in_a_row_goes_into_error_with_the_reason(world: World):
    world.agent(cron="* * * * *", pause_after_failures=3, retries={"attempts": 1})
    world.flows.says("agent", failed(), failed(), *[failed()] * 9)
    world.live(minutes=6)
    assert statuses(world.rows()) == ["failed"] * 3
    state = world.state()
    assert (state.status, state.failures) == ("ERROR", 3)
    assert state.note
    assert "3 executions failed in a row" in state.note
    assert world.rows()[-1].id in state.note
    world.check()


def test_a_success_in_between_begins_the_count_again(world: World):
    world.agent(pause_after_failures=2)
    for outcome in (broken(), None, broken(), None, broken(), broken()):
        if outcome:
            world.flows.says("agent", outcome)
        assert world.state().status == "ACTIVE"
        world.trigger()
        world.drain()
    assert world.state().status == "ERROR"


def test_a_start_begins_the_count_again(world: World):
    world.agent(pause_after_failures=2)
    world.flows.says("agent", *[broken()] * 3)
    world.trigger()
    world.trigger()
    world.drain()
    assert world.state().status == "ERROR"
    lifecycle.start(world.ports, "agent")
    assert world.state().failures == 0
    world.trigger()
    world.drain()
    assert world.state().status == "ACTIVE"


@pytest.mark.parametrize("verb", ["pause", "stop", "fail"])
def test_failures_of_an_agent_that_is_not_active_leave_nothing_undone(world: World, verb: str):
    world.agent(pause_after_failures=1, concurrency={"max_parallel": 2})
    world.hold("agent")
    rows = [world.trigger(), world.trigger()]
    world.drain()
    VERBS[verb](world.ports, "agent")
    status = world.state().status
    for row in rows:
        world.finish(row, broken())
    world.live(minutes=10)
    assert world.state().status == status
    assert world.store.due_agents(world.now, 10) == []
    world.check()


# Anchors


@pytest.mark.parametrize(
    "verbs", [("pause", "resume"), ("stop", "start"), ("fail", "start"), ("pause", "stop", "start")]
)
def test_the_anchor_of_an_interval_survives_every_way_to_disarm_it(world: World, verbs: tuple[str, ...]):
    world.agent(interval={"minutes": 10})
    world.live(minutes=12)
    for verb in verbs:
        world.live(minutes=7)
        VERBS[verb](world.ports, "agent")
    world.live(minutes=60)
    assert {(tick.nominal - world.began) % timedelta(minutes=10) for tick in world.ledger()} == {timedelta()}
    world.check()


def test_a_start_at_is_the_anchor_and_its_first_tick(world: World):
    world.agent(interval={"minutes": 10}, start_at="2026-01-05T00:03:00Z")
    world.live(minutes=25)
    assert [tick.nominal.minute for tick in world.ledger()] == [3, 13, 23]


# Deletion


def test_deleting_disarms_cancels_the_line_frees_the_name_and_keeps_history(world: World):
    first = world.agent(cron="* * * * *", triggers=[{"name": "on", "event": {"name": "x"}}])
    world.live(minutes=2)
    world.hold("agent")
    running, waiting = world.trigger(), world.trigger()
    world.drain()
    lifecycle.delete(world.ports, "agent")
    assert world.clock.earliest() is None
    assert statuses([world.row(waiting)]) == ["cancelled (deleted)"]
    world.finish(running)
    assert world.row(running).status == "succeeded"
    assert world.send("x").execution_ids == ()
    second = world.agent()
    assert second.id != first.id
    assert world.trigger().agent_id == second.id
    world.drain()
    world.live(minutes=10)
    assert len(world.flows.ran) == 4
    world.check()


def test_the_retries_of_a_deleted_agent_are_cancelled_even_those_asked_for_by_hand(world: World):
    world.agent(retries=RETRY, enabled=False)
    world.advance(1)
    id_ = retrying(world)
    lifecycle.delete(world.ports, "agent")
    world.live(minutes=10)
    assert statuses([world.row(id_)]) == ["cancelled (deleted)"]
    world.check()


DONE_TO: dict[str, Callable[[World, str], object]] = {
    "start": lambda world, id_: lifecycle.start(world.ports, id_),
    "stop": lambda world, id_: lifecycle.stop(world.ports, id_, cancel_running=True),
    "pause": lambda world, id_: lifecycle.pause(world.ports, id_),
    "resume": lambda world, id_: lifecycle.resume(world.ports, id_),
    "edit": lambda world, id_: lifecycle.edit(world.ports, id_, world.document("another")),
    "delete": lambda world, id_: lifecycle.delete(world.ports, id_),
    "trigger": lambda world, id_: world.trigger(id_),
    "backfill": lambda world, id_: backfill.backfill(world.ports, id_, world.began, world.now, dry_run=True),
}


@pytest.mark.parametrize("verb", DONE_TO)
def test_a_deleted_agent_is_not_found_by_its_id_either(world: World, verb: str):
    agent = world.agent(cron="* * * * *")
    world.advance(minutes=2)
    lifecycle.delete(world.ports, "agent")
    before = world.store.read(agent.id)
    with pytest.raises(AgentNotFound):
        DONE_TO[verb](world, agent.id)
    assert world.store.read(agent.id) == before


def test_what_runs_can_be_cancelled_after_its_agent_is_deleted(world: World):
    world.agent()
    world.hold("agent")
    row = world.trigger()
    world.drain()
    lifecycle.delete(world.ports, "agent")
    assert run.cancel(world.ports, row.id).status == "cancelled"
    world.finish(row)
    world.live(minutes=10)
    world.check()


def test_another_release_of_tzdata_arms_anew_and_loses_no_tick(world: World, monkeypatch: pytest.MonkeyPatch):
    world.agent(cron="*/10 * * * *")
    world.live(minutes=15)
    monkeypatch.setattr(lifecycle, "tzdata_version", lambda: "2099z")
    lifecycle.rezone(world.ports, "agent")
    lifecycle.rezone(world.ports, "agent")
    assert world.state().schedules["schedule"].tzdata == "2099z"
    world.live(minutes=15)
    assert [tick.nominal.minute for tick in world.ledger()] == [10, 20, 30]
