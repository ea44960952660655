"""Which failures are tried again, when, and what their message tells the reader to do."""

from datetime import UTC, datetime

import httpx
import pytest

from overnight.flows import FlowFailure, Permanent, Retry
from overnight.flows.failures import failure_of, redacted, retry_after_seconds

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)


def http_error(status, headers=None):
    request = httpx.Request("POST", "https://api.example.com/v1")
    response = httpx.Response(status, headers=headers, request=request)
    return httpx.HTTPStatusError(f"Status {status}", request=request, response=response)


def no_answer():
    return httpx.ConnectError("Connection refused")


def caused(outer, cause):
    """`outer`, raised from `cause`, as a component's author writes it."""
    outer.__cause__ = cause
    return outer


class ComponentBuildError(Exception):
    """As lfx wraps what a component raises."""


@pytest.mark.parametrize(
    ("error", "retryable", "after", "message"),
    [
        (RuntimeError("boom"), True, None, "boom"),
        (Retry(after_seconds=30), True, 30, "asked to be tried again"),
        (Retry("Not yet."), True, None, "Not yet."),
        (Permanent("The customer is gone."), False, None, "The customer is gone."),
        (caused(ComponentBuildError("…"), Permanent("No.")), False, None, "No."),
        (SyntaxError("invalid syntax"), False, None, "syntax error"),
        (ModuleNotFoundError("No module named 'bs4'", name="bs4"), False, None, "pip install beautifulsoup4"),
        (ImportError("Please run `pip install langchain-groq`."), False, None, "pip install langchain-groq in the"),
        (
            ImportError("Missing 'tabulate'. Use pip or conda to install tabulate."),
            False,
            None,
            "pip install tabulate in",
        ),
        (ModuleNotFoundError("No module", name="langflow.services"), False, None, "It needs Langflow's own server"),
        (ImportError("Something optional is missing"), False, None, "Install what is missing"),
        (ImportError("cannot import name 'x' from 'openai'", name="openai"), False, None, "version of openai"),
        (http_error(401), False, None, "The key was refused"),
        (http_error(403), False, None, "The key was refused"),
        (http_error(404), False, None, "no such model or address"),
        (http_error(422), False, None, "refused again"),
        (http_error(408), True, None, "408"),
        (http_error(429, {"Retry-After": "7"}), True, 7, "429"),
        (http_error(503, {"Retry-After": "0.5"}), True, 0.5, "503"),
        (http_error(429, {"retry-after-ms": "1500", "retry-after": "2"}), True, 1.5, "429"),
        (no_answer(), True, None, "No answer"),
        (TimeoutError("timed out"), True, None, "No answer"),
        (caused(ValueError("Error 429"), http_error(429, {"Retry-After": "3"})), True, 3, "429"),
        (
            ValueError("OpenAI API key is required. Configure it globally as OPENAI_API_KEY."),
            False,
            None,
            'overnight secrets set openai, and in the agent: variables: {OPENAI_API_KEY: "secret:openai"}',
        ),
        (ValueError("A model selection is required"), False, None, "Choose a model in Langflow"),
        (ValueError("No files to process."), False, None, "absolute paths"),
        (RuntimeError("Retrieval requires Langflow's application services."), False, None, "no Langflow server"),
        (SystemExit(3), True, None, "sys.exit()"),
        (MemoryError(), True, None, "MemoryError"),
    ],
    ids=lambda value: repr(value) if isinstance(value, BaseException) else None,
)
def test_failures_are_sorted(error, retryable, after, message):
    failure = failure_of(error)
    assert failure.retryable is retryable
    assert failure.retry_after_seconds == after
    assert message in failure.message


def raised_by(function):
    with pytest.raises(Exception) as caught:
        function()
    return caught.value


def falls_back_to_the_network():
    try:
        raise ModuleNotFoundError(name="fast_path")
    except ImportError:
        raise no_answer()  # noqa: B904 - as components are written


def goes_on_without_the_package():
    try:
        raise ModuleNotFoundError(name="fast_path")
    except ImportError:
        raise RuntimeError("boom") from None


@pytest.mark.parametrize("component", [falls_back_to_the_network, goes_on_without_the_package])
def test_a_missing_package_that_a_component_does_without_is_not_the_reason(component):
    assert failure_of(raised_by(component)).retryable


def test_in_the_users_own_code_a_status_alone_is_not_permanent():
    assert failure_of(http_error(404), in_component=False).retryable
    assert failure_of(http_error(429, {"Retry-After": "7"}), in_component=False).retry_after_seconds == 7
    assert not failure_of(ModuleNotFoundError(name="x"), in_component=False).retryable


def test_a_failure_names_its_component():
    failure = failure_of(RuntimeError("boom"), component="Model-m1", label="Language Model (Model-m1)")
    assert failure.component == "Model-m1"
    assert failure.message == "Language Model (Model-m1): boom"


def test_a_failure_is_sorted_once():
    failure = FlowFailure("X", "m", retryable=False)
    assert failure_of(failure) is failure


def test_long_messages_are_cut():
    assert len(failure_of(RuntimeError("x" * 10_000)).message) == 2000


def test_secrets_are_in_no_failure():
    failure = FlowFailure("E", "Wrong key: sk-12345", retryable=False, traceback="key='sk-12345'")
    clean = redacted(failure, {"OPENAI_API_KEY": "sk-12345", "REGION": "eu"})
    assert "sk-12345" not in clean.message + clean.traceback + str(clean.args)
    assert "<OPENAI_API_KEY>" in clean.message


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("Fri, 20 Nov 2026 08:01:00 GMT", 60),
        ("Fri, 20 Nov 2026 07:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("nan", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, seconds):
    assert retry_after_seconds({"retry-after": value}, now=NOW) == seconds
