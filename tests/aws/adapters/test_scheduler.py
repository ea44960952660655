import json
import re
from datetime import timedelta

import pytest
from tests.support import aws

from overnight.aws.messages import Alarm
from overnight.aws.scheduler import SchedulerAlarmClock, schedule_name
from overnight.core import lifecycle
from overnight.errors import Invalid, Unavailable


def _expressions(stack):
    return [(one["ScheduleExpression"], one["ScheduleExpressionTimezone"]) for one in stack.schedules()]


def test_an_active_agent_is_armed_in_its_zone_and_calls_the_tick_function(stack):
    agent = stack.agent(triggers=[{"name": "daily", "cron": "0 8 * * 1-5", "timezone": "Europe/Berlin"}])
    (schedule,) = stack.schedules()
    assert schedule["ScheduleExpression"] == "cron(0 8 ? * 2-6 *)"
    assert schedule["ScheduleExpressionTimezone"] == "Europe/Berlin"
    assert schedule["State"] == "ENABLED"
    assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert schedule["Target"]["Arn"] == stack.environ["OVERNIGHT_TICK_ARN"]
    assert schedule["Target"]["RoleArn"] == stack.environ["OVERNIGHT_SCHEDULER_ROLE_ARN"]
    told = schedule["Target"]["Input"].replace("<aws.scheduler.scheduled-time>", "2026-03-02T07:00:00Z")
    alarm = Alarm.model_validate_json(told)
    assert (alarm.agent_id, alarm.trigger, alarm.version) == (agent.id, "daily", 1)
    assert alarm.definition["cron"] == "0 8 * * 1-5"


def test_a_name_is_made_of_ids_and_is_one_that_scheduler_takes(stack):
    agent = stack.agent(triggers=[{"name": "t" * 64, "interval": {"minutes": 7}}])
    for schedule in stack.schedules():
        assert re.fullmatch(r"[0-9a-zA-Z_.-]{1,64}", schedule["Name"])
        assert schedule["Name"].startswith(agent.id)
    names = {schedule_name(agent_id, trigger, n) for agent_id in ("a", "b") for trigger in "xy" for n in range(12)}
    assert len(names) == 48


def test_an_agent_that_is_paused_or_deleted_has_no_schedules(stack):
    ports = stack.open().ports
    stack.agent(triggers=[{"name": "a", "cron": "0 8 * * *"}, {"name": "b", "cron": "0 9 13 * 5"}])
    other = stack.agent("other", triggers=[{"name": "a", "cron": "0 8 * * *"}])
    assert len(stack.schedules()) == 4
    lifecycle.pause(ports, "agent")
    assert [one["Name"][:32] for one in stack.schedules()] == [other.id]
    lifecycle.resume(ports, "agent")
    assert len(stack.schedules()) == 4
    lifecycle.delete(ports, "agent")
    assert len(stack.schedules()) == 1


def test_an_edited_schedule_replaces_all_pieces_of_the_one_before(stack):
    ports = stack.open().ports
    agent = stack.agent(triggers=[{"name": "a", "cron": "0 9 13 * 5"}])
    assert len(stack.schedules()) == 2
    document = agent.document.model_copy()
    lifecycle.edit(
        ports,
        "agent",
        type(document).model_validate(
            document.model_dump() | {"triggers": [{"name": "a", "cron": "30 7 * * *", "timezone": "Asia/Tokyo"}]}
        ),
    )
    assert _expressions(stack) == [("cron(30 7 * * ? *)", "Asia/Tokyo")]
    assert json.loads(stack.schedules()[0]["Target"]["Input"])["version"] == 2


def test_arming_and_disarming_again_changes_nothing(stack):
    ports = stack.open().ports
    agent = stack.agent(triggers=[{"name": "a", "cron": "0 8 * * *"}])
    before = [one["ScheduleExpression"] for one in stack.schedules()]
    _, state = ports.store.read(agent.id)
    for _ in range(2):
        ports.clock.arm(agent, "a", state)
    assert [one["ScheduleExpression"] for one in stack.schedules()] == before
    for _ in range(2):
        ports.clock.disarm(agent.id, "a")
        assert stack.schedules() == []
    ports.clock.disarm("ghost", "a")


def test_a_date_is_armed_once_and_a_spent_schedule_is_disarmed(stack):
    ports = stack.open().ports
    when = stack.at + timedelta(hours=1)
    agent = stack.agent(triggers=[{"name": "launch", "date": when.isoformat()}])
    assert _expressions(stack) == [("at(2026-03-02T09:00:00)", "UTC")]
    assert stack.schedules()[0]["ActionAfterCompletion"] == "DELETE"
    _, state = ports.store.read(agent.id)
    spent = state.schedules["launch"].model_copy(update={"next": None})
    ports.clock.arm(agent, "launch", state.model_copy(update={"schedules": {"launch": spent}}))
    assert stack.schedules() == []


def test_what_scheduler_would_refuse_is_refused_before_it_is_called(stack):
    agent = stack.agent(triggers=[{"name": "launch", "date": "2250-01-01T00:00:00Z"}])
    _, state = stack.open().ports.store.read(agent.id)
    assert state.status == "ERROR"
    assert "1970 to 2199" in state.note
    assert stack.schedules() == []


def test_the_schedules_of_a_declared_agent_are_left_to_the_stack(stack):
    ports = stack.open().ports
    document = stack.agent().document.model_copy(update={"name": "declared"})
    document = type(document).model_validate(
        document.model_dump() | {"triggers": [{"name": "a", "cron": "0 8 * * *"}], "enabled": True}
    )
    lifecycle.create(ports, document, declared=True)
    assert stack.schedules() == []


def test_a_function_that_may_not_arm_says_so(stack):
    agent = stack.agent(triggers=[{"name": "a", "cron": "0 8 * * *"}])
    _, state = stack.open().ports.store.read(agent.id)
    clock = SchedulerAlarmClock(lambda: aws.client("scheduler"), stack.name, None, None)
    with pytest.raises(Unavailable, match="OVERNIGHT_TICK_ARN"):
        clock.arm(agent, "a", state)


def test_an_agent_id_that_makes_no_name_can_be_armed_all_the_same(stack):
    agent = stack.agent(triggers=[{"name": "a", "cron": "0 8 * * *"}]).model_copy(update={"id": "id with spaces/ä"})
    _, state = stack.open().ports.store.read("agent")
    stack.open().ports.clock.arm(agent, "a", state)
    assert any(one["Name"].startswith("id-with-spaces---") for one in stack.schedules())


def test_a_schedule_of_too_many_pieces_is_refused(stack, monkeypatch):
    monkeypatch.setattr("overnight.aws.scheduler.MOST_EXPRESSIONS", 1)
    agent = stack.agent(triggers=[{"name": "a", "cron": "0 9 13 * 5"}])
    _, state = stack.open().ports.store.read(agent.id)
    assert "2 schedules" in state.note
    with pytest.raises(Invalid, match="2 schedules"):
        stack.open().ports.clock.arm(agent, "a", stack_state(stack, agent))


def stack_state(stack, agent):
    """The agent's state as it was while it was to be armed."""
    armed = {"a": {"version": 1, "since": stack.at, "anchor": stack.at, "tzdata": "2026.1", "next": stack.at}}
    _, state = stack.open().ports.store.read(agent.id)
    return type(state).model_validate(state.model_dump() | {"schedules": armed})
