"""The runner on Lambda, by itself: results, failures, limits, and what is printed."""

import threading
import time

import pytest
from tests.support import lambdas
from tests.support.requests import attempt_of

from overnight.aws.runner import LOG_CHARACTERS, MARGIN_SECONDS, InProcessRunner
from overnight.executions import AttemptOutcome
from overnight.flows.call import Allowed

ALLOWED = Allowed((), ("tests",))


def request(flow, *, timeout=30.0, variables=None, **given):
    return attempt_of(f"tests.support.lambdas:{flow}", seconds=timeout, variables=variables, **given)


@pytest.fixture(autouse=True)
def _hanging():
    lambdas.go_on.clear()
    yield
    lambdas.go_on.set()


def test_a_flow_is_given_its_input_and_its_text_is_reported():
    runner = InProcessRunner(ALLOWED)
    report = runner.run(request("hello", input_value="you"))
    assert (report.outcome, report.text, runner.spent) == (AttemptOutcome.SUCCEEDED, "hello you", False)


def test_what_a_flow_prints_is_kept_and_goes_to_the_functions_log(capsys):
    report = InProcessRunner(ALLOWED).run(request("loud"))
    assert report.log == "out\nerr\n"
    assert capsys.readouterr() == ("out\n", "err\n")


def test_of_much_that_is_printed_the_end_is_kept():
    report = InProcessRunner(ALLOWED).run(request("prints_much"))
    assert report.log is not None
    assert len(report.log) == LOG_CHARACTERS
    assert report.log.endswith("the end\n")


@pytest.mark.parametrize(
    ("flow", "type_", "retryable"),
    [("breaks", "RuntimeError", True), ("leaves", "SystemExit", True), ("not_there", None, False)],
)
def test_a_flow_that_fails_is_reported_and_the_process_goes_on(flow, type_, retryable):
    runner = InProcessRunner(ALLOWED)
    report = runner.run(request(flow))
    assert report.outcome is AttemptOutcome.FAILED
    assert report.failure is not None
    assert type_ in {None, report.failure.type}
    assert report.failure.retryable is retryable
    assert not runner.spent
    assert runner.run(request("hello")).text == "hello world"


def test_a_flow_that_may_not_be_imported_is_not():
    report = InProcessRunner(Allowed((), ("reports",))).run(request("hello"))
    assert report.outcome is AttemptOutcome.FAILED
    assert report.failure is not None
    assert not report.failure.retryable


@pytest.mark.parametrize(
    ("timeout", "remaining", "says"),
    [(0.1, 900, "timeout_seconds"), (600, MARGIN_SECONDS + 0.1, "runner_timeout_seconds")],
)
def test_a_flow_that_takes_too_long_is_given_up_and_the_process_is_spent(timeout, remaining, says):
    runner = InProcessRunner(ALLOWED)
    runner.until(remaining)
    began = time.monotonic()
    report = runner.run(request("hangs", timeout=timeout))
    assert time.monotonic() - began < 10
    assert report.outcome is AttemptOutcome.TIMED_OUT
    assert report.failure is not None
    assert f"`{says}`" in report.failure.message
    assert report.failure.retryable
    assert report.log == "waiting\n"
    assert runner.spent


def test_what_has_no_time_left_is_not_begun():
    runner = InProcessRunner(ALLOWED)
    runner.until(MARGIN_SECONDS)
    report = runner.run(request("hello"))
    assert (report.outcome, runner.spent) == (AttemptOutcome.INTERRUPTED, False)


def test_a_cancelled_attempt_is_given_up(monkeypatch):
    monkeypatch.setattr("overnight.aws.runner.CANCEL_SECONDS", 0.02)
    asked = []
    runner = InProcessRunner(ALLOWED, lambda execution: bool(asked.append(execution.id)) or len(asked) > 2)
    report = runner.run(request("hangs"))
    assert report.outcome is AttemptOutcome.CANCELLED
    assert asked == ["e" * 32] * 3
    assert runner.spent


def test_flows_run_in_one_thread_one_after_another(monkeypatch):
    """Model providers' clients stay bound to the event loop of their thread."""
    threads = []
    monkeypatch.setattr(lambdas, "begun", lambda: threads.append(threading.get_ident()))
    lambdas.go_on.set()
    runner = InProcessRunner(ALLOWED)
    for _ in range(3):
        assert runner.run(request("hangs")).outcome is AttemptOutcome.SUCCEEDED
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


def test_variables_are_the_flows_and_gone_after_it():
    report = InProcessRunner(ALLOWED).run(request("remember", variables={"GREETING": "hi"}))
    assert report.text == "hi"
    assert InProcessRunner(ALLOWED).run(request("remember")).text == "done"
