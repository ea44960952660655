"""Verify: it finds every kind of damage, and nothing on a healthy history."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from tests.support.flows import failed
from tests.support.world import BEGIN, World

from overnight import cursors
from overnight.agents import AgentState, CatchUpPlan, Settlement, Slot, Waiting
from overnight.core import lifecycle, run, verify
from overnight.core.decide import decide
from overnight.core.verify import ledgers, walk
from overnight.errors import Invalid, NoFreeSlot
from overnight.executions import Execution, Firing, FiringKind, Reason
from overnight.ports import Admission, Revision, Transition

HOUR = timedelta(hours=1)


@pytest.fixture
def damaged(world: World) -> World:
    """A healthy history of a morning; what comes next is the damage."""
    retries = {"attempts": 2, "backoff_seconds": 3600, "jitter": "none"}
    world.agent(cron="*/10 * * * *", end_at=BEGIN + 2 * HOUR, retries=retries)
    world.live(hours=2, minutes=5)
    world.check(settling=timedelta())
    return world


def state(world: World, **fields: Any) -> None:
    """Overwrite fields of the agent's state."""
    world.store.transition(world.subjects["agent"], lambda _, state: Transition(state.model_copy(update=fields)))


def row(world: World, execution: Execution, **fields: Any) -> None:
    """Overwrite fields of an execution."""
    world.store.revise(execution.id, lambda row: Revision(row.model_copy(update=fields)))


def insert(world: World, nominal_minutes: int, key: str, **fields: Any) -> None:
    """Put a record into the ledger that nobody asked for."""
    nominal = BEGIN + timedelta(minutes=nominal_minutes)
    firing = Firing(
        agent_id=world.subjects["agent"], kind=FiringKind.SCHEDULE, trigger="schedule", nominal=nominal,
        dedupe_key=key, disposition=Reason.MISSED, **fields,
    )  # fmt: skip

    def gate(agent: Any, state: AgentState) -> Admission | None:
        return decide(agent, state, firing, world.now)

    assert world.store.admit(firing, gate)


def pending(world: World) -> Execution:
    """An execution that has a slot and waits for its worker."""
    return world.trigger()


def waiting(world: World) -> Execution:
    """An execution that waits in the line, behind one that has a slot."""
    world.trigger()
    return world.trigger()


def retrying(world: World) -> Execution:
    """An execution with a due time of its own, in an hour."""
    world.flows.says("agent", failed())
    execution = world.trigger()
    world.drain()
    return world.row(execution)


def running(world: World) -> Execution:
    """An execution that is under way."""
    world.hold("agent")
    execution = world.trigger()
    world.drain()
    return world.row(execution)


def lose_tick(world: World) -> None:
    world.lose(world.rows()[5])


def lose_first_tick(world: World) -> None:
    world.lose(world.rows()[0])


def lose_last_tick(world: World) -> None:
    world.lose(world.rows()[-1])


def second_record(world: World) -> None:
    insert(world, 30, "tick:schedule:again")


def range_over_records(world: World) -> None:
    insert(world, 25, "tick:schedule:range", until=BEGIN + timedelta(minutes=45), count=2)


def no_tick(world: World) -> None:
    insert(world, 33, "tick:schedule:stray")


def no_slot(world: World) -> None:
    pending(world)
    state(world, running={})
    world.advance(minutes=1)


def not_in_line(world: World) -> None:
    waiting(world)
    state(world, line=())
    world.advance(minutes=1)


def no_due(world: World) -> None:
    row(world, retrying(world), due=None)


def runs_without_slot(world: World) -> None:
    running(world)
    state(world, running={})


def line_and_due(world: World) -> None:
    row(world, waiting(world), due=world.now - timedelta(minutes=5))


def line_and_slot(world: World) -> None:
    execution = pending(world)
    state(world, line=(Waiting(id=execution.id),))


def twice_in_line(world: World) -> None:
    execution = waiting(world)
    state(world, line=(Waiting(id=execution.id), Waiting(id=execution.id)))


def slot_and_due(world: World) -> None:
    execution = retrying(world)
    state(world, running={execution.id: Slot(attempt=2, since=world.now, look_at=world.now + HOUR)})


def over_and_holds_a_slot(world: World) -> None:
    execution = world.rows()[0]
    state(world, running={execution.id: Slot(attempt=1, since=world.now, look_at=world.now + 5 * HOUR)})
    world.advance(minutes=9)


def nobody_holds_a_slot(world: World) -> None:
    state(world, running={"nobody": Slot(attempt=1, since=world.now, look_at=world.now + 5 * HOUR)})


def lease_is_over(world: World) -> None:
    execution = running(world)
    world.under.pop(execution.id)
    state(world, running={execution.id: Slot(attempt=1, since=world.now, look_at=world.now + 5 * HOUR)})
    world.advance(hours=1)


def nobody_looked(world: World) -> None:
    pending(world)
    world.advance(hours=1)


def retry_was_never_taken_up(world: World) -> None:
    retrying(world)
    world.advance(hours=2)


def never_settled(world: World) -> None:
    order = Settlement(status="cancelled", reason=Reason.STOPPED, since=world.now)
    execution = pending(world)
    state(world, settle={execution.id: order})
    world.advance(minutes=9)


def plan_was_not_carried_out(world: World) -> None:
    plan = CatchUpPlan(mode="all", oldest=BEGIN, until=world.now, fixed_at=world.now)
    state(world, catch_up={"schedule": plan})
    world.advance(minutes=9)


DAMAGE: list[tuple[Callable[[World], None], str]] = [
    (lose_tick, "hole"),
    (lose_first_tick, "hole"),
    (lose_last_tick, "hole"),
    (second_record, "double"),
    (range_over_records, "double"),
    (no_tick, "stray"),
    (no_slot, "unreachable"),
    (not_in_line, "unreachable"),
    (no_due, "unreachable"),
    (runs_without_slot, "unreachable"),
    (line_and_due, "twofold"),
    (line_and_slot, "twofold"),
    (twice_in_line, "twofold"),
    (slot_and_due, "twofold"),
    (over_and_holds_a_slot, "stuck"),
    (nobody_holds_a_slot, "stuck"),
    (lease_is_over, "stuck"),
    (nobody_looked, "stuck"),
    (retry_was_never_taken_up, "stuck"),
    (never_settled, "stuck"),
    (plan_was_not_carried_out, "stuck"),
]


def told(report: verify.Report) -> tuple[Any, ...]:
    """What a report says, in an order of its own."""
    return report.agents, report.ticks, report.executions, sorted(map(str, report.findings))


def in_small_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """What a walk says that takes many pages: an agent each, three ticks of its ledger, an execution."""
    with monkeypatch.context() as small:
        for name, most in (("AGENTS", 1), ("TICKS", 3), ("EXECUTIONS", 1)):
            small.setattr(walk, name, most)
        return told(world.verify())


@pytest.mark.parametrize(("damage", "kind"), DAMAGE, ids=[damage.__name__ for damage, _ in DAMAGE])
def test_damage_is_found_also_in_small_pages(
    damaged: World, damage: Callable[[World], None], kind: str, monkeypatch: pytest.MonkeyPatch
):
    damage(damaged)
    report = damaged.verify()
    assert {finding.kind for finding in report.findings} == {kind}, report.findings
    assert {finding.agent for finding in report.findings} == {"agent"}
    assert in_small_pages(damaged, monkeypatch) == told(report)


def test_a_finding_names_agent_trigger_time_and_execution(damaged: World):
    gone = damaged.rows()[5]
    damaged.lose(gone)
    (finding,) = damaged.verify().findings
    assert (finding.kind, finding.agent, finding.trigger, finding.at) == ("hole", "agent", "schedule", gone.nominal)
    no_tick(damaged)
    finding = next(finding for finding in damaged.verify().findings if finding.kind == "stray")
    assert finding.execution_id in {row.id for row in damaged.rows()}


def test_one_agent_alone_can_be_looked_at(damaged: World):
    damaged.agent("other", cron="*/10 * * * *")
    lose_tick(damaged)
    assert damaged.verify(agent="other").ok
    assert not damaged.verify(agent="agent").ok
    assert damaged.verify(agent="agent").agents == 1


def test_only_the_range_asked_for_is_looked_at(damaged: World):
    gone = damaged.rows()[5]
    damaged.lose(gone)
    assert gone.nominal
    for since, until, found in (
        (BEGIN, gone.nominal, False),
        (gone.nominal, damaged.now, True),
        (gone.nominal + timedelta(seconds=1), damaged.now, False),
    ):
        report = verify.verify(damaged.store, damaged.now, since, until)
        assert bool(report.findings) is found


def test_under_another_release_of_tzdata_the_records_prove_themselves(damaged: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ledgers, "tzdata_version", lambda: "2099z")
    assert damaged.verify().ok
    assert in_small_pages(damaged, monkeypatch) == told(damaged.verify())
    for execution in damaged.rows()[2:7:2]:
        damaged.lose(execution)
        assert {finding.kind for finding in damaged.verify().findings} == {"unverifiable"}
        assert in_small_pages(damaged, monkeypatch) == told(damaged.verify())


def test_a_deleted_agents_history_is_looked_at_too(damaged: World):
    lifecycle.delete(damaged.ports, "agent")
    assert damaged.verify().ok
    lose_tick(damaged)
    assert [finding.kind for finding in damaged.verify().findings] == ["hole"]


def test_a_page_holds_few_ticks_and_says_where_to_go_on(damaged: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(walk, "TICKS", 4)
    damaged.agent("other", cron="*/10 * * * *")
    lose_tick(damaged)
    cursor, pages = None, []
    while not pages or cursor:
        page = verify.verify_page(damaged.store, damaged.now, BEGIN, damaged.now, settling=timedelta(), cursor=cursor)
        pages.append(page)
        cursor = page.cursor
    assert len(pages) == 3
    assert max(page.ticks for page in pages) == 4
    assert sum(page.agents for page in pages) == 2
    assert [finding.kind for page in pages for finding in page.findings] == ["hole"]


def test_a_walk_ends_when_it_has_found_enough(damaged: World, monkeypatch: pytest.MonkeyPatch):
    for row in damaged.rows():
        damaged.lose(row)
    monkeypatch.setattr(walk, "TICKS", 4)
    monkeypatch.setattr(walk, "MOST", 5)
    report = damaged.verify()
    assert len(report.findings) == 8
    assert report.cursor is not None


@pytest.mark.parametrize(
    "cursor",
    ["", "!", cursors.encode("agents"), cursors.encode("x", "", "", ""), cursors.encode("agents", "", "", "x")],
)
def test_a_cursor_that_was_not_given_out_is_refused(world: World, cursor: str):
    with pytest.raises(Invalid, match="cursor"):
        verify.verify_page(world.store, world.now, BEGIN, world.now, cursor=cursor)


def test_a_long_range_is_looked_at_quickly(world: World):
    world.agent(interval={"seconds": 1}, catch_up="skip")
    hours = 1 if world.kind == "dynamodb" else 12  # moto is slow
    world.live(minutes=20, step=60)
    world.advance(hours=hours)
    world.beat()
    world.advance(minutes=10)
    assert world.verify(settling=timedelta(minutes=15)).ticks > hours * 3_600


POLICIES = {"a": "queue", "b": "queue_one", "c": "cancel_running"}


def fire(world: World, n: int) -> None:
    with suppress(NoFreeSlot):
        execution = world.trigger("abc"[n % 3])
        if n % 7 == 0:
            run.cancel(world.ports, execution.id)


def work(world: World, n: int) -> None:
    if n % 3 == 0:
        world.flows.says("abc"[n // 3 % 3], failed())
    for message in world.queue.receive(4, world.now):
        run.run(world.ports, message)


def change(world: World, n: int) -> None:
    for name in POLICIES:
        (lifecycle.pause, lifecycle.resume)[n % 2](world.ports, name)


def repeat(act: Callable[[World, int], None], world: World, times: int) -> None:
    for n in range(times):
        act(world, n)


def test_nothing_is_found_while_everything_is_under_way(world: World):
    """Threads trigger, run, cancel, pause and resume, while this one looks."""
    for name, policy in POLICIES.items():
        world.agent(name, concurrency={"max_parallel": 2, "on_overlap": policy}, retries={"backoff_seconds": 0})
    acts = [(fire, 90), (fire, 90), (work, 150), (work, 150), (change, 40)]
    found = []
    with ThreadPoolExecutor(len(acts)) as threads:
        under_way = [threads.submit(repeat, act, world, times) for act, times in acts]
        while not all(act.done() for act in under_way):
            found += world.verify(settling=timedelta()).findings
        for act in under_way:
            act.result()
    assert not found, found
    for name in POLICIES:
        lifecycle.start(world.ports, name)
    world.live(minutes=10, step=60)
    assert all(row.status.terminal for row in world.rows(None))
    world.check(settling=timedelta(minutes=1))
