"""Agent documents as they come in: older and shorter spellings mean the same, and merge patches follow RFC 7396."""

from types import SimpleNamespace
from typing import Any

import pytest

from overnight.agents import AgentDocument
from overnight.api.documents import accept, merge

FLOW = {"python": "reports.daily:run"}
CRON = {"cron": "0 8 * * *"}
NAMED = {"name": "schedule", **CRON}


class Blobs:
    """Remembers what was put."""

    def __init__(self) -> None:
        self.put_ = list[bytes]()

    def put(self, content: bytes) -> str:
        self.put_.append(content)
        return ""


def _accept(raw: dict[str, Any]) -> AgentDocument:
    return accept(SimpleNamespace(blobs=Blobs()), {"name": "a", "flow": FLOW, **raw})


SPELLINGS = [
    ({"schedule": CRON}, {"triggers": [NAMED]}),
    ({"schedule": {**CRON, "name": "mine"}}, {"triggers": [{"name": "mine", **CRON}]}),
    ({"schedule": None}, {}),
    ({"schedule": {"cron": {"hour": 8}}}, {"triggers": [NAMED]}),
    (
        {"schedule": CRON, "triggers": [{"name": "b", "webhook": {}}]},
        {"triggers": [NAMED, {"name": "b", "webhook": {}}]},
    ),
    ({"trigger_type": "cron", "trigger_config": {"hour": 8, "minute": 0}}, {"triggers": [NAMED]}),
    (
        {"trigger_type": "interval", "trigger_config": {"hours": 2, "start_date": "2026-12-01T00:00:00Z"}},
        {"triggers": [{"name": "schedule", "interval": {"hours": 2}, "start_at": "2026-12-01T00:00:00Z"}]},
    ),
    ({"input_config": {"input_value": "hi"}}, {"input": {"input_value": "hi"}}),
]


@pytest.mark.parametrize(("spelled", "meant"), SPELLINGS)
def test_shorter_and_older_spellings_mean_the_same(spelled: dict[str, Any], meant: dict[str, Any]) -> None:
    assert _accept(spelled) == _accept(meant)


def test_the_order_of_keys_in_a_flow_makes_no_other_version() -> None:
    one = _accept({"flow": {"langflow": {"name": "x", "data": {"nodes": [], "edges": []}}}})
    other = _accept({"flow": {"langflow": {"data": {"edges": [], "nodes": []}, "name": "x"}}})
    assert one == other


def test_a_flow_may_be_given_another_name() -> None:
    flow = {"langflow": {"name": "x", "data": {"nodes": [], "edges": []}}, "name": "mine"}
    assert _accept({"flow": flow}).flow.model_dump()["name"] == "mine"


# RFC 7396, appendix A, as far as a document's `input.tweaks` can say it.
RFC_7396 = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), RFC_7396)
def test_a_merge_follows_rfc_7396(target: dict[str, Any], patch: dict[str, Any], result: dict[str, Any]) -> None:
    document = _accept({"input": {"tweaks": target}})
    merged = merge(document, {"input": {"tweaks": patch}})
    assert merged["input"]["tweaks"] == result
    assert _accept(merged).input.tweaks == result


def test_one_field_of_a_flow_on_a_langflow_server_can_be_patched() -> None:
    document = _accept({"flow": {"langflow_api": {"url": "http://langflow:7860", "flow": "one"}}})
    patched = _accept(merge(document, {"flow": {"langflow_api": {"flow": "two"}}}))
    assert patched.flow.model_dump()["langflow_api"] == {"url": "http://langflow:7860", "flow": "two", "api_key": None}


def test_another_kind_of_flow_replaces_the_flow() -> None:
    document = _accept({"flow": {"langflow_api": {"url": "http://langflow:7860", "flow": "one"}}})
    assert _accept(merge(document, {"flow": FLOW})).flow.model_dump() == FLOW


def test_a_patched_schedule_leaves_the_other_triggers_alone() -> None:
    document = _accept({"triggers": [{"name": "b", "webhook": {}}, {**NAMED, "timezone": "Europe/Berlin"}]})
    patched = _accept(merge(document, {"schedule": {"cron": "0 9 * * *"}}))
    triggers = {trigger.name: trigger.model_dump(mode="json") for trigger in patched.triggers}
    assert (triggers["schedule"]["cron"], triggers["schedule"]["timezone"]) == ("0 9 * * *", "Europe/Berlin")
    assert "b" in triggers
