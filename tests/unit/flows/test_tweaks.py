"""Tweaks that fit nothing are refused before the run; a firing reaches its trigger node."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.flow_documents import flow, node

from overnight.flows import Call, CallInput, FiringContext, LangflowFlow
from overnight.flows.document import parse
from overnight.flows.tweaks import MissingVariableError, TweakError, check_variables, checked, merged, of_firing

EIGHT = datetime(2026, 11, 20, 8, tzinfo=UTC)

MODEL = node("Model-m1", "LanguageModelComponent", {"temperature": 0.1}, display_name="Language Model", code="x = 1")
TWINS = (node("T1", "Tool", {"k": 1}, display_name="Tool"), node("T2", "Tool", {"k": 1}, display_name="Tool"))


@pytest.mark.parametrize(
    "tweaks",
    [
        {},
        {"Model-m1": {"temperature": 0.5}},
        {"Language Model": {"temperature": 0.5}},
        {"temperature": 0.5},
        {"stream": False},
    ],
)
def test_tweaks_that_fit_are_taken(tweaks):
    assert checked(parse(flow(MODEL)), tweaks) == tweaks


@pytest.mark.parametrize(
    ("tweaks", "message"),
    [
        (
            {"Model-m2": {"temperature": 1}},
            "'Model-m2' names a node that the flow does not have. Did you mean Model-m1",
        ),
        ({"Model-m1": {"temprature": 1}}, "the field 'temprature', which it does not have. Did you mean temperature?"),
        ({"temprature": 1}, "'temprature' is neither a node of the flow nor a field"),
        ({"Model-m1": {"code": "x = 2"}}, "must not replace the code of Language Model"),
        ({"code": "x = 2"}, "must not replace the code"),
        ({"Tool": {"k": 2}}, "fits several nodes: say which, by id: T1, T2"),
        ({"Inner": {"k": 2}}, "'Inner' names a node that the flow does not have"),
    ],
)
def test_tweaks_that_do_not_fit_are_refused_by_name(tweaks, message):
    group = node("G", "GroupNode")
    group["data"]["node"]["flow"] = flow(node("Inner", "Tool", {"k": 1}))
    with pytest.raises(TweakError, match=message):
        checked(parse(flow(MODEL, *TWINS, group)), tweaks)


READER = node("R", "X", {"token": {"value": "MY_TOKEN", "load_from_db": True}}, display_name="Reader")


@pytest.mark.parametrize(
    ("variables", "tweaks"),
    [({"MY_TOKEN": "v"}, {}), ({}, {"R": {"token": "v"}}), ({}, {"Reader": {"token": "v"}}), ({}, {"token": "v"})],
)
def test_a_variable_is_set_or_tweaked_away(variables, tweaks):
    check_variables(parse(flow(READER)), tweaks, variables)


def test_a_missing_variable_is_named():
    with pytest.raises(MissingVariableError, match=r"MY_TOKEN \(Reader \(R\), field token\)") as caught:
        check_variables(parse(flow(READER)), {}, {"OTHER": "v"})
    assert caught.value.variables == ("MY_TOKEN",)


def test_a_key_typed_where_a_name_belongs_is_not_shown():
    typed = node("R", "X", {"token": {"value": "sk-proj-123", "load_from_db": True}})
    with pytest.raises(MissingVariableError) as caught:
        check_variables(parse(flow(typed)), {}, {})
    assert "sk-proj-123" not in str(caught.value) + str(caught.value.variables)


SCHEDULE = node("Sched-1", "ScheduleTrigger", {"event_payload": "", "cron_expression": "0 8 * * *", "timezone": "UTC"})
OTHER_SCHEDULE = node("Sched-2", "ScheduleTrigger", {"event_payload": "", "cron_expression": "0 9 * * *"})
INBOUND = node("Inbound-1", "InboundWebhookTrigger", {"event_payload": ""})
CLASSIC = node("Webhook-1", "Webhook", {"data": ""})


def fired(*nodes, **firing):
    call = Call(
        execution_id="0123456789abcdef0123456789abcdef",
        agent_id="a1",
        agent="daily",
        attempt=2,
        flow=LangflowFlow("{}"),
        input=CallInput(),
        firing=FiringContext(**firing),
    )
    return of_firing(parse(flow(*nodes)), call)


def event_of(tweaks, node_id):
    return json.loads(tweaks[node_id]["event_payload"])


def test_a_tick_reaches_the_schedule_node():
    tweaks = fired(
        SCHEDULE,
        INBOUND,
        CLASSIC,
        kind="schedule",
        trigger="schedule",
        nominal=EIGHT,
        dedupe_key="tick:schedule:2026-11-20T08:00:00Z",
        cron="0 8 * * 1-5",
        timezone="Europe/Lisbon",
    )
    assert list(tweaks) == ["Sched-1"]
    event = event_of(tweaks, "Sched-1")
    assert len(event.pop("trigger_id")) == len(event.pop("event_id")) == 36
    assert event == {
        "kind": "schedule",
        "provider": None,
        "dedupe_key": "tick:2026-11-20T08:00:00+00:00",
        "attempt": 1,
        "payload": {"scheduled_at": "2026-11-20T08:00:00+00:00", "cron": "0 8 * * 1-5", "timezone": "Europe/Lisbon"},
    }


def test_missed_ticks_are_told_at_most_the_newest_100():
    missed = tuple(EIGHT - timedelta(hours=hours) for hours in range(150, 0, -1))
    tweaks = fired(SCHEDULE, kind="schedule", nominal=EIGHT, missed_ticks=missed)
    told = event_of(tweaks, "Sched-1")["payload"]["missed_ticks"]
    assert len(told) == 100
    assert told[-1] == "2026-11-20T07:00:00+00:00"


def test_a_test_firing_says_so():
    assert event_of(fired(SCHEDULE, kind="schedule", nominal=EIGHT, test=True), "Sched-1")["payload"]["test"] is True


def test_a_delivery_reaches_both_kinds_of_webhook_nodes():
    payload = {"headers": {"content-type": "application/json"}, "query": {}, "body": {"order": 42}}
    tweaks = fired(SCHEDULE, INBOUND, CLASSIC, kind="webhook", trigger="orders", payload=payload)
    assert sorted(tweaks) == ["Inbound-1", "Webhook-1"]
    event = event_of(tweaks, "Inbound-1")
    assert event["kind"] == "inbound_webhook"
    assert re.fullmatch("ingress:webhook:[0-9a-f]{32}", event["dedupe_key"])
    assert event["payload"] == {"provider": "webhook", "delivery": {"order": 42}}
    assert json.loads(tweaks["Webhook-1"]["data"]) == {"order": 42}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (None, ""),
        ({"order": 42}, '{"order": 42}'),
        ("plain text", '{"payload": "plain text"}'),
        ("42", '{"payload": "42"}'),
        ([1], '{"payload": [1]}'),
        (False, '{"payload": false}'),
    ],
)
def test_a_classic_webhook_node_is_told_an_object_whatever_was_posted(body, told):
    payload = {"headers": {}, "query": {}, "body": body}
    assert fired(CLASSIC, kind="webhook", payload=payload) == {"Webhook-1": {"data": told}}


def test_the_trigger_of_a_node_reaches_this_node_alone():
    assert list(fired(SCHEDULE, OTHER_SCHEDULE, kind="schedule", trigger="Sched-2", nominal=EIGHT)) == ["Sched-2"]
    assert len(fired(SCHEDULE, OTHER_SCHEDULE, kind="schedule", trigger="hourly", nominal=EIGHT)) == 2


@pytest.mark.parametrize("kind", ["manual", "event"])
def test_other_firings_tell_trigger_nodes_nothing(kind):
    assert fired(SCHEDULE, INBOUND, CLASSIC, kind=kind, payload={"a": 1}) == {}


def test_the_firing_joins_the_tweaks_of_its_node():
    both = merged({"Sched-1": {"timezone": "UTC"}, "temperature": 1}, {"Sched-1": {"event_payload": "{}"}})
    assert both == {"Sched-1": {"timezone": "UTC", "event_payload": "{}"}, "temperature": 1}
