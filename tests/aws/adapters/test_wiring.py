"""A function's environment, and the engine that is built of it."""

import pytest
from tests.aws.adapters.conftest import Invocation
from tests.support import aws

from overnight.aws.clients import CONFIG, Clients
from overnight.aws.environment import Environment
from overnight.aws.wiring import open_engine
from overnight.core import fire
from overnight.errors import Invalid, Unavailable

GIVEN = {
    "OVERNIGHT_STACK": "nightly",
    "OVERNIGHT_TABLE": "table",
    "OVERNIGHT_BUCKET": "bucket",
    "OVERNIGHT_RUN_QUEUE": "run",
    "OVERNIGHT_RETRY_QUEUE": "retry",
    "OVERNIGHT_FIRE_QUEUE": "fire",
    "OVERNIGHT_BUS": "bus",
    "OVERNIGHT_SCHEDULE_GROUP": "group",
}


def test_everything_that_is_missing_is_named_at_once():
    with pytest.raises(Invalid) as refusal:
        Environment.read({"OVERNIGHT_TABLE": "table", "OVERNIGHT_BUS": ""})
    assert {problem.field for problem in refusal.value.problems} == GIVEN.keys() - {"OVERNIGHT_TABLE"}


@pytest.mark.parametrize("prefix", ["no/slash", "/ends/", "/a b", "/"])
def test_a_prefix_that_ssm_would_not_take_is_refused(prefix):
    with pytest.raises(Invalid, match="OVERNIGHT_SECRETS_PREFIX"):
        Environment.read(GIVEN | {"OVERNIGHT_SECRETS_PREFIX": prefix})


def test_what_is_not_set_has_its_default():
    environment = Environment.read(GIVEN | {"OVERNIGHT_SECRETS_PREFIX": "", "PATH": "/bin"})
    assert environment.parameters == "/overnight/nightly"
    assert (environment.folders, environment.packages, environment.allow_private) == ((), (), False)
    assert environment.tick_arn is None


def test_lists_are_separated_by_commas():
    environment = Environment.read(GIVEN | {"OVERNIGHT_FOLDERS": "/a, /b,", "OVERNIGHT_PACKAGES": "reports"})
    assert (environment.folders, environment.packages) == (("/a", "/b"), ("reports",))


def test_a_function_makes_no_client_that_it_does_not_use(stack):
    made = []

    def make(service, **_):
        made.append(service)
        return aws.client(service)

    engine = open_engine(stack.environ, clients=Clients(make), now=stack.now)
    assert made == []
    stack.agent()
    engine.ports.store.read("agent")
    engine.ports.store.read("agent")
    assert made == ["dynamodb"]


def test_throttled_calls_are_tried_again_within_what_a_light_function_has():
    assert CONFIG.retries == {"mode": "standard", "total_max_attempts": 5}
    assert CONFIG.connect_timeout + CONFIG.read_timeout < 20


def test_a_light_function_runs_no_flows(stack):
    stack.agent()
    fire.trigger(stack.open().ports, "agent")
    (message,) = stack.messages()
    with pytest.raises(Unavailable, match="runs no flows"):
        stack.open().run(message, Invocation())
