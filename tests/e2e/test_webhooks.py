"""Webhooks through a real engine: one from end to end, and ten thousand while the engine is killed."""

import random
import threading
from collections import Counter
from pathlib import Path

import pytest
from tests.support.engine_process import EngineProcess, engine_process, eventually
from tests.support.senders import Address, Message, Told, tell

from overnight.client import Client
from overnight.webhooks import Webhook

AGENTS = """
import os
from pathlib import Path
EFFECTS = Path(__file__).with_name("effects")

def told(context):
    return f"order {context.firing.payload['body']['order']} from {context.firing.payload['headers']['x-tenant']}"

def mark(context):
    descriptor = os.open(EFFECTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{context.execution_id} {context.attempt} {context.firing.payload['body']['id']}\\n".encode())
    os.close(descriptor)
"""
SCHEMES: tuple[dict, ...] = (
    {},
    {"signature": "github"},
    {"signature": "stripe"},
    {
        "signature": "hmac",
        "header": "X-Sig",
        "timestamp_header": "X-At",
        "template": "{timestamp}{body}",
        "id_header": "I",
    },
    {"signature": "token"},
)
DELIVERIES = 10_000
CONNECTIONS = 50


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "hook_agents.py").write_text(AGENTS)
    return folder


def add(client: Client, name: str, flow: str, webhook: dict, **rest: object) -> Address:
    """An active agent with one webhook."""
    client.create_agent(
        {"name": name, "flow": {"python": f"hook_agents:{flow}"}, "enabled": True,
         "triggers": [{"name": "in", "webhook": webhook}], **rest}
    )  # fmt: skip
    [view] = client.webhooks(agent=name)["items"]
    secret = client.webhook_secret(view["hook_id"])["secret"]
    return Address(view["path"], Webhook.model_validate(webhook), secret)


def test_a_signed_delivery_reaches_the_flow_and_outlives_a_kill(tmp_path: Path, project: Path):
    with engine_process(tmp_path / "data", project, "--workers", "2") as engine:
        with engine.client() as client:
            address = add(client, "orders", "told", {"headers": ["X-Tenant"]})
            message = Message("msg_1", address, b'{"order": 42}')
            with_tenant = {"X-Tenant": "acme", "Content-Type": "application/json"}
            first = _post(client, message, with_tenant)
        engine.kill()
        engine.start()
        with engine.client() as client:
            again = _post(client, message, with_tenant)
            assert again == first
            ended = eventually(lambda: _ended(client, first["execution_id"]))
            assert (ended["status"], ended["output"]["text"]) == ("succeeded", "order 42 from acme")
            assert len(client.executions(agent="orders")["items"]) == 1


def _post(client: Client, message: Message, headers: dict) -> dict:
    from datetime import UTC, datetime  # noqa: PLC0415

    from overnight.core.webhooks.schemes import sign  # noqa: PLC0415

    address = message.address
    signed = sign(address.webhook, address.secret, message.body, datetime.now(UTC), message.id)
    return client.deliver(address.path.rpartition("/")[2], message.body, {**headers, **signed.headers}, signed.query)


def _ended(client: Client, execution_id: str) -> dict | None:
    view = client.execution(execution_id)
    return view if view["status"] in {"succeeded", "failed", "cancelled", "skipped"} else None


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_thousand_deliveries_each_run_exactly_once_though_the_engine_is_killed_twice(tmp_path: Path, project: Path):
    chance = random.Random(7)
    with engine_process(tmp_path / "data", project, "--workers", "4", "--log-level", "ERROR") as engine:
        with engine.client() as client:
            addresses = [
                add(client, f"agent-{number}", "mark", SCHEMES[number % len(SCHEMES)],
                    concurrency={"max_parallel": 20, "queue_limit": 1_000},
                    retries={"attempts": 20, "backoff_seconds": 0.1, "backoff": "fixed", "jitter": "none"})
                for number in range(20)
            ]  # fmt: skip
        messages = [
            Message(f"d-{number}", addresses[number % len(addresses)], f'{{"id": "d-{number}"}}'.encode())
            for number in range(DELIVERIES)
        ]
        twice = chance.sample(messages, DELIVERIES // 10)
        posted = [*messages, *twice]
        chance.shuffle(posted)

        told = tell(engine.url, posted, connections=CONNECTIONS, watch=_Killer(engine, len(posted)))

        assert set(told.executions) == {message.id for message in messages}
        assert max(map(len, told.executions.values())) == 1, "a delivery was acknowledged as two executions"
        assert told.answers.get(0, 0) > 0, "nobody noticed the kills"
        assert set(told.answers) <= {0, 200, 202, 429, 503}, told.answers
        with engine.client() as client:
            eventually(lambda: _idle(client), 300, every=0.5)
            assert client.verify()["findings"] == []
            executions = _every_execution(client)
        assert {each["id"] for each in executions} == {next(iter(ids)) for ids in told.executions.values()}
        assert {each["status"] for each in executions} == {"succeeded"}
        _check_effects(project, told)
        assert engine.stop() == 0


class _Killer:
    """Kills the engine when a third, and when two thirds of the messages were answered, and starts it again."""

    def __init__(self, engine: EngineProcess, messages: int) -> None:
        self._engine = engine
        self._left = [messages // 3, 2 * messages // 3]
        self._answered = 0
        self._restart: threading.Thread | None = None

    def __call__(self, told: Told) -> None:
        if self._left and told.answers.get(202, 0) + told.answers.get(200, 0) >= self._left[0]:
            self._left.pop(0)
            self._engine.kill()
            self._restart = threading.Thread(target=self._engine.start)
            self._restart.start()


def _every_execution(client: Client) -> list[dict]:
    found, cursor = [], None
    while True:
        page = client.executions(cursor=cursor, limit=200)
        found += page["items"]
        if (cursor := page["cursor"]) is None:
            return found


def _idle(client: Client) -> bool:
    return not any(client.executions(status=status, limit=1)["items"] for status in ("pending", "running", "retrying"))


def _check_effects(project: Path, told: Told) -> None:
    """Of each delivery the attempt that succeeded took effect once; attempts that the kills cut off are few."""
    effects = [line.split() for line in (project / "effects").read_text().splitlines()]
    attempts = Counter((execution, attempt) for execution, attempt, _ in effects)
    assert max(attempts.values()) == 1, "an attempt ran twice"
    by_message = {message: execution for execution, _, message in effects}
    assert by_message == {message: next(iter(ids)) for message, ids in told.executions.items()}
    assert len(effects) - DELIVERIES <= 2 * 4, "more ran again than were cut off by two kills of four workers"
