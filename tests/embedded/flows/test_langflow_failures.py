"""Every way in which a Langflow flow fails: whether it is tried again, and how its message says to mend it."""

import json

import pytest
from tests.support import canvas
from tests.support.flow_documents import flow as small_flow
from tests.support.flow_documents import node as small_node
from tests.support.openai_server import Answer, refused_url

from overnight.flows import Allowed, Call, CallInput, FlowFailure, LangflowFlow, run


def failure(document, *, tweaks=None, variables=None):
    call = Call(
        execution_id="0123456789abcdef0123456789abcdef",
        agent_id="a1",
        agent="daily",
        attempt=1,
        flow=LangflowFlow(document),
        input=CallInput("Hi", tweaks=tweaks or {}),
        variables=variables or {},
    )
    with pytest.raises(FlowFailure) as caught:
        run(call, Allowed())
    return caught.value


def human_input():
    document = json.loads(canvas.echo())
    document["data"]["nodes"][0]["data"]["type"] = "HumanInput"
    return json.dumps(document)


def lost_edge():
    document = json.loads(canvas.echo())
    document["data"]["nodes"].pop()
    return json.dumps(document)


OWN_CODE = {
    "raises": (canvas.body("raise RuntimeError('boom')"), "RuntimeError", True, "Custom (Custom-c1): boom"),
    "no network": (canvas.body("raise ConnectionError('reset')"), "ConnectionError", True, "No answer: reset"),
    "asks for a delay": (
        canvas.body("from overnight.flows import Retry", "raise Retry('Busy.', after_seconds=5)"),
        "Retry",
        True,
        "Busy.",
    ),
    "gives up": (
        canvas.body("from overnight.flows import Permanent", "raise Permanent('Pointless.')"),
        "Permanent",
        False,
        "Pointless.",
    ),
    "package missing on use": (
        canvas.body("import overnight_lacks_this"),
        "ModuleNotFoundError",
        False,
        "pip install overnight-lacks-this in the engine's environment",
    ),
    "package missing on load": (
        "import overnight_lacks_this\n" + canvas.body("pass"),
        "ModuleNotFoundError",
        False,
        "Custom (Custom-c1): The package overnight-lacks-this is missing: pip install overnight-lacks-this",
    ),
    "syntax error": ("def (", "SyntaxError", False, "Custom (Custom-c1): The code has a syntax error"),
    "no component": ("x = 1", "InvalidFlow", False, "Langflow cannot load the flow"),
}


@pytest.mark.parametrize("name", OWN_CODE)
def test_what_goes_wrong_in_a_component_of_ones_own(name):
    code, error_type, retryable, message = OWN_CODE[name]
    failed = failure(canvas.with_custom(code))
    assert (failed.error_type, failed.retryable) == (error_type, retryable)
    assert message in failed.message
    assert failed.retry_after_seconds == (5 if error_type == "Retry" else None)


def test_the_failed_component_is_named_even_where_several_were_under_way():
    slow, bad = (
        canvas.custom(canvas.body("return Message(text='fine')"), "A-1"),
        canvas.custom(canvas.body("1 / 0"), "B-2"),
    )
    source, out, other = canvas.node("ChatInput"), canvas.node("ChatOutput"), canvas.node("ChatOutput", "ChatOutput-b2")
    document = canvas.flow(
        [source, slow, bad, out, other],
        [
            canvas.edge(source, "message", slow, "input_value"),
            canvas.edge(source, "message", bad, "input_value"),
            canvas.edge(slow, "text", out, "input_value"),
            canvas.edge(bad, "text", other, "input_value"),
        ],
    )
    failed = failure(document)
    assert (failed.component, failed.error_type) == ("B-2", "ZeroDivisionError")
    assert "ZeroDivisionError" in failed.traceback


@pytest.mark.parametrize(
    ("answer", "retryable", "after", "message"),
    [
        (Answer(status=401), False, None, "The key was refused. To set another: overnight secrets set openai"),
        (Answer(status=403), False, None, "The key was refused"),
        (Answer(status=404), False, None, "There is no such model or address"),
        (Answer(status=400), False, None, "refused again"),
        (Answer(status=429, retry_after="7"), True, 7, "429"),
        (Answer(status=500), True, None, "500"),
        (Answer(status=503, retry_after="30"), True, 30, "503"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Answer) else "",
)
def test_what_a_provider_refuses(answer, retryable, after, message, openai):
    openai.script(answer)
    failed = failure(canvas.model(), variables=openai.variables)
    assert (failed.retryable, failed.retry_after_seconds) == (retryable, after)
    assert message in failed.message
    assert failed.message.startswith("Language Model (Model-m1): ")
    assert failed.component == "Model-m1"
    assert "sk-test-key" not in failed.message + failed.traceback


def test_a_provider_that_is_not_there_is_tried_again():
    failed = failure(canvas.model(), variables={"OPENAI_API_KEY": "sk-test-key", "OPENAI_BASE_URL": refused_url()})
    assert failed.retryable
    assert "No answer" in failed.message


def test_tokens_used_before_a_failure_are_told(openai):
    document = json.loads(canvas.model())
    own = canvas.custom(canvas.body("raise RuntimeError('boom')"))
    model_node, out = document["data"]["nodes"][1:]
    document["data"]["nodes"].append(own)
    edges = document["data"]["edges"]
    edges[1:] = [
        canvas.edge(model_node, "text_output", own, "input_value"),
        canvas.edge(own, "text", out, "input_value"),
    ]
    failed = failure(json.dumps(document), variables=openai.variables)
    assert failed.component == "Custom-c1"
    assert failed.usage.total_tokens == 18


@pytest.mark.parametrize(
    ("document", "changes", "error_type", "message"),
    [
        (canvas.model(), {}, "ValueError", 'variables: {OPENAI_API_KEY: "secret:openai"}'),
        (canvas.model(api_key="MY_API_KEY"), {}, "MissingVariable", "overnight secrets set my, and in the agent"),
        (
            canvas.model().replace('"provider": "OpenAI"', '"provider": "Groq"'),
            {"variables": {"GROQ_API_KEY": "gsk-test"}},
            "ImportError",
            "pip install langchain-groq in the engine's environment",
        ),
        (canvas.model().replace(json.dumps(canvas.MODEL), '""'), {}, "ValueError", "A model selection is required"),
        (canvas.echo(), {"tweaks": {"ChatInput-a2": {"sender": "x"}}}, "UnknownTweak", "Did you mean ChatInput-a1"),
        (canvas.echo(), {"tweaks": {"Chat Input": {"sendr": "x"}}}, "UnknownTweak", "Did you mean sender"),
        (canvas.echo(), {"tweaks": {"ChatInput-a1": {"code": "x"}}}, "UnknownTweak", "must not replace the code"),
        (human_input(), {}, "ApprovalNeeded", "waits for a person's approval"),
        (lost_edge(), {}, "InvalidFlow", "the flow has no node 'ChatOutput-a1'"),
        ("{", {}, "InvalidFlow", "not JSON"),
        (json.dumps(small_flow(small_node("A", "ChatInput"))), {}, "InvalidFlow", "Export it from Langflow again"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 60 else "",
)
def test_what_only_the_user_can_mend_is_permanent(document, changes, error_type, message):
    failed = failure(document, **changes)
    assert not failed.retryable
    assert failed.error_type == error_type
    assert message in failed.message
