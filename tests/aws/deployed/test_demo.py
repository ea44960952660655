"""The scenario of `make demo`, on the deployed stack: the same agents, and by the clock the same half minutes.

Flows sleep by the account's clock, and a worker is killed in mid-run. In the end, `overnight verify` finds nothing.
"""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from tests.aws.harness.stack import SIGNED, Stack, statuses
from tests.aws.harness.stage import Time

from overnight.aws.stack import Deployed
from overnight.cli import main
from overnight.cli.declarations import read

EXAMPLES = Path(__file__).parents[3] / "examples"
MINUTES = 1


@pytest.fixture
def demo(stacks, monkeypatch) -> Stack:
    """The demo's agents, applied and running; `greeting` as a Python flow, as this runner is the small one."""
    stack = stacks(folders=[str(EXAMPLES)])
    stack.deploy()
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import night_shift  # noqa: PLC0415 - a module of the demo's folder

    monkeypatch.setattr(night_shift, "time", Time)
    for declared in read(EXAMPLES / "agents.yaml").agents:
        document = dict(declared.document)
        if declared.name == "greeting":
            document["flow"] = {"python": "night_shift:index"}
        stack.client.put_agent(declared.name, document)
    yield stack
    sys.modules.pop("night_shift")


@pytest.fixture
def overnight(monkeypatch, capsys) -> Callable[..., str]:
    """The command line against a deployed stack; what it prints."""

    def run(stack: Stack, *arguments: str) -> str:
        outputs = stack.cloud.outputs
        deployed = Deployed(outputs["ApiUrl"], outputs["WebhooksUrl"].removesuffix("/api/v1/webhooks/"), SIGNED)
        monkeypatch.setattr("overnight.aws.stack.find", lambda _: deployed)
        monkeypatch.setattr(httpx.HTTPTransport, "handle_request", stack.way_in("Operator").handle_request)
        capsys.readouterr()
        assert main(["--stack", stack.cloud.name, *arguments]) == 0
        return capsys.readouterr().out

    return run


def test_the_demo_runs_and_nothing_is_lost_doubled_or_stuck(demo, overnight):
    demo.client.trigger("survivor")
    demo.live(seconds=10)
    demo.kill("survivor")
    sent = demo.client.send_event("dataset.uploaded", data={"name": "sales-2026", "rows": 48_000})
    demo.live(minutes=MINUTES)
    for agent in list(demo.client.every_agent()):
        if agent["name"] != "survivor":  # which goes on once its lease is over
            demo.client.stop(agent["name"])
    demo.come_to_rest()

    counts = {agent["name"]: Counter(statuses(demo.rows(agent["name"]))) for agent in demo.client.every_agent()}
    assert set(counts["greeting"]) == {"succeeded"}
    assert counts["greeting"]["succeeded"] >= MINUTES * 15 - 1
    assert set(counts["flaky"]) <= {"succeeded", "cancelled (stopped)"}
    assert all(row["attempt"] == 3 for row in demo.rows("flaky") if row["status"] == "succeeded")
    assert set(counts["doomed"]) <= {"failed", "cancelled (stopped)"}
    assert counts["doomed"]["failed"] == len(demo.heard("execution.dead_lettered"))
    assert counts["slow-skip"]["skipped (overlap)"]
    assert counts["slow-queue"]["skipped (queue_full)"]
    assert not counts["slow-queue"]["skipped (overlap)"]
    assert len(sent["execution_ids"]) == 2
    assert {row["id"] for agent in ("announce", "index") for row in demo.rows(agent)} == set(sent["execution_ids"])
    (survivor,) = demo.rows("survivor")
    assert survivor["status"] == "succeeded"
    assert [attempt["outcome"] for attempt in demo.client.execution(survivor["id"])["attempts"]] == [
        "lost",
        "succeeded",
    ]
    demo.check()
