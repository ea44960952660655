"""The limits of API Gateway and Lambda: our own refuse first, where they can, and all refuse in the same words."""

from datetime import timedelta

import pytest
from tests.aws.deployed.test_firings import Sender
from tests.aws.harness.gateway import INTEGRATION_SECONDS

AGENTS = "api/v1/background_agents"
MB = 1_000_000


def problem(answer) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    said = answer.json()
    assert said.keys() == {"type", "title", "status", "detail", "code", "errors"}
    assert said["status"] == answer.status_code
    return answer.status_code, said["code"]


@pytest.mark.parametrize(
    ("path", "megabytes"),
    [
        pytest.param("api/v1/events", 1.1, id="ours"),
        pytest.param(AGENTS, 7, id="Lambda's"),
        pytest.param(AGENTS, 11, id="API Gateway's"),
    ],
)
def test_what_is_too_large_is_413_whoever_refuses_it(stack, path, megabytes):
    body = '{"name": "a", "data": "' + "x" * round(megabytes * MB) + '"}'
    with stack.http() as http:
        answer = http.post(path, content=body, headers={"Content-Type": "application/json"})
    assert problem(answer) == (413, "too_large")


@pytest.mark.parametrize("megabytes", [0.3, 5, 11])
def test_a_delivery_that_is_too_large_is_413_whoever_refuses_it(stack, megabytes):
    agent = stack.agent(triggers=[{"name": "hook", "webhook": {}}])
    sender = Sender(stack, agent, "hook")
    body = b"x" * round(megabytes * MB)
    assert problem(sender.post(body, sender.signed(body, "large"))) == (413, "too_large")


def test_a_flow_as_large_as_is_documented_fits(stack):
    nodes = [{"id": f"n{n}", "type": "noteNode", "data": {"text": "x" * 1_000}} for n in range(4_000)]
    flow = {"langflow": {"name": "large", "data": {"nodes": nodes, "edges": []}}}
    assert stack.client.create_agent({"name": "large", "flow": flow})["status"] == "STOPPED"


def test_headers_that_are_too_large_never_reach_a_function(stack):
    with stack.http() as http:
        assert http.get(AGENTS, headers={"X-Large": "x" * 10_300}).status_code == 431
    assert not stack.world.failed


def test_a_light_function_ends_before_api_gateway_waits_no_more(stack):
    for name in ("api", "webhook"):
        assert stack.function(name).timeout < timedelta(seconds=INTEGRATION_SECONDS)


def test_no_answer_in_time_is_a_problem_too(stack):
    with stack.watched(lambda *_: stack.advance(seconds=INTEGRATION_SECONDS + 1)), stack.http() as http:
        answer = http.post(AGENTS, json={"name": "a", "flow": {"python": "a:b"}})
    assert problem(answer) == (504, "timeout")
