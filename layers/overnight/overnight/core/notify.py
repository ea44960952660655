"""Telling somebody: a signed POST to the agent's URL, by Standard Webhooks (https://www.standardwebhooks.com).

A notification is kept before it is sent, under a deterministic id, and tried by a schedule of its own. A receiver that
fails never touches the execution.
"""

import base64
import hashlib
import hmac
import json
from datetime import datetime, timedelta

from overnight.agents import Agent
from overnight.errors import Invalid, OvernightError
from overnight.executions import Execution, Status
from overnight.ports import Delivery, Ports

__all__ = ["SCHEDULE", "deliver", "deliver_due", "notify", "secret", "signed"]

SCHEDULE = tuple(timedelta(seconds=s) for s in (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400))
"""When a delivery is tried: the schedule that the Standard Webhooks specification recommends."""

GONE = 410


def secret(ports: Ports, agent_id: str) -> str:
    """The secret that signs an agent's notifications, as Standard Webhooks write it (`whsec_…`)."""
    return "whsec_" + base64.b64encode(ports.secrets.derive(f"notify:{agent_id}")).decode()


def signed(key: str, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers of a signed message (`webhook-id`, `webhook-timestamp`, `webhook-signature`)."""
    timestamp = str(int(at.timestamp()))
    content = b".".join((message_id.encode(), timestamp.encode(), body))
    mac = hmac.new(base64.b64decode(key.removeprefix("whsec_")), content, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def notify(ports: Ports, execution: Execution, agent: Agent) -> None:
    """Keep the notifications that this outcome calls for; they are sent from there."""
    wish = agent.document.notify
    if wish is None or execution.test:
        return
    for kind in wish.on:
        if not _applies(ports, kind, execution):
            continue
        body = {
            "type": f"overnight.execution.{kind}",
            "timestamp": execution.finished_at.isoformat() if execution.finished_at else None,
            "data": {
                "execution_id": execution.id,
                "agent_id": execution.agent_id,
                "agent": execution.agent,
                "status": execution.status,
                "trigger": execution.trigger,
                "nominal": execution.nominal.isoformat() if execution.nominal else None,
                "attempts": execution.attempt,
                "error": execution.failure.model_dump(include={"type", "message"}) if execution.failure else None,
            },
        }
        ports.store.put_delivery(
            Delivery(
                id=f"msg_{execution.id}_{execution.attempt}_{kind}",
                agent_id=execution.agent_id,
                execution_id=execution.id,
                url=wish.url,
                body=json.dumps(body),
                created_at=ports.now(),
                due=ports.now(),
            )
        )


def _applies(ports: Ports, kind: str, execution: Execution) -> bool:
    if kind == "recovered":
        return execution.status is Status.SUCCEEDED and ports.store.read(execution.agent_id)[1].failures > 0
    return execution.status == kind


def deliver_due(ports: Ports, *, limit: int = 20) -> int:
    """Try every delivery whose time has come; how many there were."""
    due = ports.store.due_deliveries(ports.now(), limit)
    for delivery in due:
        deliver(ports, delivery)
    return len(due)


def deliver(ports: Ports, delivery: Delivery) -> Delivery:
    """Try a delivery once, and keep how it went. Never raises for what the receiver does."""
    now = ports.now()
    body = delivery.body.encode()
    headers = {"content-type": "application/json", **signed(secret(ports, delivery.agent_id), delivery.id, now, body)}
    try:
        status = ports.courier.post(delivery.url, body, headers)
        error = None if 200 <= status < 300 else f"the receiver answered {status}"  # noqa: PLR2004
        final = status == GONE
    except OvernightError as refused:
        error, final = str(refused), isinstance(refused, Invalid)
    tries = delivery.tries + 1
    due = None
    if error is None:
        result = "delivered"
    elif final or tries >= len(SCHEDULE):
        result = "failed"
    else:
        result, due = "pending", now + SCHEDULE[tries]
    tried = Delivery(
        id=delivery.id,
        agent_id=delivery.agent_id,
        execution_id=delivery.execution_id,
        url=delivery.url,
        body=delivery.body,
        created_at=delivery.created_at,
        due=due,
        tries=tries,
        status=result,
        error=error,
    )
    ports.store.put_delivery(tried)
    ports.observe(f"notification.{result}", agent_id=delivery.agent_id, execution_id=delivery.execution_id, error=error)
    return tried
