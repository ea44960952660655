"""A stack with declared and runtime agents: deployed, updated, rolled back, destroyed, and deployed again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.aws.harness.cloudformation import RolledBack
from tests.aws.harness.functions import Fuse
from tests.aws.harness.stack import ACTS, Stack, statuses

pytestmark = pytest.mark.timeout(600)

FLOW = Path(__file__).parents[3] / "examples" / "flows" / "hello.json"
V1 = {
    "report": {"schedule": {"cron": "10 * * * *"}},
    "pulse": {"schedule": {"interval": {"minutes": 40}}},
    "hello": {"flow": str(FLOW), "schedule": {"cron": "0 0 * * *"}},
}
V2 = {
    "report": {"schedule": {"cron": "20 * * * *"}},
    "follow": {"triggers": [{"name": "on", "event": {"name": "dataset.*"}}]},
    "hello": {"flow": str(FLOW), "schedule": {"cron": "0 0 * * *"}},
}


@pytest.fixture
def declare(tmp_path) -> Callable[..., str]:
    """Writes a file of agents; its path."""

    def write(agents: dict[str, dict[str, Any]]) -> str:
        path = tmp_path / f"agents-{len(list(tmp_path.iterdir()))}.yaml"
        documents = [{"name": name, "flow": ACTS} | fields for name, fields in agents.items()]
        path.write_text(yaml.safe_dump({"agents": documents}), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def stack(stacks, declare) -> Stack:
    """The first version, with a runtime agent beside the declared ones."""
    made: Stack = stacks()
    made.deploy(agents=declare(V1))
    made.agent("night", schedule={"interval": {"minutes": 30}})
    return made


def schedules(stack: Stack) -> list[str]:
    """What EventBridge has, but for the watchdog's: the group's kind, and the expression."""
    return sorted(
        f"{schedule.group_name.rsplit('-')[-1]} {schedule.schedule_expression}"
        for schedule in stack.account.schedules()
        if "Watchdog" not in schedule.name
    )


def ticks(stack: Stack, agent: str) -> list[str]:
    return [row["nominal"][11:16] for row in stack.rows(agent) if row["status"] == "succeeded"]


def test_declared_and_runtime_agents_run(stack):
    names = {agent["name"]: agent["declared"] for agent in stack.client.every_agent()}
    assert names == {"report": True, "pulse": True, "hello": True, "night": False}
    assert schedules(stack) == [
        "declared cron(0 0 * * ? *)",
        "declared cron(0,40 0/2 * * ? *)",
        "declared cron(10 * * * ? *)",
        "declared cron(20 1/2 * * ? *)",
        "runtime cron(0,30 * * * ? *)",
    ]
    stack.live(minutes=41)
    assert (ticks(stack, "report"), ticks(stack, "pulse"), ticks(stack, "night")) == (["08:10"], ["08:40"], ["08:30"])
    stack.check()


def test_the_same_tree_deployed_again_changes_nothing(stack, declare):
    before = schedules(stack), stack.client.agent("report")
    assert stack.deploy(agents=declare(V1)) == []
    assert (schedules(stack), stack.client.agent("report")) == before


@pytest.mark.slow
def test_an_update_changes_what_the_file_says_and_nothing_that_was_ruled_at_run_time(stack, declare):
    stack.live(minutes=15)
    stack.client.pause("hello")
    stack.deploy(agents=declare(V2))
    assert schedules(stack) == [
        "declared cron(0 0 * * ? *)",
        "declared cron(20 * * * ? *)",
        "runtime cron(0,30 * * * ? *)",
    ]
    assert {agent["name"]: agent["status"] for agent in stack.client.every_agent()} == {
        "report": "ACTIVE",
        "follow": "ACTIVE",
        "hello": "PAUSED",
        "night": "ACTIVE",
    }
    stack.client.send_event("dataset.new", data={})
    stack.live(minutes=25)
    assert ticks(stack, "report") == ["08:10", "08:20"]
    assert statuses(stack.rows("follow")) == ["succeeded"]
    stack.check()


@pytest.mark.slow
def test_a_rolled_back_update_leaves_everything_as_it_was(stack, declare):
    stack.live(minutes=15)
    before = schedules(stack), {name: stack.client.agent(name)["triggers"] for name in V1}
    taken = V2 | {"night": {}}  # the name of an agent that the API has made
    with pytest.raises(RolledBack, match="night"):
        stack.deploy(agents=declare(taken))
    assert (schedules(stack), {name: stack.client.agent(name)["triggers"] for name in V1}) == before
    stack.live(minutes=60)
    assert ticks(stack, "report") == ["08:10", "09:10"]
    assert ticks(stack, "pulse") == ["08:40"]
    assert ticks(stack, "night") == ["08:30", "09:00"]
    stack.check()


@pytest.mark.slow
def test_destroying_lists_what_stays_and_a_stack_deployed_again_goes_on_with_it(stack, declare):
    stack.live(minutes=35)
    left = stack.destroy()
    assert sorted(line.partition(",")[0] for line in left) == [
        "AWS::ApiGateway::Account ApiManagementAccount4EBFD05F",  # it is the whole AWS account's, and so is its role
        "AWS::DynamoDB::GlobalTable overnight",
        "AWS::IAM::Role overnight-ApiManagementCloudWatchRole1812C0CE",
        f"AWS::S3::Bucket overnight-{stack.account.id}-eu-central-1",
        "AWS::SSM::Parameter /overnight/overnight/master-key",
    ]
    assert stack.account.schedules() == []
    stack.advance(minutes=10)

    stack.deploy(agents=declare(V1), import_existing=True)
    assert ticks(stack, "report") == ["08:10"]
    assert ticks(stack, "night") == ["08:30"]
    assert "runtime cron(0,30 * * * ? *)" in schedules(stack)
    stack.live(minutes=30)
    assert ticks(stack, "report") == ["08:10", "09:10"]
    assert ticks(stack, "night") == ["08:30", "09:00"]
    stack.check()


@pytest.mark.slow
def test_a_deployment_that_dies_after_any_call_is_rolled_back_and_can_be_made_again(stacks, declare):
    for writes in range(1, 100):
        stack = stacks()
        fuse = Fuse(writes)
        with stack.watched(fuse):
            try:
                stack.deploy(agents=declare(V1))
            except RolledBack:
                stack.deploy(agents=declare(V1), import_existing=True)
        stack.live(minutes=11)
        assert ticks(stack, "report") == ["08:10"], f"after write {writes}"
        stack.check()
        stack.close()
        if not fuse.blown:
            return
    pytest.fail("a deployment writes without end")
