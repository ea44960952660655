"""What is read from a flow without lfx."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from tests.support.flow_documents import flow, node

from overnight.flows.inspect import inspect
from overnight.flows.packages import distribution, imports_of
from overnight.triggers import Trigger

EXAMPLES = Path(__file__).parents[3] / "examples/flows"


def test_triggers_become_trigger_documents():
    report = inspect(
        flow(
            node(
                "ScheduleTrigger-a1",
                "ScheduleTrigger",
                {
                    "cron_expression": "0 8 * * 1-5",
                    "timezone": "Europe/Lisbon",
                    "catchup_policy": "skip",
                    "share_session": True,
                },
            ),
            node("InboundWebhookTrigger-b2", "InboundWebhookTrigger", {"payload_schema": '{"type": "object"}'}),
            node("Webhook-c3", "Webhook", {"data": ""}),
        )
    )
    schedule, inbound, classic = report.triggers
    for trigger in report.triggers:
        TypeAdapter(Trigger).validate_python(trigger.document)
    assert schedule.document == {
        "name": "ScheduleTrigger-a1",
        "cron": "0 8 * * 1-5",
        "timezone": "Europe/Lisbon",
        "catch_up": "skip",
        "share_session": True,
    }
    assert schedule.share_session
    assert inbound.document == {
        "name": "InboundWebhookTrigger-b2",
        "webhook": {"signature": "langflow", "schema": {"type": "object"}},
    }
    assert inbound.payload_schema == {"type": "object"}
    assert classic.document == {"name": "Webhook-c3", "webhook": {"signature": "token", "header": "x-api-key"}}


@pytest.mark.parametrize("schema", ["{", "[]"])
def test_a_payload_schema_must_be_an_object(schema):
    with pytest.raises(ValueError, match="payload schema of InboundWebhookTrigger-1"):
        inspect(flow(node("InboundWebhookTrigger-1", "InboundWebhookTrigger", {"payload_schema": schema})))


def test_packages_are_named_as_one_installs_them():
    report = inspect(
        flow(
            node("A", "Custom", code="import os, bs4, sklearn.svm\nfrom lfx.io import Output\nfrom slack_sdk import x"),
            node("B", "Custom", code="class C:\n    def f(self):\n        import boto3\n        import sklearn"),
            node("M", "LanguageModelComponent", {"model": {"type": "model", "value": [{"provider": "Groq"}]}}),
        )
    )
    assert report.packages == ("langchain-groq", "scikit-learn", "slack-sdk")
    assert report.packages_on_use == ("boto3",)


def test_imports_that_code_does_without_are_left_out():
    code = """
try:
    import fast
except ImportError:
    fast = None
try:
    import needed
except ImportError as e:
    raise ImportError("Please install needed") from e
if TYPE_CHECKING:
    import types_only
if sys.platform == "linux":
    import linux_only
"""
    assert imports_of(code).at_once == {"needed", "linux_only"}


def test_variables_and_secrets_that_must_be_set_are_named():
    report = inspect(
        flow(
            node("A", "APIRequest", {"token": {"value": "MY_TOKEN", "load_from_db": True}}),
            node(
                "B", "Search", {"api_key": {"value": "", "password": True, "load_from_db": True}}, display_name="Search"
            ),
            node("M", "LanguageModelComponent", {"model": {"type": "model", "value": [{"provider": "OpenAI"}]}}),
            node("H", "X", {"hidden": {"value": "OTHER", "load_from_db": True, "show": False}}),
            node("T", "X", {"typed": {"value": "sk-proj-abc", "load_from_db": True}}),
        )
    )
    found = [(v.name, v.node.id, v.field) for v in report.variables]
    assert found[:2] == [("MY_TOKEN", "A", "token"), ("OPENAI_API_KEY", "M", "model")]
    assert [(v.node.id, v.field) for v in report.secrets] == [("B", "api_key")]
    assert "sk-proj-abc" not in repr(report)


def test_inputs_outputs_approvals_and_what_nothing_fires_are_named():
    tools = [{"name": "send", "approval_actions": ["approve"]}]
    report = inspect(
        flow(
            node("I", "ChatInput"),
            node("O", "TextOutput"),
            node("H", "HumanInput"),
            node("Alone", "HumanInput"),
            node("Agent", "Agent", {"tools_metadata": tools}),
            node("S", "SlackTrigger"),
            edges=(("H", "O"),),
        )
    )
    assert [n.id for n in report.inputs] == ["I"]
    assert [n.id for n in report.outputs] == ["O"]
    assert [n.id for n in report.approvals] == ["H", "Agent"]
    assert [n.id for n in report.unsupported] == ["S"]
    assert len(report.advice) == 3


@pytest.mark.parametrize(
    ("kind", "instead"),
    [
        ("SlackTrigger", "signature: slack"),
        ("ext:slack:SlackTriggerComponent@official", "signature: slack"),
        ("MicrosoftTeamsTrigger", "Power Automate"),
        ("OutlookTrigger", "Power Automate"),
        ("GmailTrigger", "Pub/Sub"),
        ("GoogleDriveTrigger", "Pub/Sub"),
        ("MastodonTrigger", "a schedule, webhook or event trigger of its own"),
    ],
)
def test_for_what_nothing_fires_there_is_advice(kind, instead):
    (advice,) = inspect(flow(node("N", kind, {"event_payload": ""}, display_name="Someone"))).advice
    assert advice.startswith("Someone (N) is fired by nothing here; ")
    assert instead in advice


@pytest.mark.parametrize(
    ("example", "packages", "variables"),
    [("hello.json", (), []), ("daily_report.json", ("langchain-openai",), ["OPENAI_API_KEY"])],
)
def test_the_example_flows(example, packages, variables):
    report = inspect((EXAMPLES / example).read_text())
    assert report.packages == packages
    assert report.packages_on_use == ()
    assert [v.name for v in report.variables] == variables
    assert len(report.inputs) == len(report.outputs) == 1


def test_inspecting_imports_neither_lfx_nor_anything_else_that_is_heavy():
    script = "import sys; import overnight.flows.inspect; print('lfx' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_module_may_be_installed_under_another_name():
    assert distribution("PIL.Image") == "pillow"
    assert distribution("langchain_openai.chat_models") == "langchain-openai"
