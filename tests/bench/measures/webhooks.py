"""Signed deliveries a second over 50 connections, acknowledged when they are durable, and run."""

import tempfile
import time
from pathlib import Path

from tests.bench.setting import HERE
from tests.support.engine_process import engine_process
from tests.support.senders import Address, Message, tell

from overnight.webhooks import Webhook

DELIVERIES = 5_000
CONNECTIONS = 50
AGENTS = 10


def messages(addresses: list[Address], count: int = DELIVERIES) -> list[Message]:
    """So many deliveries, to each address in turn."""
    return [
        Message(
            f"d-{number}", addresses[number % len(addresses)], f'{{"id": "d-{number}", "order": {number}}}'.encode()
        )
        for number in range(count)
    ]


def measure() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        arguments = ("--workers", "4", "--log-level", "ERROR")
        with engine_process(Path(folder) / "data", HERE, *arguments) as engine, engine.client() as client:
            addresses = []
            for number in range(AGENTS):
                name = f"agent-{number}"
                client.create_agent(
                    {
                        "name": name,
                        "flow": {"python": "flows:nothing"},
                        "enabled": True,
                        "triggers": [{"name": "in", "webhook": {}}],
                        "concurrency": {"max_parallel": 20, "queue_limit": 1_000},
                    }
                )
                [view] = client.webhooks(agent=name)["items"]
                secret = client.webhook_secret(view["hook_id"])["secret"]
                addresses.append(Address(view["path"], Webhook(), secret))
            began = time.monotonic()
            told = tell(engine.url, messages(addresses), connections=CONNECTIONS)
            acknowledged = time.monotonic() - began
            unfinished = ("pending", "running", "retrying")
            while any(client.executions(status=status, limit=1)["items"] for status in unfinished):
                time.sleep(0.1)
            return {
                "deliveries/s, acknowledged": DELIVERIES / acknowledged,
                "deliveries/s, run": DELIVERIES / (time.monotonic() - began),
                "answered otherwise than 202": sum(told.answers.values()) - told.answers.get(202, 0),
            }
