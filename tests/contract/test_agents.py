from datetime import timedelta

import pytest

from overnight.agents import AgentStatus, ArmedPeriod
from overnight.errors import AgentExists, AgentNotFound
from overnight.ports import Change, Transition


def test_an_agent_is_found_by_id_and_by_name(world):
    agent = world.agent("daily")
    assert world.store.agent(agent.id) == agent
    assert world.store.agent("daily") == agent
    assert world.store.read("daily")[0] == agent
    assert world.store.read("daily")[1].agent_id == agent.id


def test_an_id_goes_before_a_name(world):
    first = world.agent("a", agent_id="x")
    world.agent("x", agent_id="y")
    assert world.store.agent("x") == first
    assert world.store.read("x")[0] == first


def test_a_name_is_taken_once(world):
    world.agent("daily")
    with pytest.raises(AgentExists, match="daily"):
        world.agent("daily")
    assert len(world.store.agents().items) == 1


def test_an_agent_that_is_not_there_is_said_to_be_so(world):
    for ask in (
        lambda: world.store.agent("ghost"),
        lambda: world.store.read("ghost"),
        lambda: world.store.agent_version("ghost", 1),
        lambda: world.store.transition("ghost", lambda agent, state: Transition(state)),
        lambda: world.store.change_agent("ghost", lambda agent, state: None),
    ):
        with pytest.raises(AgentNotFound, match="ghost"):
            ask()


def test_an_edit_keeps_the_former_definition(world):
    first = world.agent("daily", description="one")
    second = world.edit(first, version=2, document=world.document("daily", description="two"))
    third = world.edit(first, version=3, document=world.document("daily", description="three"))
    assert world.store.agent("daily") == third
    assert [world.store.agent_version(first.id, version) for version in (1, 2, 3)] == [first, second, third]
    with pytest.raises(AgentNotFound):
        world.store.agent_version(first.id, 4)


def test_an_edit_sees_the_agent_and_its_state_and_moves_both_as_one(world):
    agent = world.agent("daily")

    def change(seen, state):
        assert (seen, state) == (agent, world.state(agent))
        paused = state.model_copy(update={"status": AgentStatus.PAUSED, "note": "holiday"})
        return Change(seen.model_copy(update={"updated_at": world.now.pass_(seconds=1)}), Transition(paused))

    changed, unsent = world.store.change_agent(agent.id, change)
    assert unsent == ()
    assert world.store.read("daily") == (changed.agent, changed.transition.state)
    assert changed.transition.state.note == "holiday"
    assert changed.transition.state.rev == 1


def test_an_edit_that_raises_or_declines_writes_nothing(world):
    agent = world.agent("daily")

    def refuse(agent, state):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        world.store.change_agent(agent.id, refuse)
    assert world.store.change_agent(agent.id, lambda agent, state: None) is None
    assert world.store.read(agent.id) == (agent, world.state(agent))
    assert world.state(agent).rev == 0


def test_a_rename_moves_the_name_and_not_onto_another(world):
    agent = world.agent("daily")
    other = world.agent("weekly")
    world.edit(agent, version=2, document=world.document("nightly"))
    assert world.store.agent("nightly").id == agent.id
    with pytest.raises(AgentNotFound):
        world.store.agent("daily")
    with pytest.raises(AgentExists):
        world.edit(agent, version=3, document=world.document("weekly"))
    assert world.store.agent("weekly") == other
    assert world.store.agent(agent.id).name == "nightly"
    assert world.agent("daily").id != agent.id


def test_deletion_frees_the_name_and_leaves_the_agent_to_be_found_by_its_id(world):
    agent = world.agent("daily", triggers=[{"name": "e", "event": {"name": "a.b"}}])
    deleted = world.edit(agent, deleted_at=world.now())
    with pytest.raises(AgentNotFound):
        world.store.agent("daily")
    with pytest.raises(AgentNotFound):
        world.store.read("daily")
    assert world.store.agent(agent.id) == deleted
    assert world.store.read(agent.id)[0] == deleted
    assert world.store.agent_version(agent.id, 1).document == agent.document
    assert world.store.subscribers(["a.b"]) == ()
    again = world.agent("daily")
    assert world.store.agent("daily") == again


def test_a_change_of_the_agent_is_seen_at_the_gate(world):
    agent = world.agent("daily")
    world.admit(agent)
    world.edit(agent, deleted_at=world.now())
    seen = []
    world.store.transition(agent.id, lambda agent, state: seen.append(agent.deleted_at))
    assert seen == [world.now()]


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
def test_agents_are_listed_by_name_in_pages(world, limit):
    for name in ("c", "a", "e", "b", "d"):
        world.agent(name)
    world.edit(world.store.agent("b"), deleted_at=world.now())
    assert _names(world, limit) == ["a", "c", "d", "e"]


def test_agents_are_listed_by_status_and_deleted_ones_when_asked_for(world):
    a, b, c = world.agent("a"), world.agent("b", state={"status": "PAUSED"}), world.agent("c")
    world.edit(c, deleted_at=world.now())
    assert [agent.id for agent, _ in world.store.agents(status=AgentStatus.PAUSED).items] == [b.id]
    assert [agent.id for agent, _ in world.store.agents(deleted=True).items] == [a.id, b.id, c.id]
    assert [state.agent_id for _, state in world.store.agents(deleted=True, limit=2).items] == [a.id, b.id]


def _names(world, limit, **where):
    names, cursor = [], None
    while True:
        page = world.store.agents(**where, cursor=cursor, limit=limit)
        assert len(page.items) <= limit
        names += [agent.name for agent, _ in page.items]
        cursor = page.cursor
        if cursor is None:
            return names


@pytest.mark.parametrize("limit", [1, 10])
def test_agents_are_listed_by_what_triggers_them(world, limit):
    both = [{"name": "h", "webhook": {}}, {"name": "t", "interval": {"hours": 1}}, {"name": "u", "cron": "@daily"}]
    a, b = world.agent("a", triggers=both), world.agent("b", triggers=both[:1])
    world.agent("c", triggers=[{"name": "e", "event": {"name": "a.b"}}])
    d, e = world.agent("d", triggers=both[1:]), world.agent("e", triggers=both)

    def listed():
        return ["".join(_names(world, limit, having=kind)) for kind in ("webhook", "schedule")]

    assert listed() == ["abe", "ade"]
    world.edit(e, deleted_at=world.now())
    world.edit(b, version=2, document=world.document("b", triggers=both[1:2]))
    world.edit(d, version=2, document=world.document("x", triggers=both))
    assert listed() == ["ax", "abx"]
    world.edit(a, version=2, document=world.document("a"))
    assert listed() == ["x", "bx"]


@pytest.mark.parametrize("limit", [1, 10])
def test_agents_are_listed_by_the_status_that_they_have_now(world, limit):
    triggers = [{"name": "h", "webhook": {}}]
    a, b, c = world.agent("a", triggers=triggers), world.agent("b"), world.agent("c", triggers=triggers)

    def listed(**where):
        return ["".join(_names(world, limit, status=AgentStatus(status), **where)) for status in ("ACTIVE", "ERROR")]

    def become(agent, status):
        world.store.transition(
            agent.id, lambda _, state: Transition(state.model_copy(update={"status": AgentStatus(status)}))
        )

    assert listed() == ["abc", ""]
    become(a, "ERROR")
    become(c, "ERROR")
    assert listed() == ["b", "ac"]
    assert listed(having="webhook") == ["", "ac"]
    world.edit(c, version=2, document=world.document("d"))
    become(a, "ACTIVE")
    assert listed() == ["ab", "d"]
    world.edit(b, deleted_at=world.now())
    assert listed() == ["a", "d"]


def test_subscribers_are_those_of_the_current_definition(world):
    triggers = [
        {"name": "late", "event": {"name": "dataset.*"}},
        {"name": "early", "event": {"name": "dataset.created"}},
        {"name": "hourly", "interval": {"hours": 1}},
    ]
    a = world.agent("a", agent_id="a", triggers=triggers)
    world.agent("b", agent_id="b", triggers=[{"name": "other", "event": {"name": "billing.paid"}}])
    world.agent("c", agent_id="c", triggers=[{"name": "same", "event": {"name": "dataset.created"}}])
    names = ("dataset.created", "dataset.*")

    assert world.store.subscribers(names) == ("a", "c")
    assert world.store.subscribers(["dataset.*"]) == ("a",)
    assert world.store.subscribers(["billing.paid", "dataset.*"]) == ("a", "b")
    world.edit(a, version=2, document=world.document("a", triggers=triggers[1:]))
    assert world.store.subscribers(names) == ("a", "c")
    world.edit(a, version=3, document=world.document("a", triggers=triggers[2:]))
    assert world.store.subscribers(names) == ("c",)
    assert world.store.subscribers([]) == ()


def test_subscribers_come_in_pages(world):
    triggers = [{"name": "one", "event": {"name": "a.*"}}, {"name": "two", "event": {"name": "a.b"}}]
    for name in "abcde":
        world.agent(name, agent_id=name, triggers=triggers)
    assert world.store.subscribers(["a.b", "a.*"], limit=2) == ("a", "b")
    assert world.store.subscribers(["a.b", "a.*"], after="b", limit=2) == ("c", "d")
    assert world.store.subscribers(["a.b", "a.*"], after="d", limit=2) == ("e",)
    assert world.store.subscribers(["a.b", "a.*"], after="e", limit=2) == ()


def _period(agent, trigger, since, until=None, ended=None):
    (definition,) = (one for one in agent.document.triggers if one.name == trigger)
    return ArmedPeriod(
        agent_id=agent.id,
        trigger=trigger,
        version=1,
        definition=definition,
        anchor=since,
        tzdata="2026.1",
        since=since,
        until=until,
        ended=ended,
    )


def test_armed_periods_are_opened_and_closed_with_their_agent(world):
    agent = world.agent("daily", triggers=[{"name": "b", "cron": "0 8 * * *"}, {"name": "a", "cron": "0 9 * * *"}])
    start = world.now()
    hours = [start + timedelta(hours=hour) for hour in range(4)]

    def write(*periods):
        world.store.change_agent(agent.id, lambda agent, state: Change(agent, Transition(state), periods))

    write(_period(agent, "b", hours[0]), _period(agent, "a", hours[1]))
    write(_period(agent, "b", hours[0], hours[1], "edited"), _period(agent, "b", hours[2]))

    def found(since, until):
        periods = world.store.periods([agent.id], since, until)
        return [(one.trigger, one.since, one.until, one.ended) for one in periods]

    a = ("a", hours[1], None, None)
    first, second = ("b", hours[0], hours[1], "edited"), ("b", hours[2], None, None)
    assert found(hours[0], hours[3]) == [a, first, second]
    assert found(hours[0], hours[1]) == [first]
    assert found(hours[1] + timedelta(seconds=1), hours[2]) == [a]
    assert found(hours[3], hours[3] + timedelta(days=1)) == [a, second]
    assert world.store.periods(["ghost"], hours[0], hours[3]) == []


def test_states_and_armed_periods_of_many_agents_are_read_at_once(world):
    start = world.now()
    agents = [world.agent(f"a{n}", triggers=[{"name": "b", "cron": "0 8 * * *"}]) for n in range(60)]
    for agent in agents:
        armed = _period(agent, "b", start)
        world.store.change_agent(agent.id, lambda agent, state, armed=armed: Change(agent, Transition(state), (armed,)))
    ids = [agent.id for agent in agents]
    found = world.store.periods(["ghost", *ids], start, start + timedelta(hours=1))
    assert sorted(period.agent_id for period in found) == sorted(ids)
    assert world.store.states(["ghost", *ids]) == {agent.id: world.state(agent) for agent in agents}
    assert world.store.states([]) == {}


def test_what_is_left_of_a_deleted_agent_goes_with_its_last_execution(world):
    agent = world.agent("daily", triggers=[{"name": "e", "event": {"name": "a.b"}}])
    execution = world.started(agent)
    world.store.revise(execution.id, world.end)
    assert not world.store.forget_agent(agent.id)
    assert world.store.agent(agent.id)  # it lives
    world.edit(agent, version=2, deleted_at=world.now())
    assert not world.store.forget_agent(agent.id)
    assert world.store.agent(agent.id)  # it has history
    world.now.pass_(days=31)
    assert world.store.prune(world.now(), 100) == 1
    assert world.store.forget_agent(agent.id)
    for ask in (world.store.agent, world.store.read, lambda ref: world.store.agent_version(ref, 1)):
        with pytest.raises(AgentNotFound):
            ask(agent.id)
    assert world.store.agents(deleted=True).items == ()
    world.store.forget_agent(agent.id)
    assert world.agent("daily", agent_id=agent.id, description="anew") == world.store.agent(agent.id)
    assert world.store.agent_version(agent.id, 1).document.description == "anew"
