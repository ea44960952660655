"""What holds once everything has settled, whatever happened before."""

from datetime import timedelta

from tests.support.world import World

__all__ = ["sound"]


def sound(world: World) -> None:
    """Every execution has come to an end in the way that is promised, and nothing is left over."""
    for row in world.rows(None):
        assert row.status.terminal, row
        attempts = world.store.attempts(row.id)
        assert [attempt.number for attempt in attempts] == list(range(1, row.attempt + 1))
        ends = [str(attempt.outcome) for attempt in attempts]
        assert ends.count("succeeded") == (row.status == "succeeded"), ends
        assert row.status != "succeeded" or ends[-1] == "succeeded"
    for agent, state in world.store.agents(deleted=True, limit=500).items:
        assert (state.running, state.settle, state.catch_up, state.trip) == ({}, {}, {}, None), agent.name
        # What was cancelled while its agent was paused may leave its place when the line moves again.
        assert not state.line or state.status == "PAUSED"
        assert state.want_version == state.armed_version
        assert bool(state.schedules) <= (state.status == "ACTIVE")
    assert world.store.pending_events(world.now, 10) == []
    assert world.queue.receive(10, world.now + timedelta(days=1)) == []
    ran = [(given.execution.id, given.execution.attempt) for given in world.flows.ran]
    assert len(set(ran)) == len(ran), "an attempt ran twice"
    world.check(settling=timedelta(minutes=2))
