"""Redrive: what has failed is taken up again, alone or in bulk, with a new budget, its id and its history."""

from typing import Any

import pytest
from tests.support.flows import broken, failed
from tests.support.world import World, instant, statuses

from overnight.core import lifecycle, retry
from overnight.errors import AgentNotFound
from overnight.executions import FiringKind, Status
from overnight.ports import ExecutionFilter


def test_a_redrive_takes_up_a_failed_one_with_a_new_budget_its_id_and_history_kept(world: World):
    world.agent(retries={"attempts": 2, "backoff_seconds": 1})
    world.flows.says("agent", *[failed()] * 3)
    row = world.trigger()
    world.live(10)
    assert (world.row(row).status, world.row(row).tries) == ("failed", 2)
    taken_up = retry.redrive(world.ports, row.id)
    assert (taken_up.status, taken_up.tries, taken_up.attempt) == ("pending", 0, 2)
    assert (taken_up.finished_at, taken_up.retain_until) == (None, None)
    world.live(10)
    row = world.row(row)
    assert (row.status, row.attempt, row.tries, row.redrives) == ("succeeded", 4, 2, 1)
    assert [(a.number, str(a.outcome)) for a in world.store.attempts(row.id)] == [
        (1, "failed"), (2, "failed"), (3, "failed"), (4, "succeeded"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "redriven"),
    [
        ({}, {"a0", "a1", "b0"}),
        ({"agent_id": "a"}, {"a0", "a1"}),
        ({"kinds": (FiringKind.EVENT,)}, {"a1", "b0"}),
        ({"trigger": "on-b"}, {"b0"}),
        ({"since": instant("2026-01-05 02:00")}, {"b0"}),
        ({"until": instant("2026-01-05 01:00")}, {"a0"}),
        ({"statuses": (Status.SUCCEEDED,)}, {"a0", "a1", "b0"}),
        ({"agent_id": "b", "kinds": (FiringKind.MANUAL,)}, set()),
    ],
)
def test_failed_executions_are_redriven_in_bulk_by_filter(world: World, where: dict[str, Any], redriven: set[str]):
    for name in ("a", "b"):
        world.agent(name, triggers=[{"name": f"on-{name}", "event": {"name": name}}])
    world.flows.says("a", broken(), broken())
    world.flows.says("b", broken())
    world.trigger("a")
    for name in ("a", "b", "b"):
        world.drain()
        world.advance(hours=1)
        world.send(name)
    world.drain()
    if "agent_id" in where:
        where = where | {"agent_id": world.subjects[where["agent_id"]]}
    found = retry.redrive_all(world.ports, ExecutionFilter(**where))
    names = {row.id: f"{name}{number}" for name in ("a", "b") for number, row in enumerate(world.rows(name))}
    assert {names[id_] for id_ in found} == redriven
    world.drain()
    assert {names[row.id] for row in world.rows(None) if row.status == "succeeded"} == redriven | {"b1"}


def test_a_redrive_of_a_stopped_agent_runs_with_its_budget_because_somebody_asked_for_it(world: World):
    world.agent(retries={"attempts": 2, "backoff_seconds": 10})
    world.flows.says("agent", broken(), failed())
    row = world.trigger()
    world.drain()
    world.advance(1)
    lifecycle.stop(world.ports, "agent")
    retry.redrive(world.ports, row.id)
    world.live(60)
    assert (world.row(row).status, world.row(row).tries) == ("succeeded", 2)


def test_a_redrive_that_waits_for_its_retry_is_cancelled_when_its_agent_is_stopped(world: World):
    world.agent(retries={"attempts": 2, "backoff_seconds": 10, "jitter": "none"})
    world.flows.says("agent", broken(), failed())
    row = world.trigger()
    world.drain()
    retry.redrive(world.ports, row.id)
    world.drain()
    world.advance(1)
    lifecycle.stop(world.ports, "agent")
    world.live(60)
    assert statuses([world.row(row)]) == ["cancelled (stopped)"]


def test_a_redrive_of_a_deleted_agents_execution_is_refused(world: World):
    world.agent()
    world.flows.says("agent", broken())
    row = world.trigger()
    world.drain()
    lifecycle.delete(world.ports, "agent")
    with pytest.raises(AgentNotFound):
        retry.redrive(world.ports, row.id)


def test_a_redrive_with_latest_uses_the_present_definition(world: World):
    world.agent(input={"input_value": "old"}, retries={"attempts": 1})
    world.flows.says("agent", failed())
    row = world.trigger()
    world.drain()
    world.edit("agent", input={"input_value": "new"})
    retry.redrive(world.ports, row.id, latest=True)
    world.drain()
    assert [given.input["input_value"] for given in world.flows.ran] == ["old", "new"]
