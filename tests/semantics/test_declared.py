"""Declared agents: safe through update, rollback, redeployment over a retained table, and destruction."""

import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.support.world import World

from overnight.agents import AgentStatus
from overnight.aws.cloudformation import AGENT, DEPLOYMENT, Request, carry_out
from overnight.calendar.eventbridge import expressions
from overnight.core import declare, lifecycle
from overnight.errors import AgentExists, AgentNotFound, Unavailable

ID = "d" * 32


class Stack:
    """Deploys agents as CloudFormation does, one request at a time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.flows: dict[str, bytes] = {}
        self.prepared = 0

    def agent(self, kind: str, name: str = "report", id_: str = ID, **fields: Any) -> dict[str, Any]:
        """What CloudFormation is answered when it asks this of an agent's resource."""
        document = self.world.document(name, **fields)
        self.world.subjects[name] = id_
        said = {"AgentId": id_, "Document": document.model_dump_json(exclude_defaults=True)}
        for digest in self.flows:
            said |= {"FlowBucket": "assets", "FlowKey": digest}
        return self._ask(kind, AGENT, said, physical=id_)

    def deployment(self, kind: str) -> dict[str, Any]:
        return self._ask(kind, DEPLOYMENT, {}, physical="deployment")

    def _ask(self, kind: str, type_: str, properties: dict[str, str], physical: str) -> dict[str, Any]:
        request = Request.model_validate(
            {
                "RequestType": kind,
                "ResourceType": type_,
                "ResponseURL": "https://cloudformation.example",
                "StackId": "arn:aws:cloudformation:eu-central-1:123456789012:stack/overnight/1",
                "RequestId": "1",
                "LogicalResourceId": "It",
                "PhysicalResourceId": None if kind == "Create" else physical,
                "ResourceProperties": properties,
            }
        )
        return dict(carry_out(self.world.ports, request, fetch=lambda _, key: self.flows[key], prepare=self._prepare))

    def _prepare(self) -> None:
        self.prepared += 1


@pytest.fixture
def stack(world: World) -> Stack:
    return Stack(world)


DAILY = {"cron": "0 8 * * *"}


def test_a_declared_agent_is_armed_and_runs(world, stack):
    answer = stack.agent("Create", **DAILY)
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", ID)
    agent, state = world.store.read("report")
    assert (agent.id, agent.declared, state.status) == (ID, True, AgentStatus.ACTIVE)
    world.live(hours=49, step=3_600)
    assert [row.nominal.hour for row in world.rows("report")] == [8, 8]
    world.check()


def test_the_same_request_again_changes_nothing(world, stack):
    """CloudFormation repeats what it got no answer to."""
    first = stack.agent("Create", interval={"minutes": 40})
    before = world.store.read(ID)
    world.advance(minutes=7)
    assert stack.agent("Create", interval={"minutes": 40}) == first
    assert world.store.read(ID) == before


def test_an_update_keeps_the_status_that_was_given_at_run_time(world, stack):
    stack.agent("Create", **DAILY)
    lifecycle.pause(world.ports, ID)
    assert stack.agent("Update", cron="0 9 * * *")["Status"] == "SUCCESS"
    agent, state = world.store.read(ID)
    assert agent.document.schedules["schedule"].cron == "0 9 * * *"
    assert state.status is AgentStatus.PAUSED


def test_a_rolled_back_update_leaves_the_agent_as_it_was_and_its_history_whole(world, stack):
    stack.agent("Create", **DAILY)
    world.live(hours=12, step=3_600)
    stack.agent("Update", cron="0 9 * * *")
    world.live(hours=24, step=3_600)
    stack.agent("Update", **DAILY)  # what CloudFormation asks for when it rolls back
    world.live(hours=24, step=3_600)
    assert [row.nominal.hour for row in world.rows("report")] == [8, 9, 8]
    world.check()


def test_a_removed_agent_is_retired_with_its_history_kept(world, stack):
    stack.agent("Create", **DAILY)
    world.live(hours=12, step=3_600)
    assert stack.agent("Delete")["Status"] == "SUCCESS"
    with pytest.raises(AgentNotFound):
        world.store.agent("report")
    world.live(hours=48, step=3_600)
    assert len(world.rows("report")) == 1
    world.check()


def test_a_stack_deployed_again_over_its_retained_table_goes_on_with_its_history(world, stack):
    stack.agent("Create", **DAILY)
    world.live(hours=12, step=3_600)
    stack.agent("Delete")
    world.advance(days=3)
    answer = stack.agent("Create", **DAILY)
    assert answer["Status"] == "SUCCESS", answer
    agent, state = world.store.read("report")
    assert (agent.id, agent.deleted_at, state.status) == (ID, None, AgentStatus.ACTIVE)
    world.live(hours=24, step=3_600)
    assert [row.nominal.day for row in world.rows("report")] == [5, 9]
    world.check()


def test_an_agent_that_is_not_enabled_is_there_and_does_not_run(world, stack):
    stack.agent("Create", enabled=False, **DAILY)
    world.live(hours=48, step=3_600)
    assert world.rows("report") == []
    assert world.state("report").status is AgentStatus.STOPPED


@pytest.mark.parametrize("kind", ["Create", "Update", "Delete"])
def test_a_deletion_never_fails_and_the_rest_says_why(world, stack, monkeypatch, kind):
    def broken(*_: object) -> None:
        raise Unavailable("DynamoDB does not answer")

    for verb in ("seed", "retire"):
        monkeypatch.setattr(declare, verb, broken)
    answer = stack.agent(kind)
    assert answer["Status"] == ("SUCCESS" if kind == "Delete" else "FAILED")
    assert answer.get("Reason", "") in ("", "Unavailable: DynamoDB does not answer")
    assert world.heard("declare.failed")


def test_deleting_what_was_never_there_succeeds(stack):
    assert stack.agent("Delete")["Status"] == "SUCCESS"


def test_a_name_that_another_agent_has_is_refused(world, stack):
    world.agent("report")
    answer = stack.agent("Create")
    assert answer["Status"] == "FAILED"
    assert "report" in answer["Reason"]
    with pytest.raises(AgentExists):
        declare.seed(world.ports, ID, world.document("report"))


def test_an_interval_begins_with_its_first_deployment_and_not_with_its_first_arming(world, stack):
    """Its schedules on EventBridge are deployed once, and must cover its ticks whenever it is started."""
    expected = stack.agent("Create", enabled=False, interval={"minutes": 40})["Data"]
    world.advance(minutes=13)
    lifecycle.start(world.ports, ID)
    agent, state = world.store.read(ID)
    schedule, armed = agent.document.schedules["schedule"], state.schedules["schedule"]
    found = expressions(schedule.calendar(armed.anchor))
    assert [each.expression for each in found] == [expected["schedule.0"], expected["schedule.1"]]
    assert armed.next == world.began + timedelta(minutes=40)


def test_an_interval_keeps_its_beginning_until_it_is_another(world, stack):
    first = stack.agent("Create", interval={"hours": 1})["Data"]
    world.advance(minutes=20)
    assert stack.agent("Update", interval={"hours": 1}, description="reworded")["Data"] == first
    assert stack.agent("Update", interval={"hours": 2})["Data"] != first


def test_an_interval_that_says_its_start_is_in_the_template_already(stack):
    answer = stack.agent("Create", interval={"hours": 1}, start_at="2026-01-06T00:00:00Z")
    assert answer["Data"] == {}


def test_a_flow_is_kept_under_its_digest(world, stack):
    content = json.dumps({"data": {"nodes": [], "edges": []}}).encode()
    digest = hashlib.sha256(content).hexdigest()
    stack.flows[digest] = content
    assert stack.agent("Create", flow={"langflow": digest})["Status"] == "SUCCESS"
    assert world.ports.blobs.get(digest) == content


def test_a_flow_that_is_not_the_one_named_is_refused(stack):
    stack.flows["key"] = b"{}"
    answer = stack.agent("Create", flow={"langflow": "0" * 64})
    assert answer["Status"] == "FAILED"
    assert "not what the agent names" in answer["Reason"]


def test_every_deployment_has_a_master_key_and_arms_all_anew(world, stack):
    armed = []

    class Clock:
        def arm(self, agent, trigger, state):
            armed.append((agent.name, trigger))

        def disarm(self, agent_id, trigger):
            pass

    world.agent("running", cron="0 8 * * *", triggers=[{"name": "more", "cron": "0 9 * * *"}])
    world.agent("stopped", enabled=False, cron="0 8 * * *")
    world.ports = replace(world.ports, clock=Clock())
    assert stack.deployment("Create")["Status"] == "SUCCESS"
    assert stack.prepared == 1
    assert sorted(armed) == [("running", "more"), ("running", "schedule")]
    stack.deployment("Delete")
    assert stack.prepared == 1


def test_an_agent_that_cannot_be_armed_keeps_no_other_from_it(world, stack):
    class Clock:
        def arm(self, agent, trigger, state):
            if agent.name == "broken":
                raise Unavailable("Scheduler does not answer")
            armed.append(agent.name)

        def disarm(self, agent_id, trigger):
            pass

    armed = []
    for name in ("a", "broken", "c"):
        world.agent(name, **DAILY)
    world.ports = replace(world.ports, clock=Clock())
    assert stack.deployment("Update")["Status"] == "SUCCESS"
    assert armed == ["a", "c"]
    assert [facts["agent"] for facts in world.heard("agent.rearm_failed")] == ["broken"]
