"""A real server with agents that have webhooks, and senders that sign for them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from tests.embedded.http.conftest import client, engine, registry, server  # noqa: F401 - fixtures
from tests.embedded.http.engine import Engine

from overnight.agents import AgentDocument
from overnight.core import lifecycle
from overnight.core.webhooks.schemes import sign
from overnight.executions import Execution
from overnight.ports import ExecutionFilter
from overnight.webhooks import Webhook, hook_id

SUPPLIED = "whsec_c3VwcGxpZWQ="


@dataclass
class Sender:
    """Posts deliveries to one webhook."""

    client: httpx.Client
    engine: Engine
    agent_id: str
    trigger: str
    webhook: Webhook
    count: int = field(default=0)

    @property
    def hook_id(self) -> str:
        return hook_id(self.agent_id, self.trigger)

    @property
    def path(self) -> str:
        return f"/api/v1/webhooks/{self.hook_id}"

    @property
    def secret(self) -> str:
        if self.webhook.signature == "none":
            return ""
        if self.webhook.secret:
            return SUPPLIED
        return self.client.get(f"{self.path}/secret").json()["secret"]

    def signed(
        self, body: bytes | None = None, *, delivery_id: str | None = None, secret: str | None = None
    ) -> dict[str, Any]:
        """What is posted: a new delivery, unless it has the id of an earlier one."""
        self.count += 1
        if body is None:
            body = f'{{"order": {self.count}}}'.encode()
        id_ = delivery_id or f"d-{self.count}"
        made = sign(self.webhook, self.secret if secret is None else secret, body, self.engine.time, id_)
        headers = {"Content-Type": "application/json", **made.headers}
        return {"content": body, "headers": headers, "params": dict(made.query) or None}

    def post(self, body: bytes | None = None, *, headers: dict[str, str] | None = None, **said: Any) -> httpx.Response:
        """Sign and post."""
        request = self.signed(body, **said)
        return self.client.post(self.path, **{**request, "headers": {**request["headers"], **(headers or {})}})

    def kept(self) -> list[Execution]:
        """The executions of its agent, oldest first."""
        return list(reversed(self.engine.store.executions(ExecutionFilter(agent_id=self.agent_id)).items))


@pytest.fixture
def sender(engine: Engine, client: httpx.Client) -> Callable[..., Sender]:  # noqa: F811
    """Makes an active agent with one webhook, and a sender for it."""

    def make(
        name: str = "orders", *, enabled: bool = True, agent: dict[str, Any] | None = None, **webhook: Any
    ) -> Sender:
        document = AgentDocument.model_validate(
            {
                "name": name,
                "flow": {"python": "m:f"},
                "enabled": enabled,
                "triggers": [{"name": "in", "webhook": webhook}],
                "concurrency": {"max_parallel": None},
            }
            | (agent or {})
        )
        if document.triggers[0].webhook.secret:  # type: ignore[union-attr]
            engine.ports.secrets.set("supplied", SUPPLIED)
        stored, _ = lifecycle.create(engine.ports, document)
        return Sender(client, engine, stored.id, "in", Webhook.model_validate(webhook))

    return make
