"""Manual firings: asked for by the agent's name or its id, in any status, once for each Idempotency-Key."""

import pytest
from tests.support.world import World, statuses

from overnight.core import lifecycle
from overnight.errors import AgentNotFound, IdempotencyMismatch, LineFull, NoFreeSlot


@pytest.fixture(params=["name", "id"])
def ref(world: World, request: pytest.FixtureRequest) -> "Ref":
    """How the agents of a test are called: all that is said here holds for both."""
    return Ref(world, request.param)


class Ref:
    def __init__(self, world: World, by: str) -> None:
        self._world, self._by = world, by

    def __call__(self, agent: str = "agent") -> str:
        return agent if self._by == "name" else self._world.subjects[agent]

    def other(self, agent: str = "agent") -> str:
        """The other way."""
        return self._world.subjects[agent] if self._by == "name" else agent


def test_the_same_idempotency_key_gives_the_same_execution(world: World, ref: Ref):
    world.agent()
    first = world.trigger(ref(), idempotency_key="k", payload={"n": 1})
    world.drain()
    for called in (ref(), ref.other()):
        again = world.trigger(called, idempotency_key="k", payload={"n": 1})
        world.drain()
        assert (again.id, again.status) == (first.id, "succeeded")
    assert len(world.flows.ran) == len(world.rows()) == 1
    assert world.trigger(ref(), idempotency_key="other").id != first.id


@pytest.mark.parametrize("other", [{"payload": {"n": 2}}, {"input": {"input_value": "x"}}, {"test": True}, {}])
def test_the_same_idempotency_key_with_another_body_is_refused(world: World, ref: Ref, other: dict[str, object]):
    world.agent()
    body: dict[str, object] = {"payload": {"n": 1}}
    world.trigger(ref(), idempotency_key="k", **body)
    with pytest.raises(IdempotencyMismatch):
        world.trigger(ref(), idempotency_key="k", **((body | other) if other else {}))
    assert len(world.rows()) == 1


def test_an_idempotency_key_belongs_to_its_agent(world: World, ref: Ref):
    world.agent("a")
    world.agent("b")
    first = world.trigger(ref("a"), idempotency_key="k")
    assert (first.agent_id, world.trigger(ref("b"), idempotency_key="k").agent_id) == (
        world.subjects["a"],
        world.subjects["b"],
    )
    assert len(world.rows(None)) == 2


def test_what_was_accepted_once_is_not_refused_when_it_is_repeated(world: World, ref: Ref):
    world.agent(concurrency={"queue_limit": 1})
    first = world.trigger(ref(), idempotency_key="first")
    world.trigger(ref())
    with pytest.raises(LineFull):
        world.trigger(ref())
    assert world.trigger(ref(), idempotency_key="first").id == first.id
    assert len(world.rows()) == 2


def test_a_refused_firing_leaves_no_record_so_that_it_can_succeed_later(world: World, ref: Ref):
    world.agent(concurrency={"queue_limit": 1})
    world.trigger(ref())
    world.trigger(ref())
    with pytest.raises(LineFull) as refusal:
        world.trigger(ref(), idempotency_key="k")
    assert refusal.value.retry_after_seconds > 0
    assert len(world.rows()) == 2
    assert world.heard("execution.refused")[0]["code"] == "line_full"
    world.drain()
    assert world.trigger(ref(), idempotency_key="k").status == "pending"


@pytest.mark.parametrize("status", ["PAUSED", "STOPPED", "ERROR"])
def test_an_agent_that_is_not_active_runs_if_a_slot_is_free_and_is_refused_if_none_is(
    world: World, ref: Ref, status: str
):
    world.agent()
    match status:
        case "PAUSED":
            lifecycle.pause(world.ports, "agent")
        case "STOPPED":
            lifecycle.stop(world.ports, "agent")
        case "ERROR":
            lifecycle.fail(world.ports, "agent", "it failed too often")
    row = world.trigger(ref())
    with pytest.raises(NoFreeSlot):
        world.trigger(ref(), idempotency_key="k")
    world.drain()
    assert statuses(world.rows()) == ["succeeded"]
    assert world.trigger(ref(), idempotency_key="k").id != row.id


@pytest.mark.parametrize(
    ("policy", "becomes"),
    [
        ({}, ["running", "pending", "pending"]),
        ({"on_overlap": "queue_one"}, ["running", "skipped (coalesced)", "pending"]),
        ({"on_overlap": "skip"}, ["running", "skipped (overlap)", "skipped (overlap)"]),
        ({"on_overlap": "cancel_running"}, ["cancelled (overlap)", "skipped (coalesced)", "pending"]),
        ({"on_overlap": "allow"}, ["running", "running", "running"]),
    ],
)
def test_it_meets_the_overlap_policy(world: World, ref: Ref, policy: dict[str, str], becomes: list[str]):
    world.agent(concurrency=policy)
    world.hold("agent")
    for _ in range(3):
        world.trigger(ref())
        world.drain()
    assert statuses(world.rows()) == becomes


def test_the_definition_of_that_moment_is_pinned(world: World, ref: Ref):
    world.agent(start_deadline_seconds=60)
    world.trigger(ref())
    world.edit("agent", start_deadline_seconds=120)
    world.trigger(ref())
    rows = world.rows()
    assert [row.agent_version for row in rows] == [1, 2]
    assert [row.expires_at and (row.expires_at - row.created_at).total_seconds() for row in rows] == [60, 120]


def test_an_agent_that_is_not_there_runs_nothing(world: World, ref: Ref):
    with pytest.raises(AgentNotFound):
        world.trigger("nobody")
    world.agent()
    world.trigger(ref())
    lifecycle.delete(world.ports, "agent")
    with pytest.raises(AgentNotFound):
        world.trigger(ref())
    assert len(world.rows()) == 1


def test_what_runs_by_hand_on_a_stopped_agent_ends_or_is_cancelled_by_stopping_it_again(world: World, ref: Ref):
    world.agent(enabled=False)
    world.hold("agent")
    row = world.trigger(ref())
    world.drain()
    lifecycle.stop(world.ports, "agent")
    assert statuses(world.rows()) == ["running"]
    lifecycle.stop(world.ports, "agent", cancel_running=True)
    assert statuses(world.rows()) == ["cancelled (stopped)"]
    world.finish(row)
    assert not world.state().running
