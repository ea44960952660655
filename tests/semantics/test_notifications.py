"""Notifications: signed by Standard Webhooks, tried by a schedule of their own, and never in the execution's way."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from tests.support.flows import broken, ok
from tests.support.world import World, statuses

from overnight.core import notify, retry, run
from overnight.errors import Invalid, Unavailable

URL = "https://example.com/hook"


def noisy(world: World, *on: str, **fields: Any) -> None:
    world.agent(notify={"on": list(on or ("failed",)), "url": URL}, retries={"attempts": 1}, **fields)


def verified(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """As https://github.com/standard-webhooks/standard-webhooks describes it for a receiver, written from that text."""
    key = base64.b64decode(secret.split("_", 1)[1])
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return any(
        hmac.compare_digest(signature.removeprefix("v1,"), expected)
        for signature in headers["webhook-signature"].split(" ")
        if signature.startswith("v1,")
    )


def test_a_failure_is_told_to_the_agents_url_signed(world: World):
    noisy(world)
    world.flows.says("agent", broken("the key is missing"))
    row = world.trigger()
    world.drain()
    world.deliver()
    ((url, body, headers),) = world.courier.posts
    secret = notify.secret(world.ports, row.agent_id)
    assert url == URL
    assert verified(secret, headers, body)
    assert not verified(secret, headers, body + b" ")
    assert not verified(notify.secret(world.ports, "another"), headers, body)
    assert abs(int(headers["webhook-timestamp"]) - world.now.timestamp()) < 1
    told = json.loads(body)
    assert told["type"] == "overnight.execution.failed"
    assert (told["data"]["execution_id"], told["data"]["agent"]) == (row.id, "agent")
    assert told["data"]["error"] == {"type": "ImportError", "message": "the key is missing"}


def test_the_signature_is_that_of_the_specifications_example():
    # https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    headers = notify.signed(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        b'{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("on", "outcomes", "told"),
    [
        (["failed"], "+-+-", ["failed", "failed"]),
        (["succeeded"], "+-+", ["succeeded", "succeeded"]),
        (["recovered"], "++-++--+", ["recovered", "recovered"]),
        (["failed", "recovered"], "-+", ["failed", "recovered"]),
    ],
)
def test_an_agent_tells_what_it_was_asked_to(world: World, on: list[str], outcomes: str, told: list[str]):
    noisy(world, *on)
    for outcome in outcomes:
        world.flows.says("agent", ok() if outcome == "+" else broken())
        world.trigger()
        world.drain()
        world.deliver()
        world.advance(1)
    assert [json.loads(body)["type"].rpartition(".")[2] for _, body, _ in world.courier.posts] == told


def test_what_fails_again_after_a_redrive_is_told_again(world: World):
    noisy(world)
    world.flows.says("agent", broken(), broken())
    row = world.trigger()
    world.drain()
    retry.redrive(world.ports, row.id)
    world.drain()
    world.deliver()
    assert [json.loads(body)["data"]["attempts"] for _, body, _ in world.courier.posts] == [1, 2]
    assert len({headers["webhook-id"] for _, _, headers in world.courier.posts}) == 2


def test_what_is_told_is_told_to_the_bus_too(world: World):
    for what in ("succeeded", "failed", "recovered"):
        follow = {"name": f"overnight.execution.{what}", "filter": "agent == 'agent'"}
        world.agent(what, triggers=[{"name": "on", "event": follow}])
    noisy(world, "recovered")
    for report in (ok(), broken(), ok(), ok()):
        world.flows.says("agent", report)
        world.trigger()
        world.drain()
    rows = world.rows("agent")
    followed = {name: world.rows(name) for name in ("succeeded", "failed", "recovered")}
    assert {name: len(rows) for name, rows in followed.items()} == {"succeeded": 3, "failed": 1, "recovered": 1}
    assert followed["recovered"][0].dedupe_key == f"event:{rows[2].id}.1.recovered"


def test_a_test_run_and_a_cancelled_one_are_told_to_nobody(world: World):
    noisy(world, "failed", "succeeded")
    world.flows.says("agent", broken())
    world.trigger(test=True)
    world.trigger(test=True)
    world.drain()
    run.cancel(world.ports, world.trigger().id)
    world.deliver()
    assert statuses(world.rows()) == ["failed", "succeeded", "cancelled (requested)"]
    assert world.courier.posts == []


def test_a_receiver_that_fails_is_tried_again_by_the_schedule_of_the_specification(world: World):
    noisy(world)
    world.courier.answers = [500, Unavailable("no answer"), 302, 429, *[503] * 9]
    world.flows.says("agent", broken())
    row = world.trigger()
    world.drain()
    tried: list[float] = []
    for _ in range(600):
        before = len(world.courier.posts)
        world.deliver()
        tried += [(world.now - row.created_at).total_seconds()] * (len(world.courier.posts) - before)
        due = world.store.deliveries(row.agent_id)[0].due
        if due is None:
            break
        world.at(due)
    gaps = [int(b - a) for a, b in pairwise(tried)]
    assert gaps == [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]
    (delivery,) = world.store.deliveries(row.agent_id)
    assert (delivery.status, delivery.tries) == ("failed", 10)
    assert len({headers["webhook-id"] for _, _, headers in world.courier.posts}) == 1, "the same message each time"
    assert world.row(row).status == "failed"
    assert statuses(world.rows()) == ["failed"]


@pytest.mark.parametrize("answer", [410, Invalid.field("url", "is a private address")])
def test_an_answer_that_is_final_is_not_asked_for_again(world: World, answer: int | Exception):
    noisy(world)
    world.courier.answers = [answer]
    world.flows.says("agent", broken())
    row = world.trigger()
    world.drain()
    world.deliver()
    (delivery,) = world.store.deliveries(row.agent_id)
    assert (delivery.status, delivery.due) == ("failed", None)


def test_a_delivery_that_succeeds_at_last_is_done(world: World):
    noisy(world)
    world.courier.answers = [500, 204]
    world.flows.says("agent", broken())
    row = world.trigger()
    world.drain()
    world.deliver()
    world.advance(5)
    world.deliver()
    world.advance(days=1)
    world.deliver()
    (delivery,) = world.store.deliveries(row.agent_id)
    assert (delivery.status, delivery.tries, delivery.error, len(world.courier.posts)) == ("delivered", 2, None, 2)


def test_a_receiver_that_fails_never_touches_the_execution_nor_its_agent(world: World):
    noisy(world)
    world.flows.says("agent", broken())
    row = world.trigger()
    world.drain()
    before = (world.row(row), world.state())
    world.courier.answers = [500]
    world.deliver()
    assert (world.row(row), world.state()) == before
