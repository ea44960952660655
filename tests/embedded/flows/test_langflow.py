"""Langflow flows, executed by lfx: what goes in, what comes out, and that runs stay apart."""

import asyncio
import copy
import importlib.util
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support import canvas
from tests.support.openai_server import Answer

from overnight.flows import (
    Allowed,
    Call,
    CallInput,
    FiringContext,
    FlowFailure,
    LangflowFlow,
    Result,
    Usage,
    run,
)
from overnight.flows.loop import run_in_loop
from overnight.flows.packages import PROVIDERS, WITH_LFX

EXAMPLES = Path(__file__).parents[3] / "examples/flows"
EIGHT = datetime(2026, 11, 20, 8, tzinfo=UTC)


def call(document, value="Hi", *, tweaks=None, session_id="s1", output_type="chat", input_type="chat", **changes):
    return Call(
        execution_id="0123456789abcdef0123456789abcdef",
        agent_id="a1",
        agent="daily",
        attempt=1,
        flow=LangflowFlow(document),
        input=CallInput(value, input_type, output_type, tweaks or {}, session_id),
        **changes,
    )


def ran(document, value="Hi", **changes):
    return run(call(document, value, **changes), Allowed())


def failure(document, **changes):
    with pytest.raises(FlowFailure) as caught:
        ran(document, **changes)
    return caught.value


def test_the_input_reaches_the_flow_and_its_text_comes_back():
    result = ran(canvas.echo(), "Good morning")
    output = {"type": "message", "status": "completed", "content": "Good morning"}
    assert result == Result("Good morning", {"ChatOutput-a1": output})


def test_the_flow_that_lfx_ships_runs():
    document = (canvas.lfx_folder() / "templates/flows/hello-world.json").read_text()
    assert ran(document, None).text == "Hello, World!"


def test_the_examples_run(openai):
    assert ran((EXAMPLES / "hello.json").read_text(), "night owl").text == "Hello, night owl!"
    result = ran((EXAMPLES / "daily_report.json").read_text(), "Report.", variables=openai.variables)
    assert result.text == "Hello from the model."
    assert result.usage == Usage(11, 7, 18)
    assert "Report." in openai.requests[0].body["messages"][0]["content"]


def test_an_empty_flow_gives_nothing():
    assert ran(canvas.flow([], [])) == Result()


def test_text_input_is_set_by_its_own_type():
    source, target = canvas.node("TextInput", input_value="on the canvas"), canvas.node("ChatOutput")
    document = canvas.flow([source, target], [canvas.edge(source, "text", target, "input_value")])
    assert ran(document, "Hi", input_type="text").text == "Hi"
    assert ran(document, "Hi", input_type="chat").text == "on the canvas"
    assert ran(document, None, input_type="text").text == "on the canvas"


def two_outputs():
    source, own = canvas.node("ChatInput"), canvas.custom(canvas.body("return Message(text=self.input_value.upper())"))
    chat, text = canvas.node("ChatOutput"), canvas.node("TextOutput")
    return canvas.flow(
        [source, own, text, chat],
        [
            canvas.edge(source, "message", chat, "input_value"),
            canvas.edge(source, "message", own, "input_value"),
            canvas.edge(own, "text", text, "input_value"),
        ],
    )


@pytest.mark.parametrize(("output_type", "text"), [("chat", "Hi"), ("text", "HI"), ("any", "Hi")])
def test_the_text_is_that_of_the_output_that_was_asked_for(output_type, text):
    result = ran(two_outputs(), "Hi", output_type=output_type)
    assert result.text == text
    assert {name: output["content"] for name, output in result.outputs.items()} == {
        "ChatOutput-a1": "Hi",
        "TextOutput-a1": "HI",
    }


def test_outputs_are_json():
    source = canvas.node("MockDataGenerator")
    document = canvas.flow([source], [])
    result = ran(document)
    assert json.loads(json.dumps(result.outputs, allow_nan=False)) == result.outputs
    assert list(result.outputs) == ["MockDataGenerator-a1"]


def test_tweaks_reach_the_fields_they_name(openai):
    for key in ("Model-m1", "Language Model"):
        ran(canvas.model(), tweaks={key: {"system_message": "Be brief."}}, variables=openai.variables)
        assert openai.requests[-1].body["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_run_changes_nothing_of_the_flow_it_was_given(openai):
    document = canvas.model()
    before = copy.deepcopy(document)
    ran(document, tweaks={"Model-m1": {"system_message": "Once."}}, variables=openai.variables)
    ran(document, variables=openai.variables)
    assert document == before
    assert [m["role"] for m in openai.requests[-1].body["messages"]] == ["user"]


def test_a_file_is_read_by_its_absolute_path(tmp_path):
    (tmp_path / "orders.txt").write_text("42 orders")
    reader, out = canvas.node("File"), canvas.node("ChatOutput")
    document = canvas.flow([reader, out], [canvas.edge(reader, "message", out, "input_value")])
    assert ran(document, None, tweaks={"File-a1": {"path": str(tmp_path / "orders.txt")}}).text == "42 orders"


def test_lfx_prints_nothing_of_its_own(capfd):
    ran(canvas.echo())
    failure(canvas.with_custom(canvas.body("raise RuntimeError('boom')")))
    assert capfd.readouterr() == ("", "")


def test_what_a_component_prints_is_printed(capfd):
    ran(canvas.with_custom(canvas.body("print('one line')", "return self.input_value")))
    assert capfd.readouterr().out == "one line\n"


def test_the_session_reaches_the_flow():
    assert (
        ran(canvas.with_custom(canvas.body("return Message(text=self.graph.session_id)")), session_id="s7").text == "s7"
    )


def test_every_run_has_an_id_of_its_own_and_every_agent_a_user():
    document = canvas.with_custom(canvas.body("return Message(text=f'{self.graph.run_id} {self.user_id}')"))
    first, second = (ran(document).text.split() for _ in range(2))
    assert first[0] != second[0]
    assert first[1] == second[1]


def schedule_flow():
    trigger, out = canvas.node("ScheduleTrigger"), canvas.node("ChatOutput")
    return canvas.flow([trigger, out], [canvas.edge(trigger, "trigger_event", out, "input_value")])


def test_a_tick_reaches_the_schedule_node():
    firing = FiringContext(
        "schedule", "hourly", EIGHT, dedupe_key="tick:hourly:2026-11-20T08:00:00Z", missed_ticks=(EIGHT,)
    )
    text = ran(schedule_flow(), None, firing=firing).text
    assert "2026-11-20T08:00:00+00:00" in text
    assert "missed_ticks" in text
    assert "tick:2026-11-20" in text
    assert "scheduled_at" not in (ran(schedule_flow(), None).text or "")


def test_a_firing_starts_at_its_node_even_beside_a_chat_input():
    document, beside = json.loads(schedule_flow()), json.loads(canvas.echo().replace("ChatOutput-a1", "ChatOutput-b2"))
    for part in ("nodes", "edges"):
        document["data"][part] += beside["data"][part]
    firing = FiringContext("schedule", "ScheduleTrigger-a1", EIGHT)
    assert "scheduled_at" in ran(json.dumps(document), firing=firing).text
    assert ran(json.dumps(document), "Hi").text == "Hi"


def said_by(kind, firing):
    """What a trigger node hands to the rest of the flow."""
    trigger, out = canvas.node(kind), canvas.node("ChatOutput")
    output = trigger["data"]["node"]["outputs"][0]["name"]
    document = canvas.flow([trigger, out], [canvas.edge(trigger, output, out, "input_value")])
    return json.loads(ran(document, None, firing=firing).text.removeprefix("```json").removesuffix("```"))


@pytest.mark.parametrize("body", [{"order": 42}, [1, {"a": "b"}], 'plain "text"\n', "42", 7, None])
def test_a_delivery_reaches_the_webhook_nodes_whatever_was_posted(body):
    payload = {"headers": {}, "query": {}, "body": body}
    firing = FiringContext("webhook", "orders", payload=payload)

    assert said_by("InboundWebhookTrigger", firing)["payload"]["delivery"] == body
    classic = {} if body is None else body if isinstance(body, dict) else {"payload": body}
    assert said_by("Webhook", firing) == classic


@pytest.mark.parametrize("text", ["two\nlines", "\r\n", r"C:\new", "\\\n", r"\\n \u000a", '"\n"', "ü \t \x00 😀"])
def test_a_delivery_reaches_the_webhook_nodes_as_it_was_whatever_lfx_takes_for_the_end_of_a_line(text):
    firing = FiringContext("webhook", "orders", payload={"headers": {}, "query": {}, "body": {text: [text]}})
    for kind in ("InboundWebhookTrigger", "Webhook"):
        told = said_by(kind, firing)
        assert (told["payload"]["delivery"] if kind == "InboundWebhookTrigger" else told) == {text: [text]}


def test_the_key_of_a_variable_is_used_and_no_other(openai, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    ran(canvas.model(), variables=openai.variables)
    assert openai.requests[-1].key == "sk-test-key"
    ran(canvas.model(api_key="MY_KEY"), variables={**openai.variables, "MY_KEY": "sk-mine"})
    assert openai.requests[-1].key == "sk-mine"
    assert "OPENAI_API_KEY" in failure(canvas.model(), variables={"OPENAI_BASE_URL": openai.url}).message


def test_twenty_runs_at_once_stay_apart(openai):
    from overnight.flows.langflow import arun  # noqa: PLC0415 - imports lfx

    keys = [f"sk-key-number-{n:02}" for n in range(20)]

    async def all_at_once():
        document = canvas.model()
        calls = [call(document, f"I am {key}", variables={**openai.variables, "OPENAI_API_KEY": key}) for key in keys]
        return await asyncio.gather(*(arun(each, each.flow) for each in calls))

    assert [result.text for result in run_in_loop(all_at_once())] == ["Hello from the model."] * 20
    seen = {request.key: request.body["messages"][-1]["content"] for request in openai.requests}
    assert seen == {key: f"I am {key}" for key in keys}


def test_tokens_of_several_models_add_up(openai):
    openai.script(Answer(tokens=(1, 2)), Answer(tokens=(10, 20)))
    first, second = (canvas.node("LanguageModelComponent", name, model=canvas.MODEL) for name in ("M-1", "M-2"))
    source, out = canvas.node("ChatInput"), canvas.node("ChatOutput")
    document = canvas.flow(
        [source, first, second, out],
        [
            canvas.edge(source, "message", first, "input_value"),
            canvas.edge(first, "text_output", second, "input_value"),
            canvas.edge(second, "text_output", out, "input_value"),
        ],
    )
    assert ran(document, variables=openai.variables).usage == Usage(11, 22, 33)


def test_a_frozen_component_is_not_taken_from_an_earlier_run():
    document = canvas.echo().replace('"frozen": false', '"frozen": true')
    assert [ran(document, text).text for text in ("one", "two")] == ["one", "two"]


def test_a_flow_goes_on_after_one_that_ended_the_process():
    exits = canvas.with_custom(canvas.body("import sys", "sys.exit(3)"))
    for _ in range(2):
        failed = failure(exits)
        assert (failed.error_type, failed.component, failed.retryable) == ("SystemExit", "Custom-c1", True)
        assert ran(canvas.echo(), "still here").text == "still here"


def test_what_a_flow_leaves_running_ends_with_it():
    lines = ["import asyncio", "asyncio.get_running_loop().create_task(asyncio.sleep(3600), name='left behind')"]
    code = canvas.body(*lines, "return Message(text='done')").replace("def build", "async def build")
    looking = canvas.body("import asyncio", "names = [t.get_name() for t in asyncio.all_tasks()]").replace(
        "def build", "async def build"
    )
    assert ran(canvas.with_custom(code)).text == "done"
    assert "left behind" not in ran(canvas.with_custom(looking + "        return Message(text=str(names))\n")).text


def test_the_lists_about_lfx_agree_with_lfx():
    from lfx.base.models.unified_models import get_model_provider_variable_mapping  # noqa: PLC0415 - imports lfx

    assert {name for name in WITH_LFX if importlib.util.find_spec(name) is None} == set()
    variables = {name: provider.variable for name, provider in PROVIDERS.items()}
    assert variables == {**get_model_provider_variable_mapping(), "Ollama": None}
