"""Notifications of a real engine: to whom it connects, and what arrives there."""

import json
from pathlib import Path

import pytest
import standardwebhooks
from tests.support.engine_process import engine_process, eventually
from tests.support.receiver import receiving

from overnight.client import Client, View

FLOW = "def fail():\n    raise RuntimeError('out of order')\n"


def told(client: Client) -> View:
    """An execution has failed, and its notification was tried."""
    client.trigger("agent")
    eventually(lambda: [each for each in client.notifications("agent")["deliveries"] if each["tries"]])
    return client.notifications("agent")


@pytest.mark.parametrize(("option", "reached"), [((), False), (("--no-private",), False), (("--private",), True)])
def test_a_receiver_on_a_private_address_is_reached_only_with_leave(tmp_path: Path, option: tuple[str], reached: bool):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "night_failing.py").write_text(FLOW)
    with receiving() as receiver, engine_process(tmp_path / "data", tmp_path / "project", *option) as engine:
        with engine.client() as client:
            client.create_agent(
                {"name": "agent", "flow": {"python": "night_failing:fail"}, "retries": {"attempts": 1},
                 "notify": {"on": ["failed"], "url": receiver.url}}
            )  # fmt: skip
            view = told(client)
        assert engine.stop() == 0
    (delivery,) = view["deliveries"]
    if reached:
        assert delivery["status"] == "delivered"
        ((_, headers, body),) = receiver.posts
        standardwebhooks.Webhook(view["secret"]).verify(body, headers)
        assert json.loads(body)["data"]["error"]["message"] == "out of order"
    else:
        assert (delivery["status"], receiver.posts) == ("failed", [])
        assert "has the private address 127.0.0.1. To allow it, start the engine with" in delivery["error"]
