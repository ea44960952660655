"""Signed deliveries a second over 50 connections, acknowledged when they are durable, and run."""

import time
from pathlib import Path

from tests.bench.setting import HERE
from tests.bench.sizes import Sizes
from tests.support.engine_process import EngineProcess, engine_process
from tests.support.senders import Address, Message, tell

from overnight.client import Client
from overnight.webhooks import Webhook

__all__ = ["CONNECTIONS", "measure", "messages"]

CONNECTIONS = 50
AGENTS = 10


def measure(sizes: Sizes, folder: Path, url: str | None) -> dict[str, float]:
    """Overnight."""
    process: EngineProcess
    with (
        engine_process(folder / "data", HERE, "--workers", "4", "--log-level", "ERROR") as process,
        process.client() as client,
    ):
        addresses = [_address(client, f"agent-{number}") for number in range(AGENTS)]
        began = time.monotonic()
        told = tell(process.url, messages(addresses, sizes.deliveries), connections=CONNECTIONS)
        acknowledged = time.monotonic() - began
        unfinished = ("pending", "running", "retrying")
        while any(client.executions(status=status, limit=1)["items"] for status in unfinished):
            time.sleep(0.02)
        return {
            "acknowledged/s": sizes.deliveries / acknowledged,
            "run/s": sizes.deliveries / (time.monotonic() - began),
            "not answered by 202": sum(told.answers.values()) - told.answers.get(202, 0),
        }


def messages(addresses: list[Address], count: int) -> list[Message]:
    """So many deliveries, to each address in turn."""
    return [
        Message(
            f"d-{number}", addresses[number % len(addresses)], f'{{"id": "d-{number}", "order": {number}}}'.encode()
        )
        for number in range(count)
    ]


def _address(client: Client, name: str) -> Address:
    """That of a new agent."""
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
    return Address(view["path"], Webhook(), client.webhook_secret(view["hook_id"])["secret"])
