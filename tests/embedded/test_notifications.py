"""Notifications at a receiver that is really there: verified as its owner would, and gone when it says so."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import standardwebhooks
from tests.support.flows import broken
from tests.support.receiver import Receiver, receiving
from tests.support.world import World

from overnight.core import lifecycle, notify
from overnight.courier import HttpCourier
from overnight.executions import Execution
from overnight.ports import Delivery


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def world(receiver: Receiver) -> Iterator[World]:
    world = World()
    world.ports = replace(world.ports, courier=HttpCourier(allow_private=True))
    world.agent(notify={"on": ["failed", "recovered"], "url": receiver.url}, retries={"attempts": 1})
    yield world
    world.close()


def fail(world: World) -> Execution:
    """An execution that failed, and of which the receiver was told."""
    world.flows.says("agent", broken("the key is missing"))
    row = world.trigger()
    world.drain()
    world.deliver()
    return row


def deliveries(world: World) -> list[Delivery]:
    return list(world.store.deliveries(world.subjects["agent"]))


def test_the_specifications_own_library_verifies_what_arrives(world: World, receiver: Receiver):
    world.at(world.now.fromtimestamp(time.time(), world.now.tzinfo))
    row = fail(world)
    ((path, headers, body),) = receiver.posts
    library = standardwebhooks.Webhook(notify.secret(world.ports, row.agent_id))
    told: Any = library.verify(body, headers)
    assert path == "/hook"
    assert (told["type"], told["data"]["execution_id"]) == ("overnight.execution.failed", row.id)
    with pytest.raises(standardwebhooks.webhooks.WebhookVerificationError):
        library.verify(body.replace(b"failed", b"Failed"), headers)
    with pytest.raises(standardwebhooks.webhooks.WebhookVerificationError):
        standardwebhooks.Webhook(notify.secret(world.ports, "another")).verify(body, headers)


def test_every_try_is_the_same_message_signed_anew(world: World, receiver: Receiver):
    receiver.answers = [500, 503, 204]
    fail(world)
    for seconds in (5, 300):
        world.advance(seconds)
        world.deliver()
    assert len({headers["webhook-id"] for _, headers, _ in receiver.posts}) == 1
    assert len({headers["webhook-timestamp"] for _, headers, _ in receiver.posts}) == 3
    assert len({body for *_, body in receiver.posts}) == 1
    assert [(each.status, each.tries) for each in deliveries(world)] == [("delivered", 3)]


def test_a_redirect_is_not_followed(world: World, receiver: Receiver):
    with receiving() as other:
        receiver.answers, receiver.headers = [307], {"Location": other.url}
        fail(world)
        assert other.posts == []
    (delivery,) = deliveries(world)
    assert (delivery.status, delivery.error) == ("pending", "the receiver answered 307")


def test_a_private_address_is_refused_unless_it_is_allowed(world: World, receiver: Receiver):
    world.ports = replace(world.ports, courier=HttpCourier())
    fail(world)
    (delivery,) = deliveries(world)
    assert receiver.posts == []
    assert delivery.status == "failed"
    assert "private address" in str(delivery.error)


def test_an_answer_without_an_end_holds_up_nothing(world: World, receiver: Receiver):
    receiver.body = b"x" * 1_000_000
    receiver.headers = {"Content-Length": str(10**12)}
    fail(world)
    assert [each.status for each in deliveries(world)] == ["delivered"]


def test_a_receiver_that_is_gone_is_not_notified_until_the_agent_is_edited(world: World, receiver: Receiver):
    receiver.answers = [500, 410]
    fail(world)
    fail(world)
    world.advance(5)
    world.deliver()
    assert len(receiver.posts) == 2, "what was to be tried again isn't"
    assert [each.status for each in deliveries(world)] == ["failed", "failed"]
    fail(world)
    assert len(receiver.posts) == 2
    assert len(deliveries(world)) == 2
    assert len(world.heard("notification.muted")) == 1
    world.edit("agent", description="mended")
    fail(world)
    assert len(receiver.posts) == 3
    assert json.loads(receiver.posts[-1][2])["type"] == "overnight.execution.failed"


def test_a_change_of_status_is_no_edit(world: World, receiver: Receiver):
    receiver.answers = [410]
    fail(world)
    lifecycle.pause(world.ports, "agent")
    lifecycle.resume(world.ports, "agent")
    fail(world)
    assert len(receiver.posts) == 1


def test_a_receiver_that_is_gone_touches_neither_execution_nor_line(world: World, receiver: Receiver):
    receiver.answers = [410]
    row = fail(world)
    after = world.state()
    assert world.row(row).status == "failed"
    assert (after.status, after.running, after.line, after.failures) == ("ACTIVE", {}, (), 1)
    world.trigger()
    world.drain()
    assert [str(each.status) for each in world.rows()] == ["failed", "succeeded"]


def test_a_slow_receiver_holds_up_no_other(world: World, receiver: Receiver):
    with receiving() as quick, ThreadPoolExecutor(4) as pool:
        receiver.wait.clear()
        world.agent("other", notify={"on": ["succeeded"], "url": quick.url})
        world.flows.says("agent", broken())
        world.trigger()
        world.trigger("other")
        world.drain()
        done = pool.submit(notify.deliver_due, world.ports, each=pool.map)
        deadline = time.monotonic() + 10
        while not quick.posts and time.monotonic() < deadline:
            time.sleep(0.01)
        assert quick.posts
        assert not done.done()
        receiver.wait.set()
        assert done.result(timeout=10) == 2
