"""What crosses into a worker process and back."""

import pickle
from datetime import UTC, datetime

from overnight.flows import (
    Call,
    CallInput,
    FiringContext,
    FlowFailure,
    LangflowApiFlow,
    LangflowFlow,
    PythonFlow,
    Result,
    Usage,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def call(flow, **changes):
    return Call(execution_id="e1", agent_id="a1", agent="daily", attempt=1, flow=flow, **changes)


def test_a_call_survives_the_way_into_a_worker():
    for flow in (LangflowFlow("{}"), PythonFlow("a:b"), LangflowApiFlow("http://langflow", "f1", "key", 5.0)):
        sent = call(
            flow,
            input=CallInput("Hi", tweaks={"Model": {"temperature": 0.5}}),
            variables={"KEY": "value"},
            firing=FiringContext("schedule", "hourly", NOON, missed_ticks=(NOON,)),
        )
        assert pickle.loads(pickle.dumps(sent)) == sent


def test_no_secret_shows_in_a_representation():
    shown = repr(call(LangflowApiFlow("http://langflow", "f1", api_key="the-key"), variables={"KEY": "the-value"}))
    assert "the-key" not in shown
    assert "the-value" not in shown


def test_a_failure_survives_the_way_back():
    sent = FlowFailure(
        "RateLimitError",
        "Too many requests.",
        retryable=True,
        retry_after_seconds=7.0,
        traceback="Traceback…",
        component="Model-m1",
        usage=Usage(1, 2, 3),
    )
    received = pickle.loads(pickle.dumps(sent))
    assert vars(received) == vars(sent)
    assert str(received) == "RateLimitError: Too many requests."
    assert received.args == ("Too many requests.",)


def test_a_result_survives_the_way_back():
    sent = Result("Done.", {"ChatOutput-1": {"content": "Done."}}, Usage(1, 2, 3))
    assert pickle.loads(pickle.dumps(sent)) == sent


def test_the_last_2_kb_of_a_traceback_are_kept():
    failure = FlowFailure("E", "m", retryable=True, traceback="é" * 3000 + "the end")
    assert len(failure.traceback.encode()) <= 2048
    assert failure.traceback.endswith("é" * 1000 + "the end")
