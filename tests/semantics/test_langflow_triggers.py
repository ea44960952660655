"""A flow's own trigger nodes: an agent made from an export has them, and each firing reaches its own node."""

import json
from importlib.util import find_spec
from typing import Any

import pytest
from tests.support import canvas
from tests.support.world import World, instant

from overnight.agents import Agent, AgentDocument
from overnight.api.documents import accept, patched
from overnight.core import lifecycle
from overnight.core.webhooks import keys
from overnight.core.webhooks.receive import receive
from overnight.core.webhooks.schemes import Delivery, sign
from overnight.errors import Invalid
from overnight.flows.document import parse
from overnight.flows.requests import called
from overnight.flows.tweaks import of_firing
from overnight.ports import RunRequest
from overnight.webhooks import WebhookTrigger, hook_id

pytestmark = pytest.mark.skipif(find_spec("lfx") is None, reason="the component templates are those of lfx")

DAILY = "ScheduleTrigger-d1"
HOURLY = "ScheduleTrigger-h1"
INBOUND = "InboundWebhookTrigger-i1"
CLASSIC = "Webhook-w1"
SCHEMA = {"type": "object", "required": ["order"]}


def schedule(node_id: str, cron: str, **values: Any) -> canvas.Json:
    return canvas.node("ScheduleTrigger", node_id, cron_expression=cron, **values)


def export(*nodes: canvas.Json) -> dict[str, Any]:
    """A flow as Langflow exports it, each of these nodes before a chat output of its own."""
    outputs = [canvas.node("ChatOutput", f"ChatOutput-{number}") for number in range(len(nodes))]
    edges = [
        canvas.edge(node, node["data"]["node"]["outputs"][0]["name"], output, "input_value")
        for node, output in zip(nodes, outputs, strict=True)
    ]
    flow: dict[str, Any] = json.loads(canvas.flow([*nodes, *outputs], edges))
    return flow


def everything() -> dict[str, Any]:
    return export(
        schedule(DAILY, "0 8 * * 1-5", timezone="Europe/Lisbon", catchup_policy="skip"),
        schedule(HOURLY, "0 * * * *", share_session=True),
        canvas.node("InboundWebhookTrigger", INBOUND, payload_schema=json.dumps(SCHEMA), share_session=True),
        canvas.node("Webhook", CLASSIC),
    )


def document(world: World, flow: dict[str, Any], **fields: Any) -> AgentDocument:
    return accept(world.ports, {"name": "agent", "enabled": True, "flow": {"langflow": flow}} | fields)


def applied(world: World, flow: dict[str, Any], **fields: Any) -> Agent:
    """The agent, as `apply` makes it of the flow: created, or edited."""
    wanted = document(world, flow, **fields)
    if "agent" in world.subjects:
        return lifecycle.edit(world.ports, "agent", wanted)[0]
    agent, _ = lifecycle.create(world.ports, wanted)
    world.subjects["agent"] = agent.id
    return agent


def told(request: RunRequest) -> dict[str, Any]:
    """What the nodes are told, as the worker tells them: by node, parsed."""
    assert request.flow_json
    tweaks: dict[str, Any] = of_firing(parse(request.flow_json), called(request))
    return {node: {name: json.loads(value) for name, value in fields.items()} for node, fields in tweaks.items()}


def post(world: World, agent: Agent, trigger: str, body: Any) -> None:
    """A delivery, signed as its sender does."""
    id_ = hook_id(agent.id, trigger)
    found = agent.document.trigger(trigger)
    assert isinstance(found, WebhookTrigger)
    hook = world.store.hook(id_)
    assert hook
    content = json.dumps(body).encode()
    made = sign(found.webhook, keys.secret(world.ports, hook, found.webhook), content, world.now, "d-1")
    headers = {name.lower(): value for name, value in made.headers.items()} | {"content-type": "application/json"}
    receive(world.ports, id_, Delivery(headers, content, {}))


def test_an_agent_has_the_triggers_of_its_flows_nodes(world: World):
    agent = applied(world, everything())
    assert [trigger.model_dump(mode="json", exclude_defaults=True) for trigger in agent.document.triggers] == [
        {"name": DAILY, "cron": "0 8 * * 1-5", "timezone": "Europe/Lisbon", "catch_up": "skip"},
        {"name": HOURLY, "cron": "0 * * * *", "share_session": True},
        {"name": INBOUND, "webhook": {"signature": "langflow", "schema": SCHEMA}, "share_session": True},
        {"name": CLASSIC, "webhook": {"signature": "token", "header": "x-api-key"}},
    ]
    assert set(world.state().schedules) == {DAILY, HOURLY}


@pytest.mark.parametrize(
    "own",
    [
        {"triggers": [{"name": "mine", "cron": "0 0 * * *"}]},
        {"schedule": {"cron": "0 0 * * *", "name": "mine"}},
        {"trigger_type": "cron", "trigger_config": {"hour": 0}, "name": "agent"},
        {"triggers": []},
    ],
)
def test_a_document_that_names_its_own_triggers_has_these_alone(world: World, own: dict[str, Any]):
    names = [trigger.name for trigger in document(world, everything(), **own).triggers]
    assert names in (["mine"], ["schedule"], [])


def test_a_flow_that_was_sent_before_brings_its_triggers_too(world: World):
    first = document(world, everything())
    again = accept(world.ports, {"name": "agent", "enabled": True, "flow": first.flow.model_dump()})
    assert again.triggers == first.triggers


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (lambda: schedule(DAILY, "61 * * * *"), rf"Schedule \({DAILY}\): cron: minute: 61"),
        (lambda: schedule(DAILY, "0 8 * * *", timezone="Europe/Lisboa"), rf"Schedule \({DAILY}\): timezone: "),
        (
            lambda: canvas.node("InboundWebhookTrigger", INBOUND, payload_schema='{"type": 7}'),
            rf"Inbound Webhook \({INBOUND}\): webhook.schema: is no JSON Schema",
        ),
        (lambda: canvas.node("InboundWebhookTrigger", INBOUND, payload_schema="{"), "payload schema of .* is not JSON"),
    ],
)
def test_what_is_wrong_on_a_node_is_a_problem_of_the_flow(world: World, node: Any, message: str):
    with pytest.raises(Invalid, match=message) as refused:
        document(world, export(node()))
    assert [problem.field for problem in refused.value.problems] == ["flow.langflow"]


def test_each_tick_reaches_its_own_node_in_langflows_form(world: World):
    world.at("2026-11-20T07:30:00Z")
    applied(world, everything())
    world.live(minutes=31)
    by_trigger = {given.execution.trigger: told(given) for given in world.flows.ran}
    assert {name: list(nodes) for name, nodes in by_trigger.items()} == {DAILY: [DAILY], HOURLY: [HOURLY]}
    event = by_trigger[DAILY][DAILY]["event_payload"]
    assert len(event.pop("trigger_id")) == len(event.pop("event_id")) == 36
    assert event == {
        "kind": "schedule",
        "provider": None,
        "dedupe_key": "tick:2026-11-20T08:00:00+00:00",
        "attempt": 0,
        "payload": {"scheduled_at": "2026-11-20T08:00:00+00:00", "cron": "0 8 * * 1-5", "timezone": "Europe/Lisbon"},
    }


def test_missed_ticks_are_told_or_left_out_as_the_node_says(world: World):
    applied(world, export(schedule(DAILY, "0 * * * *", catchup_policy="skip"), schedule(HOURLY, "0 * * * *")))
    world.advance(hours=4, minutes=10)
    world.live(minutes=1)
    ((trigger, nodes),) = [(given.execution.trigger, told(given)) for given in world.flows.ran]
    assert trigger == HOURLY
    payload = nodes[HOURLY]["event_payload"]["payload"]
    assert payload["missed_ticks"] == [f"2026-01-05T0{hour}:00:00+00:00" for hour in (1, 2, 3)]


def test_each_delivery_reaches_its_own_node(world: World):
    agent = applied(world, everything())
    post(world, agent, INBOUND, {"order": 42})
    post(world, agent, CLASSIC, {"order": 43})
    world.drain()
    inbound, classic = (told(given) for given in world.flows.ran)
    assert list(inbound) == [INBOUND]
    event = inbound[INBOUND]["event_payload"]
    assert (event["kind"], event["provider"]) == ("inbound_webhook", None)
    assert event["payload"] == {"provider": "webhook", "delivery": {"order": 42}}
    assert classic == {CLASSIC: {"data": {"order": 43}}}


def test_a_payload_schema_is_enforced(world: World):
    agent = applied(world, everything())
    with pytest.raises(Invalid, match="'order' is a required property"):
        post(world, agent, INBOUND, {})
    assert world.rows() == []


def test_a_node_that_shares_its_session_shares_it_with_no_other(world: World):
    agent = applied(world, export(schedule(DAILY, "0 * * * *"), schedule(HOURLY, "0 * * * *", share_session=True)))
    world.live(hours=2, minutes=5)
    sessions: dict[str | None, list[str]] = {}
    for given in world.flows.ran:
        sessions.setdefault(given.execution.trigger, []).append(given.session_id)
    assert sessions[HOURLY] == [agent.id, agent.id]
    assert len({agent.id, *sessions[DAILY]}) == 3


def test_a_changed_export_arms_anew_only_what_changed(world: World):
    first = export(schedule("ScheduleTrigger-a", "0 * * * *"), schedule("ScheduleTrigger-b", "0 1 * * *"))
    applied(world, first)
    before = world.state().schedules
    world.live(minutes=90)
    applied(world, first)
    assert world.store.agent("agent").version == 1
    world.advance(1)
    changed = export(
        schedule("ScheduleTrigger-a", "0 * * * *"),
        schedule("ScheduleTrigger-b", "0 2 * * *"),
        schedule("ScheduleTrigger-c", "0 3 * * *"),
    )
    applied(world, changed)
    after = world.state().schedules
    assert after["ScheduleTrigger-a"].since == before["ScheduleTrigger-a"].since
    assert after["ScheduleTrigger-b"].since == after["ScheduleTrigger-c"].since == world.now
    applied(world, export(schedule("ScheduleTrigger-c", "0 3 * * *")))
    assert set(world.state().schedules) == {"ScheduleTrigger-c"}
    assert {alarm.trigger for alarm in world.clock.due(instant("2027-01-01"), 10)} == {"ScheduleTrigger-c"}
    world.live(hours=1)
    world.check()


def test_another_flow_brings_its_triggers_by_a_patch_unless_there_are_others(world: World):
    agent = applied(world, export(schedule(DAILY, "0 1 * * *")))
    new = {"flow": {"langflow": export(schedule(HOURLY, "0 * * * *"))}}
    assert [trigger.name for trigger in patched(world.ports, agent.document, new).triggers] == [HOURLY]
    kept = patched(world.ports, agent.document, {"description": "another"})
    assert [trigger.name for trigger in kept.triggers] == [DAILY]
    own = document(world, everything(), triggers=[{"name": "mine", "cron": "0 0 * * *"}])
    assert [trigger.name for trigger in patched(world.ports, own, new).triggers] == ["mine"]
    said = new | {"triggers": []}
    assert patched(world.ports, agent.document, said).triggers == ()
