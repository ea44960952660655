"""Which blobs are needed is known from what is stored, and forgotten with it."""

import pytest

from overnight.errors import AgentNotFound
from overnight.executions import Held, Status
from overnight.ports import Revision

FLOW, FORMER, PAYLOAD, GIVEN, OUTPUT, LOG, SECOND_LOG = (letter * 64 for letter in "0123456")
EVERY = (FLOW, FORMER, PAYLOAD, GIVEN, OUTPUT, LOG, SECOND_LOG, "f" * 64)


def _held(digest):
    return Held(blob=digest, size_bytes=5_000)


def _used(world):
    return world.store.used_blobs(EVERY)


def test_a_flow_is_needed_by_its_agent_in_every_version_until_that_is_forgotten(world):
    agent = world.agent(flow={"langflow": FORMER})
    assert _used(world) == {FORMER}
    agent = world.edit(agent, version=2, document=world.document(flow={"langflow": FLOW}))
    assert _used(world) == {FLOW, FORMER}
    world.edit(agent, deleted_at=world.now())
    assert _used(world) == {FLOW, FORMER}
    world.store.forget_agent(agent.id)
    assert _used(world) == set()


def test_what_an_execution_was_given_gave_and_printed_is_needed_until_its_retention_is_over(world):
    agent = world.agent()
    execution = world.admit(agent, payload=_held(PAYLOAD), input=_held(GIVEN)).execution
    assert _used(world) == {PAYLOAD, GIVEN}

    execution = world.store.revise(execution.id, world.start)[0].execution
    attempt = world.attempt(execution, 1).model_copy(update={"log": LOG})
    retrying = execution.model_copy(update={"status": Status.RETRYING, "first": attempt})
    world.store.revise(execution.id, lambda row: Revision(retrying, attempt))
    execution = world.store.revise(execution.id, world.start)[0].execution
    assert _used(world) == {PAYLOAD, GIVEN, LOG}

    def end(row):
        ended = world.end(row, output=_held(OUTPUT))
        return Revision(ended.execution, ended.attempt.model_copy(update={"log": SECOND_LOG}))

    world.store.revise(execution.id, end)
    assert _used(world) == {PAYLOAD, GIVEN, LOG, OUTPUT, SECOND_LOG}
    world.admit(agent, payload=_held(PAYLOAD))
    world.now.pass_(days=31)
    assert world.store.prune(world.now(), 10) == 1
    assert _used(world) == {PAYLOAD}, "another one needs it still"


def test_a_firing_that_was_there_already_needs_nothing(world):
    agent = world.agent()
    firing = world.firing(agent)
    world.admit(agent, firing, payload=_held(PAYLOAD))
    assert world.admit(agent, firing, payload=_held(GIVEN)).duplicate
    assert _used(world) == {PAYLOAD}


def test_a_write_that_fails_notes_nothing(world):
    agent = world.agent()

    def work():
        world.admit(agent, payload=_held(PAYLOAD))
        world.store.read("ghost")

    with pytest.raises(AgentNotFound):
        world.store.together(work)
    assert _used(world) == set()
