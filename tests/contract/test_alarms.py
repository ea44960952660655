from datetime import timedelta

from overnight.agents import AgentState, Armed


def _arm(world, agent, trigger="hourly", version=1, **next_in):
    start = world.now()
    following = start + timedelta(**next_in) if next_in else None
    armed = Armed(version=version, since=start, anchor=start, tzdata="2026.1", next=following)
    world.clock.arm(agent, trigger, AgentState(agent_id=agent.id, schedules={trigger: armed}))


def _due(world):
    return [(alarm.agent_id, alarm.trigger, alarm.version) for alarm in world.clock.due(world.now(), 100)]


def test_an_alarm_rings_at_its_time_and_not_before(world):
    agent = world.agent()
    _arm(world, agent, hours=1)
    assert world.clock.earliest() == world.now() + timedelta(hours=1)
    world.now.pass_(minutes=59)
    assert _due(world) == []
    world.now.pass_(minutes=1)
    (alarm,) = world.clock.due(world.now(), 100)
    assert (alarm.agent_id, alarm.trigger, alarm.version) == (agent.id, "hourly", 1)
    assert (alarm.nominal, alarm.due) == (world.now(), world.now())


def test_it_rings_until_it_is_set_to_the_next_tick(world):
    agent = world.agent()
    _arm(world, agent, hours=1)
    world.now.pass_(hours=1)
    (alarm,) = world.clock.due(world.now(), 100)
    if world.kind.shared:  # it rings for one engine, and for another one should that die
        assert world.clock.due(world.now(), 100) == []
        world.now.pass_(seconds=10)
    (again,) = world.clock.due(world.now(), 100)
    assert (again.nominal, again.version) == (alarm.nominal, alarm.version)
    following = world.now() + timedelta(hours=1)
    world.clock.advance([(alarm, (following, following + timedelta(seconds=3)))])
    assert _due(world) == []
    assert world.clock.earliest() == following + timedelta(seconds=3)
    world.now.pass_(hours=1)
    assert _due(world) == []
    world.now.pass_(seconds=3)
    (alarm,) = world.clock.due(world.now(), 100)
    assert alarm.nominal == following
    world.clock.advance([(alarm, None)])
    assert world.clock.earliest() is None


def test_what_was_armed_anew_in_between_is_left_alone(world):
    agent = world.agent()
    _arm(world, agent, hours=1)
    world.now.pass_(hours=1)
    (alarm,) = world.clock.due(world.now(), 100)
    _arm(world, agent, version=2, minutes=10)
    world.clock.advance([(alarm, (world.now() + timedelta(hours=1),) * 2)])
    world.clock.advance([(alarm, None)])
    world.now.pass_(minutes=10)
    assert _due(world) == [(agent.id, "hourly", 2)]


def test_what_was_disarmed_in_between_stays_so(world):
    agent = world.agent()
    _arm(world, agent, hours=1)
    world.now.pass_(hours=1)
    (alarm,) = world.clock.due(world.now(), 100)
    world.clock.disarm(agent.id, "hourly")
    world.clock.advance([(alarm, (world.now() + timedelta(hours=1),) * 2)])
    assert world.clock.earliest() is None
    world.clock.disarm(agent.id, "hourly")


def test_arming_again_replaces_and_arming_without_a_next_tick_disarms(world):
    agent = world.agent()
    _arm(world, agent, hours=1)
    _arm(world, agent, version=2, minutes=5)
    assert world.clock.earliest() == world.now() + timedelta(minutes=5)
    _arm(world, agent, version=3)
    assert world.clock.earliest() is None


def test_alarms_come_in_order_and_not_more_than_asked_for(world):
    agents = [world.agent(name) for name in "abc"]
    for agent, minutes in zip(agents, (3, 1, 2), strict=True):
        _arm(world, agent, minutes=minutes)
    _arm(world, agents[0], "other", minutes=30)
    world.now.pass_(minutes=5)
    assert [alarm.agent_id for alarm in world.clock.due(world.now(), 2)] == [agents[1].id, agents[2].id]
    world.now.pass_(seconds=10)
    assert len(world.clock.due(world.now(), 100)) == 3


def test_arming_wakes_whoever_waits(world):
    agent = world.agent()
    world.opened.woken.clear()
    _arm(world, agent, hours=1)
    assert world.opened.woken


def test_alarms_outlive_a_restart(lasting):
    agent = lasting.agent()
    _arm(lasting, agent, hours=1)
    lasting.restart()
    assert lasting.clock.earliest() == lasting.now() + timedelta(hours=1)
