from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overnight.cursors import encode
from overnight.errors import Invalid
from overnight.executions import FiringKind, Reason, Status, Stretch
from overnight.ports import ExecutionFilter, Revision


def _pages(world, where, limit, between=lambda: None):
    found, cursor = [], None
    while True:
        page = world.store.executions(where, cursor=cursor, limit=limit)
        assert len(page.items) <= limit
        found += page.items
        cursor = page.cursor
        if cursor is None:
            return found
        between()


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_executions_are_listed_newest_first_each_once(world, limit):
    agent = world.agent()
    made = []
    for n in range(7):
        if n % 2:  # some are of the same moment
            world.now.pass_(seconds=1)
        made.append(world.admit(agent).execution)
    assert _pages(world, ExecutionFilter(), limit) == made[::-1]
    assert _pages(world, ExecutionFilter(agent_id=agent.id), limit) == made[::-1]


def test_pages_are_steady_whatever_is_inserted_and_changed_meanwhile(world):
    agent = world.agent()
    made = []
    for _ in range(6):
        world.now.pass_(seconds=1)
        made.append(world.admit(agent).execution.id)

    def between():
        world.now.pass_(seconds=1)
        world.admit(agent)
        world.store.revise(made[0], lambda row: Revision(row.model_copy(update={"attempt": row.attempt + 1})))

    found = [execution.id for execution in _pages(world, ExecutionFilter(agent_id=agent.id), 2, between)]
    assert found == made[::-1]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(Status),
            st.sampled_from([None, "hourly", "github"]),
            st.sampled_from(FiringKind),
            st.integers(0, 3),
        ),
        max_size=12,
    ),
    agent=st.sampled_from([None, 0, 1]),
    statuses=st.lists(st.sampled_from(Status), unique=True, max_size=3),
    kinds=st.lists(st.sampled_from(FiringKind), unique=True, max_size=2),
    trigger=st.sampled_from([None, "hourly"]),
    span=st.tuples(st.none() | st.integers(0, 4), st.none() | st.integers(0, 4)),
    limit=st.integers(1, 5),
    most_read=st.sampled_from([1, 3, 10_000]),
)
def test_a_filter_finds_what_it_says_and_all_of_it(
    world, monkeypatch, rows, agent, statuses, kinds, trigger, span, limit, most_read
):
    for module in ("overnight.embedded.sql.search", "overnight.aws.dynamodb.listing"):
        monkeypatch.setattr(f"{module}.MOST_READ", most_read)
    world.now.pass_(days=1)
    start = world.now()
    agents = [world.agent(world.fresh("a")) for _ in range(3)]
    for owner, status, name, kind, second in rows:
        world.now.at = start + timedelta(seconds=second)
        firing = world.firing(agents[owner], trigger=name, kind=kind)
        world.admit(agents[owner], firing, status=status, due=start)
    world.now.at = start
    since, until = (start + timedelta(seconds=at) if at is not None else None for at in span)
    where = ExecutionFilter(
        agent_id=None if agent is None else agents[agent].id,
        statuses=tuple(statuses),
        kinds=tuple(kinds),
        trigger=trigger,
        since=since or start,  # what earlier examples left is older
        until=until,
    )
    everything = _pages(world, ExecutionFilter(since=start), 100)
    assert len(everything) == len(rows)
    expected = [
        execution
        for execution in everything
        if (agent is None or execution.agent_id == agents[agent].id)
        and (not statuses or execution.status in statuses)
        and (not kinds or execution.kind in kinds)
        and (trigger is None or execution.trigger == trigger)
        and (since is None or execution.created_at >= since)
        and (until is None or execution.created_at < until)
    ]
    assert _pages(world, where, limit) == expected


@pytest.mark.parametrize("most_read", [1, 10_000])
def test_executions_are_found_by_the_reason_why_they_were_skipped(world, monkeypatch, most_read):
    for module in ("overnight.embedded.sql.search", "overnight.aws.dynamodb.listing"):
        monkeypatch.setattr(f"{module}.MOST_READ", most_read)
    agent, other = world.agent("a"), world.agent("b")
    skipped = [
        world.admit(each, status=Status.SKIPPED, reason=Reason.OVERLAP).execution for each in (agent, other, agent)
    ]
    cancelled = world.admit(other, status=Status.CANCELLED, reason=Reason.OVERLAP).execution
    world.admit(agent, status=Status.SKIPPED, reason=Reason.PAUSED)
    world.admit(agent, status=Status.SUCCEEDED)
    for where, found in (
        ({}, [cancelled, *skipped[::-1]]),
        ({"agent_id": agent.id}, [skipped[2], skipped[0]]),
        ({"statuses": (Status.SKIPPED,)}, skipped[::-1]),
        ({"statuses": (Status.CANCELLED, Status.SUCCEEDED)}, [cancelled]),
        ({"kinds": (FiringKind.WEBHOOK,)}, []),
    ):
        assert _pages(world, ExecutionFilter(**where, reason=Reason.OVERLAP), 10) == found


@pytest.mark.parametrize("cursor", ["", "x", "!!", "WzFd", "WyJhIiwxXQ", "bnVsbA", "ä", "[1,2]", encode(2**63, 1)])
def test_a_cursor_that_was_not_given_out_is_refused(world, cursor):
    with pytest.raises(Invalid, match="cursor"):
        world.store.executions(ExecutionFilter(), cursor=cursor)


def test_what_is_not_terminal_is_found_each_once(world):
    agent = world.agent()
    made = {status: world.admit(agent, status=status, due=world.now()).execution for status in Status}
    unfinished = {execution.id for status, execution in made.items() if not status.terminal}
    for limit in (1, 2, 3, 100):
        found, cursor = [], None
        while True:
            page = world.store.unfinished(cursor=cursor, limit=limit)
            found += [execution.id for execution in page.items]
            cursor = page.cursor
            if cursor is None:
                break
        assert len(found) == 3
        assert set(found) == unfinished


# The ledger


def _tick(world, agent, hour, until=None, trigger="hourly", **fields):
    nominal = START + timedelta(hours=hour)
    given = {
        "kind": FiringKind.SCHEDULE,
        "trigger": trigger,
        "nominal": nominal,
        "until": START + timedelta(hours=until) if until is not None else None,
        "count": until - hour + 1 if until is not None else 1,
        "previous": nominal - timedelta(hours=1),
    }
    firing = world.firing(agent, f"tick:{trigger}:{hour}:{given['kind']}", **given | fields)
    return world.admit(agent, firing, status=Status.SKIPPED, reason=Reason.MISSED).execution


def _ledger(world, agent, since, until, trigger="hourly"):
    ticks = world.store.ticks(agent.id, trigger, START + timedelta(hours=since), START + timedelta(hours=until))
    return [int((tick.nominal - START) / timedelta(hours=1)) for tick in ticks]


START = None


@pytest.fixture(autouse=True)
def _start(world):
    global START  # noqa: PLW0603
    START = world.now()


def test_a_tick_in_the_ledger_says_what_became_of_it(world):
    agent = world.agent()
    one, many = _tick(world, agent, 1), _tick(world, agent, 2, until=200)
    assert [
        (tick.execution_id, tick.nominal, tick.until, tick.count, tick.previous, tick.status, tick.reason)
        for tick in world.store.ticks(agent.id, "hourly", START, START + timedelta(hours=2))
    ] == [
        (execution.id, execution.nominal, execution.until, execution.count, execution.previous, "skipped", "missed")
        for execution in (one, many)
    ]
    world.store.revise(one.id, lambda row: Revision(row.model_copy(update={"status": Status.FAILED, "reason": None})))
    (tick,) = world.store.ticks(agent.id, "hourly", START, START + timedelta(hours=1))
    assert (tick.status, tick.reason) == (Status.FAILED, None)


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [
        (0, 50, [1, 2, 3, 10, 21]),
        (1, 3, [1, 2, 3]),
        (2, 2, [2]),
        (4, 9, []),
        (15, 15, [10]),
        (20, 21, [10, 21]),
        (10, 10, [10]),
        (0, 10, [1, 2, 3, 10]),
        (22, 50, []),
        (3, 1, []),
    ],
)
def test_the_ledger_has_every_record_that_touches_the_time_asked_for_in_order(world, since, until, found):
    agent, other = world.agent("a"), world.agent("b")
    for hour in (3, 1, 2, 21):
        _tick(world, agent, hour)
    _tick(world, agent, 10, until=20)
    _tick(world, agent, 2, trigger="daily")
    _tick(world, other, 2)
    _tick(world, agent, 2, kind=FiringKind.BACKFILL)
    assert _ledger(world, agent, since, until) == found


def test_several_ledgers_are_read_at_once(world):
    agents = [world.agent(f"a{n}") for n in range(60)]
    for n, agent in enumerate(agents):
        _tick(world, agent, 1 + n % 3)
        _tick(world, agent, 5, until=9)
        _tick(world, agent, 2, trigger="daily")
    at = [START + timedelta(hours=hour) for hour in range(10)]
    asked = [
        *(Stretch(agent.id, "hourly", at[n % 4], at[6]) for n, agent in enumerate(agents)),
        Stretch(agents[0].id, "daily", at[0], at[9]),
        Stretch(agents[0].id, "hourly", at[7], at[8]),
        Stretch(agents[0].id, "hourly", at[3], at[4]),
        Stretch("ghost", "hourly", at[0], at[9]),
    ]
    found = world.store.ledgers(asked)
    assert {stretch: ticks for stretch in asked if (ticks := list(found.get(stretch, ())))} == {
        stretch: ticks for stretch in asked if (ticks := list(world.store.ticks(*stretch)))
    }
    assert not found.get(asked[-1])
    assert world.store.ledgers([]) == {}


def test_executions_are_read_by_their_ids(world):
    agent = world.agent()
    made = {execution.id: execution for execution in (world.admit(agent).execution for _ in range(60))}
    assert world.store.each_execution(["ghost", *made]) == made
    assert world.store.each_execution([]) == {}


def test_a_long_ledger_is_read_to_its_end(world, monkeypatch):
    executions = pytest.importorskip("overnight.embedded.sql.executions")
    monkeypatch.setattr(executions, "CHUNK", 3)
    agent = world.agent()
    for hour in range(10):
        _tick(world, agent, hour)
    assert _ledger(world, agent, 0, 8) == list(range(9))
