"""Admission, one gate for all trigger kinds: what `decide` makes of a firing, rule by rule."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.agents import Agent, AgentDocument, AgentState, AgentStatus, Slot, Waiting
from overnight.core.decide import MAX_DEPTH, decide, promote, rejoin, sweep, vacate
from overnight.errors import AgentNotFound, OvernightError
from overnight.executions import Execution, Firing, FiringKind, Message, Status
from overnight.policies import MAX_RUNNING, OnOverlap
from overnight.ports import Admission

NOW = datetime(2026, 1, 5, 8, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
SLOT = Slot(attempt=1, since=NOW, look_at=LATER)

KINDS = [kind.value for kind in FiringKind]
STATUSES = [status.value for status in AgentStatus]


def agent(**document: Any) -> Agent:
    fields = {"name": "agent", "flow": {"python": "agents:run"}} | document
    return Agent(id="a", document=AgentDocument.model_validate(fields), created_at=NOW, updated_at=NOW)


def state(status: str = "ACTIVE", running: int = 0, waiting: int = 0, **more: Any) -> AgentState:
    return AgentState(
        agent_id="a",
        status=AgentStatus(status),
        running={f"r{n}": SLOT.model_copy(update={"since": NOW + timedelta(seconds=n)}) for n in range(running)},
        line=tuple(Waiting(id=f"w{n}") for n in range(waiting)),
        **more,
    )


def firing(kind: str = "manual", **more: Any) -> Firing:
    return Firing(agent_id="a", kind=FiringKind(kind), dedupe_key="manual:new", **more)


NEW = firing().execution_id


def verdict(who: Agent, before: AgentState, what: Firing) -> str:
    """`slot`, `line`, `skipped (reason)`, `dropped`, or the code of the error that refuses."""
    try:
        admission = decide(who, before, what, NOW)
    except OvernightError as refusal:
        return refusal.code
    if admission is None:
        return "dropped"
    row, after = admission.execution, admission.transition.state
    if row.status is Status.SKIPPED:
        assert not after.holds(row.id)
        return f"skipped ({row.reason})"
    assert row.status is Status.PENDING
    assert (row.id in after.running) != any(waiting.id == row.id for waiting in after.line)
    return "slot" if row.id in after.running else "line"


FREE = {
    ("webhook", "STOPPED"): "agent_stopped",
    ("webhook", "PAUSED"): "skipped (paused)",
    ("webhook", "ERROR"): "skipped (paused)",
    ("event", "STOPPED"): "dropped",
    ("event", "PAUSED"): "skipped (paused)",
    ("event", "ERROR"): "skipped (paused)",
    ("schedule", "STOPPED"): "dropped",
    ("schedule", "PAUSED"): "dropped",
    ("schedule", "ERROR"): "dropped",
    ("backfill", "STOPPED"): "agent_not_active",
    ("backfill", "PAUSED"): "agent_not_active",
    ("backfill", "ERROR"): "agent_not_active",
}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("kind", KINDS)
def test_with_a_free_slot_the_status_decides(kind: str, status: str):
    assert verdict(agent(), state(status), firing(kind)) == FREE.get((kind, status), "slot")


TAKEN = {"queue": "line", "queue_one": "line", "skip": "skipped (overlap)", "cancel_running": "line", "allow": "slot"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", TAKEN)
def test_with_every_slot_taken_the_overlap_policy_decides(policy: str, kind: str):
    # What was asked for as a backfill is not lost to a policy that is for what comes by itself.
    expected = "line" if kind == "backfill" and policy != "allow" else TAKEN[policy]
    assert verdict(agent(concurrency={"on_overlap": policy}), state(running=1), firing(kind)) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_line_refuses_whoever_can_try_again_and_skips_a_tick(kind: str):
    expected = {"schedule": "skipped (queue_full)", "backfill": "line"}.get(kind, "line_full")
    who = agent(concurrency={"queue_limit": 2})
    assert verdict(who, state(running=1, waiting=1), firing(kind)) == "line"
    assert verdict(who, state(running=1, waiting=2), firing(kind)) == expected


@pytest.mark.parametrize("status", ["PAUSED", "STOPPED", "ERROR"])
@pytest.mark.parametrize("policy", TAKEN)
def test_by_hand_an_agent_that_is_not_active_runs_only_if_a_slot_is_free(policy: str, status: str):
    who = agent(concurrency={"on_overlap": policy, "max_parallel": 2})
    assert verdict(who, state(status, running=1), firing()) == "slot"
    assert verdict(who, state(status, running=2), firing()) == ("slot" if policy == "allow" else "no_free_slot")


def test_by_hand_a_paused_agent_runs_although_its_line_waits():
    assert verdict(agent(), state("PAUSED", waiting=3), firing()) == "slot"


def test_nobody_overtakes_the_line():
    assert verdict(agent(concurrency={"max_parallel": 2}), state(running=1, waiting=1), firing()) == "line"


def test_a_deleted_agent_is_not_there_for_anybody():
    gone = agent().model_copy(update={"deleted_at": NOW})
    for kind in KINDS:
        with pytest.raises(AgentNotFound):
            decide(gone, state("STOPPED"), firing(kind), NOW)


@pytest.mark.parametrize(
    ("concurrency", "slots"),
    [({}, 1), ({"max_parallel": 3}, 3), ({"max_parallel": None}, MAX_RUNNING), ({"on_overlap": "allow"}, MAX_RUNNING)],
)
def test_max_parallel_says_how_many_slots_there_are(concurrency: dict[str, Any], slots: int):
    assert verdict(agent(concurrency=concurrency), state(running=slots - 1), firing()) == "slot"
    assert verdict(agent(concurrency=concurrency), state(running=slots), firing()) == "line"


def test_queue_one_keeps_the_newest_and_skips_the_one_before_it_as_coalesced():
    admission = admitted(agent(concurrency={"on_overlap": "queue_one"}), state(running=1, waiting=1))
    after = admission.transition.state
    assert [waiting.id for waiting in after.line] == [NEW]
    assert (after.settle["w0"].status, after.settle["w0"].reason, after.settle["w0"].into) == (
        "skipped", "coalesced", NEW,
    )  # fmt: skip


def test_cancel_running_orders_the_oldest_running_one_cancelled_and_waits_for_its_slot():
    admission = admitted(agent(concurrency={"on_overlap": "cancel_running", "max_parallel": 2}), state(running=2))
    after = admission.transition.state
    assert {id_: order.status for id_, order in after.settle.items()} == {"r0": "cancelled"}
    assert set(after.running) == {"r0", "r1"}
    assert [waiting.id for waiting in after.line] == [NEW]


def test_cancel_running_cancels_no_second_one_while_the_first_is_on_its_way_out():
    who = agent(concurrency={"on_overlap": "cancel_running", "max_parallel": 2})
    first = admitted(who, state(running=2)).transition.state
    second = decide(who, first, Firing(agent_id="a", kind=FiringKind.MANUAL, dedupe_key="manual:newer"), NOW)
    assert second
    orders = {id_: str(order.status) for id_, order in second.transition.state.settle.items()}
    assert orders == {"r0": "cancelled", NEW: "skipped"}


def test_displacing_leaves_alone_what_waits_for_a_retry():
    again = Waiting(id="again", attempt=2, again=True)
    for policy in ("queue_one", "cancel_running"):
        before = state(running=1).model_copy(update={"line": (again, Waiting(id="w0"))})
        after = admitted(agent(concurrency={"on_overlap": policy}), before).transition.state
        assert [waiting.id for waiting in after.line] == ["again", NEW]


def test_what_waits_for_a_retry_does_not_count_towards_the_limit():
    again = tuple(Waiting(id=f"again{n}", attempt=2, again=True) for n in range(5))
    before = state(running=1).model_copy(update={"line": again})
    assert verdict(agent(concurrency={"queue_limit": 1}), before, firing()) == "line"


def test_what_can_no_longer_start_in_time_makes_room():
    late = Waiting(id="late", expires_at=NOW)
    before = state(running=1).model_copy(update={"line": (late,)})
    admission = admitted(agent(concurrency={"queue_limit": 1}), before)
    assert admission.transition.state.settle["late"].reason == "expired"
    assert [waiting.id for waiting in admission.transition.state.line] == [NEW]


def test_a_chain_of_agents_stops_when_it_is_deeper_than_eight():
    assert verdict(agent(), state(), firing("event", depth=MAX_DEPTH)) == "slot"
    assert verdict(agent(), state(), firing("event", depth=MAX_DEPTH + 1)) == "skipped (depth)"
    assert MAX_DEPTH == 8


@pytest.mark.parametrize("reason", ["missed", "excluded", "coalesced"])
@pytest.mark.parametrize("status", STATUSES)
def test_what_the_ledger_has_decided_stands(status: str, reason: str):
    assert verdict(agent(), state(status, running=1), firing("schedule", disposition=reason)) == f"skipped ({reason})"


def test_the_definition_and_the_deadline_are_pinned_at_admission():
    who = agent(start_deadline_seconds=60).model_copy(update={"version": 7})
    row = admitted(who, state()).execution
    assert (row.agent_version, row.expires_at) == (7, NOW + timedelta(seconds=60))


def test_what_is_skipped_is_over_at_once_and_kept_as_long_as_anything_else():
    row = admitted(agent(concurrency={"on_overlap": "skip"}, retention_days=90), state(running=1)).execution
    assert (row.finished_at, row.retain_until, row.expires_at) == (NOW, NOW + timedelta(days=90), None)


# What waits again


def waits(attempt: int = 1, **more: Any) -> Execution:
    return Execution(
        id="x", agent_id="a", agent="agent", status=Status.RETRYING, kind=FiringKind.MANUAL, dedupe_key="k",
        agent_version=1, created_at=NOW, attempt=attempt, **more,
    )  # fmt: skip


@pytest.mark.parametrize("policy", list(OnOverlap))
def test_a_retry_goes_to_the_head_of_the_line_whatever_policy_and_limit_say(policy: OnOverlap):
    who = agent(concurrency={"on_overlap": policy, "queue_limit": 1, "max_parallel": 1})
    full = state(running=MAX_RUNNING if policy is OnOverlap.ALLOW else 1, waiting=2)
    joined = rejoin(who, full, waits(), NOW, by_hand=False)
    assert joined
    assert [(waiting.id, waiting.attempt) for waiting in joined.state.line] == [("x", 2), ("w0", 1), ("w1", 1)]
    assert not joined.state.settle


def test_those_that_come_back_keep_their_order_among_themselves():
    who, before = agent(), state(running=1, waiting=1)
    for id_ in ("first", "second"):
        joined = rejoin(who, before, waits().model_copy(update={"id": id_}), NOW, by_hand=False)
        assert joined
        before = joined.state
    assert [waiting.id for waiting in before.line] == ["first", "second", "w0"]


def test_a_retry_of_a_paused_agent_waits_although_a_slot_is_free():
    joined = rejoin(agent(), state("PAUSED"), waits(), NOW, by_hand=False)
    assert joined
    assert (not joined.state.running, joined.state.line[0].id, joined.sends) == (True, "x", ())


def test_a_retry_takes_over_the_slot_that_its_last_attempt_has_not_yet_released():
    before = state(waiting=1).model_copy(update={"running": {"x": SLOT}})
    joined = rejoin(agent(), before, waits(attempt=1), NOW, by_hand=False)
    assert joined
    assert {id_: slot.attempt for id_, slot in joined.state.running.items()} == {"x": 2}
    # The late release of the first attempt frees nothing.
    assert vacate(agent(), joined.state, "x", 1, NOW) is None


def test_a_retry_of_a_paused_agent_gives_up_the_slot_that_its_last_attempt_has_not_yet_released():
    before = state("PAUSED").model_copy(update={"running": {"x": SLOT}})
    joined = rejoin(agent(), before, waits(attempt=1), NOW, by_hand=False)
    assert joined
    assert (joined.state.running, [waiting.id for waiting in joined.state.line]) == ({}, ["x"])


def test_what_has_its_place_already_gets_no_second_one():
    assert rejoin(agent(), state().model_copy(update={"line": (Waiting(id="x"),)}), waits(), NOW, by_hand=False) is None
    claimed = SLOT.model_copy(update={"attempt": 2})
    assert rejoin(agent(), state().model_copy(update={"running": {"x": claimed}}), waits(), NOW, by_hand=False) is None


# Slots that become free


def test_a_slot_is_freed_only_by_the_attempt_that_holds_it():
    before = state(running=1, waiting=1)
    assert vacate(agent(), before, "r0", 2, NOW) is None
    assert vacate(agent(), before, "nobody", 1, NOW) is None
    freed = vacate(agent(), before, "r0", 1, NOW)
    assert freed
    assert (list(freed.state.running), freed.state.line) == (["w0"], ())
    assert freed.sends == (Message(kind="run", execution_id="w0", agent_id="a", attempt=1),)


@pytest.mark.parametrize("status", ["PAUSED", "STOPPED", "ERROR"])
def test_the_line_of_an_agent_that_is_not_active_waits(status: str):
    freed = vacate(agent(), state(status, running=1, waiting=1), "r0", 1, NOW)
    assert freed
    assert (freed.state.running, len(freed.state.line), freed.sends) == ({}, 1, ())


def test_the_head_of_the_line_that_is_too_late_lets_the_next_one_pass():
    before = state().model_copy(update={"line": (Waiting(id="late", expires_at=NOW), Waiting(id="next"))})
    promoted = promote(agent(), before, NOW)
    assert (list(promoted.state.running), list(promoted.state.settle)) == (["next"], ["late"])


def test_more_slots_let_in_more_at_once():
    promoted = promote(agent(concurrency={"max_parallel": 3}), state(running=1, waiting=4), NOW)
    assert (list(promoted.state.running), len(promoted.state.line)) == (["r0", "w0", "w1"], 2)


# What always holds

CONCURRENCY = st.fixed_dictionaries(
    {
        "max_parallel": st.none() | st.integers(1, 4),
        "on_overlap": st.sampled_from([policy.value for policy in OnOverlap]),
        "queue_limit": st.integers(1, 4),
    }
)


@given(
    concurrency=CONCURRENCY,
    status=st.sampled_from(STATUSES),
    running=st.integers(0, 5),
    waiting=st.integers(0, 5),
    kind=st.sampled_from(KINDS),
)
def test_admission_never_exceeds_a_bound_and_never_loses_or_doubles_anybody(
    concurrency: dict[str, Any], status: str, running: int, waiting: int, kind: str
):
    who, before = agent(concurrency=concurrency), state(status, running, waiting)
    try:
        admission = decide(who, before, firing(kind), NOW)
    except OvernightError:
        return
    if admission is None:
        return
    after, row = admission.transition.state, admission.execution
    line = [entry.id for entry in after.line]
    assert len(after.running) <= max(running, who.document.concurrency.slots)
    assert len(set(line)) == len(line)
    assert not set(line) & set(after.running)
    # Everybody who was somewhere is somewhere, or on its way to be settled; the order of the line stays.
    everybody = set(before.running) | {entry.id for entry in before.line}
    everybody |= set() if row.status.terminal else {row.id}
    assert everybody == set(after.running) | set(line) | (set(after.settle) - set(after.running))
    assert [id_ for id_ in line if id_ != row.id] == [entry.id for entry in before.line if entry.id in line]
    assert row.id not in line or line[-1] == row.id
    # A message goes out for whoever got a slot, and for nobody else.
    assert [message.execution_id for message in admission.transition.sends] == [
        id_ for id_ in after.running if id_ not in before.running
    ]


@given(deadlines=st.lists(st.none() | st.integers(-5, 5), max_size=6))
def test_sweeping_takes_out_exactly_what_is_too_late(deadlines: list[int | None]):
    line = tuple(
        Waiting(id=str(n), expires_at=None if seconds is None else NOW + timedelta(seconds=seconds))
        for n, seconds in enumerate(deadlines)
    )
    swept = sweep(state().model_copy(update={"line": line}), NOW)
    late = {entry.id for entry in line if entry.expires_at and entry.expires_at <= NOW}
    assert set(swept.settle) == late
    assert [entry.id for entry in swept.line] == [entry.id for entry in line if entry.id not in late]


def admitted(who: Agent, before: AgentState, what: Firing | None = None) -> Admission:
    admission = decide(who, before, what or firing(), NOW)
    assert admission
    return admission
