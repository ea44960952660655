import json
import re
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from tests.support import aws
from tests.support.faults import faulty, refused, well

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


# What moto accepts and AWS would not

SCHEDULES = [
    {"cron": "0 8 * * 1-5", "timezone": "America/New_York"},
    {"cron": "*/7 * * * *", "timezone": "Asia/Kathmandu"},
    {"cron": "0 9 13 * 5"},
    {"cron": "0 0 L * *"},
    {"cron": "0 0 * * MON#2"},
    {"cron": "1,4,9,16,25,36,49 0-23/5 1-7,20-27 1,2,3,5,8 *", "timezone": "Europe/London"},
    {"cron": "@yearly"},
    {"cron": "30 2 * * *", "timezone": "Australia/Lord_Howe", "jitter_seconds": 900},
    {"interval": {"seconds": 1}},
    {"interval": {"minutes": 7}, "start_at": "2026-03-01T00:00:07Z"},
    {"interval": {"hours": 36}},
    {"interval": {"weeks": 2}},
    {"date": "2199-12-31T23:59:59Z"},
    {"cron": "0 8 * * *", "exclude": {"dates": [f"2026-{m:02}-{d:02}" for m in range(1, 13) for d in range(1, 29)]}},
]

FIELD = r"[0-9A-Z*,\-/?#LW]+"
EXPRESSION = re.compile(rf"cron\({FIELD}( {FIELD}){{5}}\)|rate\(\d+ \w+\)|at\(\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\)")


def accepted(request):
    """What the documentation of CreateSchedule says of each field.

    https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html
    """
    assert re.fullmatch(r"[0-9a-zA-Z_.-]{1,64}", request["Name"])
    assert re.fullmatch(r"[0-9a-zA-Z_.-]{1,64}", request["GroupName"])
    assert len(request["ScheduleExpression"]) <= 256
    assert EXPRESSION.fullmatch(request["ScheduleExpression"]), request["ScheduleExpression"]
    if request["ScheduleExpression"].startswith("cron"):
        _, _, day, _, weekday, _ = request["ScheduleExpression"][5:-1].split()
        assert (day == "?") != (weekday == "?")
    assert ZoneInfo(request["ScheduleExpressionTimezone"])
    assert len(request["ScheduleExpressionTimezone"]) <= 50
    target = request["Target"]
    assert json.loads(target["Input"])
    assert len(target["Input"].encode()) <= 256 * 1024
    assert 0 <= target["RetryPolicy"]["MaximumRetryAttempts"] <= 185
    assert 60 <= target["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 86_400


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: str(next(iter(schedule.values()))))
def test_what_scheduler_is_told_is_what_it_takes(stack, schedule):
    agent = stack.agent(triggers=[{"name": "schedule"} | schedule])
    assert stack.open().ports.store.read(agent.id)[1].status == "ACTIVE"
    schedules = stack.schedules()
    assert 1 <= len(schedules) <= 12
    for request in schedules:
        accepted(request)


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        (refused("ValidationException", "Invalid Schedule Expression"), Invalid, "triggers.a: .*Invalid Schedule Expr"),
        (refused("ResourceNotFoundException", "Schedule group"), Unavailable, "no schedule group .*deploy the stack"),
        (refused("ServiceQuotaExceededException", "quota"), Unavailable, "higher quota"),
        (refused("AccessDeniedException", "not authorized"), Unavailable, "AccessDeniedException"),
    ],
)
def test_what_scheduler_refuses_all_the_same_is_said_in_our_words(stack, fault, error, says):
    agent = stack.agent(triggers=[{"name": "a", "cron": "0 8 * * *"}])
    _, state = stack.open().ports.store.read(agent.id)
    client = faulty("scheduler", [fault])
    clock = SchedulerAlarmClock(lambda: client, stack.name, "arn:tick", "arn:role")
    with pytest.raises(error, match=says):
        clock.arm(agent, "a", state)


def test_a_schedule_that_deletes_itself_while_it_is_armed_again_is_made_anew(stack):
    agent = stack.agent(triggers=[{"name": "a", "date": (stack.at + timedelta(hours=1)).isoformat()}])
    _, state = stack.open().ports.store.read(agent.id)
    (before,) = stack.schedules()

    def gone(request):
        aws.client("scheduler").delete_schedule(GroupName=stack.name, Name=before["Name"])
        return refused("ResourceNotFoundException", status=404)(request)

    client = faulty("scheduler", [well(), gone])
    SchedulerAlarmClock(lambda: client, stack.name, "arn:tick", "arn:role").arm(agent, "a", state)
    assert [one["Name"] for one in stack.schedules()] == [before["Name"]]


def test_what_is_too_long_for_scheduler_to_keep_is_refused_before_it_is_called(stack, monkeypatch):
    monkeypatch.setattr("overnight.aws.scheduler.MOST_INPUT_BYTES", 100)
    stack.agent(triggers=[{"name": "a", "cron": "0 8 * * *"}])
    _, state = stack.open().ports.store.read("agent")
    assert state.status == "ERROR"
    assert "longer than the 100 bytes" in state.note
    assert stack.schedules() == []
