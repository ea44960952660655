"""What came from outside once can be fired again, as a new firing that names the first."""

import pytest

from overnight.core import events, fire, lifecycle
from overnight.executions import Event, FiringKind, Reason, Status


def test_a_delivery_that_was_skipped_because_its_agent_was_paused_runs_when_it_is_replayed(sender, engine, client):
    orders = sender()
    lifecycle.pause(engine.ports, orders.agent_id)
    first = orders.post().json()["execution_id"]
    lifecycle.resume(engine.ports, orders.agent_id)

    answer = client.post(f"/api/v1/executions/{first}/replay")
    assert answer.status_code == 202
    view = answer.json()
    assert answer.headers["Location"] == f"/api/v1/executions/{view['id']}"
    assert (view["replay_of"], view["kind"], view["trigger"], view["status"]) == (first, "webhook", "in", "pending")
    assert view["payload"] == client.get(f"/api/v1/executions/{first}").json()["payload"]
    engine.work()
    assert engine.store.execution(view["id"]).status is Status.SUCCEEDED
    assert engine.store.execution(first).reason is Reason.PAUSED


def test_every_replay_is_a_firing_of_its_own_unless_it_has_the_key_of_one(sender, client):
    first = sender().post().json()["execution_id"]
    replays = [client.post(f"/api/v1/executions/{first}/replay") for _ in range(2)]
    assert len({first, *(replay.json()["id"] for replay in replays)}) == 3
    keyed = [client.post(f"/api/v1/executions/{first}/replay", headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in keyed] == [202, 200]
    assert keyed[0].json()["id"] == keyed[1].json()["id"]
    again = client.post(f"/api/v1/executions/{keyed[0].json()['id']}/replay", headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()["code"]) == (422, "idempotency_mismatch")


def test_a_replay_of_a_replay_names_the_one_that_was_replayed(sender, client):
    first = sender().post().json()["execution_id"]
    second = client.post(f"/api/v1/executions/{first}/replay").json()["id"]
    assert client.post(f"/api/v1/executions/{second}/replay").json()["replay_of"] == second


def test_events_and_manual_calls_can_be_replayed_and_ticks_can_not(sender, engine, client):
    orders = sender(agent={"triggers": [{"name": "in", "webhook": {}}, {"name": "e", "event": {"name": "dataset.*"}},
                                        {"name": "t", "interval": {"hours": 1}}]})  # fmt: skip
    [event] = events.take(
        engine.ports, Event(id="e", name="dataset.created", data={"size": 7}, at=engine.time, depth=3)
    )
    manual = fire.trigger(engine.ports, "orders", input={"input_value": "x"}, payload={"a": 1}, test=True).execution.id
    for id_, kind in ((event, "event"), (manual, "manual")):
        view = client.post(f"/api/v1/executions/{id_}/replay").json()
        assert (view["replay_of"], view["kind"]) == (id_, kind)
        first = client.get(f"/api/v1/executions/{id_}").json()
        for kept in ("payload", "input", "trigger", "test", "depth"):
            assert view[kept] == first[kept], kept
    engine.after(3_600)
    fire.tick(engine.ports, orders.agent_id, "t", engine.time)
    tick = next(execution for execution in orders.kept() if execution.kind is FiringKind.SCHEDULE)
    refused = client.post(f"/api/v1/executions/{tick.id}/replay")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_replayable")


@pytest.mark.parametrize("what", ["pause", "stop"])
def test_an_agent_that_would_only_skip_it_refuses_a_replay(sender, engine, client, what):
    orders = sender()
    first = orders.post().json()["execution_id"]
    getattr(lifecycle, what)(engine.ports, orders.agent_id)
    refused = client.post(f"/api/v1/executions/{first}/replay")
    assert (refused.status_code, refused.json()["code"]) == (409, "agent_not_active")
    assert len(orders.kept()) == 1


def test_what_is_gone_can_not_be_replayed(sender, engine, client):
    orders = sender()
    first = orders.post().json()["execution_id"]
    lifecycle.delete(engine.ports, orders.agent_id)
    assert client.post(f"/api/v1/executions/{first}/replay").json()["code"] == "agent_not_found"
    assert client.post(f"/api/v1/executions/{'0' * 32}/replay").json()["code"] == "execution_not_found"
