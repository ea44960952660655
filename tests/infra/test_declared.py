"""Declared agents in the template: one custom resource each, and the schedules that cover their ticks."""

import hashlib
import json
from pathlib import Path

import pytest
from infra.settings import InvalidContext

from overnight.agents import AgentDocument
from overnight.aws.messages import Alarm

HERE = Path(__file__).parent


def agent(stack, name):
    ((id_, found),) = [
        (id_, each["Properties"])
        for id_, each in stack.resources("Custom::OvernightAgent").items()
        if json.loads(each["Properties"]["Document"])["name"] == name
    ]
    return id_, found


def schedules(stack, name):
    return {
        each["Properties"]["Description"].removeprefix(f"{name}: "): each
        for each in stack.resources("AWS::Scheduler::Schedule").values()
        if each["Properties"]["Description"].startswith(f"{name}: ")
    }


def test_an_agents_document_is_in_the_template_whole(stack):
    _, pulse = agent(stack, "pulse")
    document = AgentDocument.model_validate_json(pulse["Document"])
    assert [trigger.name for trigger in document.triggers] == ["often", "once", "told"]
    assert not document.enabled
    _, report = agent(stack, "report")
    assert AgentDocument.model_validate_json(report["Document"]).enabled


def test_a_flow_is_uploaded_as_the_bytes_that_its_agent_names(stack):
    _, report = agent(stack, "report")
    assets = json.loads(stack.path.with_name("overnight.assets.json").read_text(encoding="utf-8"))["files"]
    flow = stack.path.parent / assets[report["FlowKey"].removesuffix(".json")]["source"]["path"]
    named = json.loads(report["Document"])["flow"]["langflow"]
    assert hashlib.sha256(flow.read_bytes()).hexdigest() == named
    reading = [each for each in stack.policy("declare") if "s3:GetObject" in each["Action"]]
    assert report["FlowKey"] in json.dumps(reading)


def test_each_time_trigger_has_a_schedule_in_the_declared_group_and_the_others_none(stack):
    assert set(schedules(stack, "report")) == {"mornings", "hourly"}
    assert set(schedules(stack, "pulse")) == {"often", "once"}
    for each in (*schedules(stack, "report").values(), *schedules(stack, "pulse").values()):
        assert "SchedulingDeclared" in json.dumps(each["Properties"]["GroupName"])


def test_a_schedule_says_what_eventbridge_needs(stack):
    mornings = schedules(stack, "report")["mornings"]["Properties"]
    assert (mornings["ScheduleExpression"], mornings["ScheduleExpressionTimezone"]) == (
        "cron(0 8 ? * 2-6 *)",
        "Europe/Berlin",
    )
    assert schedules(stack, "report")["hourly"]["Properties"]["ScheduleExpression"] == "cron(30 * * * ? *)"
    assert schedules(stack, "pulse")["once"]["Properties"]["ScheduleExpression"] == "at(2099-12-24T17:00:00)"


def test_an_interval_without_a_start_has_its_expressions_from_its_agent(stack):
    id_, _ = agent(stack, "pulse")
    found = [
        each["Properties"]["ScheduleExpression"]
        for each in stack.resources("AWS::Scheduler::Schedule").values()
        if each["Properties"]["Description"] == "pulse: often"
    ]
    assert found == [{"Fn::GetAtt": [id_, "often.0"]}, {"Fn::GetAtt": [id_, "often.1"]}]


def test_what_a_schedule_gives_is_an_alarm(stack):
    for each in schedules(stack, "report").values():
        given = each["Properties"]["Target"]["Input"].replace("<aws.scheduler.scheduled-time>", "2026-11-20T08:00:00Z")
        assert Alarm.model_validate_json(given).agent_id == agent(stack, "report")[1]["AgentId"]


def test_a_schedule_comes_after_its_agent_and_goes_before_it(stack):
    for name in ("report", "pulse"):
        id_, _ = agent(stack, name)
        assert all(id_ in each["DependsOn"] for each in schedules(stack, name).values())


def test_an_agents_id_follows_from_stack_and_name(stack, synthesised):
    other = synthesised(name="other", agents=str(HERE / "agents.yaml"))
    assert agent(stack, "report")[1]["AgentId"] != agent(other, "report")[1]["AgentId"]


def test_an_agent_goes_before_what_retires_it(stack):
    """Else its deletion would be asked of a function that is gone, or may do nothing any more."""
    id_, _ = agent(stack, "report")
    needed = stack.resources("Custom::OvernightAgent")[id_]["DependsOn"]
    for part in ("FunctionsDeclare", "FunctionsDeclareRoleDefaultPolicy"):
        assert any(each.startswith(part) for each in needed)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("agents:\n  - name: x\n    flow: nowhere.json\n", "nowhere.json: no such file"),
        ("agents:\n  - name: x\n    flow: {python: 'a:b'}\n    schedule: {cron: '61 * * * *'}\n", "cron"),
        ("agents: 1\n", "a list called `agents` must stand here"),
        (
            "agents:\n  - {name: x, flow: {python: 'a:b'}, triggers: [{name: far, date: '2200-01-01T00:00:00Z'}]}\n",
            "agent x, trigger far: ",
        ),
    ],
)
def test_what_is_wrong_in_the_file_is_said_with_its_line(synthesised, tmp_path, written, says):
    path = tmp_path / "agents.yaml"
    path.write_text(written, encoding="utf-8")
    with pytest.raises(InvalidContext) as caught:
        synthesised(agents=str(path))
    assert says in str(caught.value)
