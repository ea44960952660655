"""Telling somebody: a signed POST to the agent's URL, by Standard Webhooks (https://www.standardwebhooks.com).

A notification is kept before it is sent, under a deterministic id, and tried by a schedule of its own. A receiver that
fails never touches the execution. One that answers 410 is not notified any more until the agent is edited.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from overnight.agents import Agent, AgentState, Mute
from overnight.errors import AgentNotFound, Invalid, OvernightError
from overnight.executions import Execution, Status
from overnight.policies import Telling
from overnight.ports import Delivery, Ports, Transition

__all__ = ["SCHEDULE", "deliver", "deliver_due", "muted", "notify", "secret", "signed"]

SCHEDULE = tuple(timedelta(seconds=s) for s in (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400))
"""When a delivery is tried: the schedule that the Standard Webhooks specification recommends."""

GONE = 410
GONE_BEFORE = "the receiver had answered 410 (Gone); edit the agent to notify it again"


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


def notify(ports: Ports, execution: Execution, agent: Agent) -> Sequence[Telling]:
    """Keep the notifications that this outcome calls for, which are sent from there; what they tell."""
    wish = agent.document.notify
    if wish is None or execution.test:
        return ()
    present, state = ports.store.read(execution.agent_id)
    kinds = [kind for kind in wish.on if _applies(kind, execution, state)]
    if muted(present, state, wish.url):
        ports.observe("notification.muted", agent_id=execution.agent_id, execution_id=execution.id)
        return kinds
    for kind in kinds:
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
    return kinds


def _applies(kind: Telling, execution: Execution, state: AgentState) -> bool:
    if kind == "recovered":
        return execution.status is Status.SUCCEEDED and state.failures > 0
    return execution.status == kind


def muted(agent: Agent, state: AgentState, url: str) -> bool:
    """Whether this receiver of the agent said that it is gone, and the agent was not edited since."""
    return state.mute == Mute(url=url, version=agent.version)


Each = Callable[[Callable[[Delivery], Delivery], Sequence[Delivery]], Iterable[Delivery]]
"""As `map`; or one that does it to several at once, so that a slow receiver holds up no other."""


def deliver_due(ports: Ports, *, limit: int = 20, each: Each = map) -> int:
    """Try the deliveries whose time has come; how many there were."""
    due = ports.store.due_deliveries(ports.now(), limit)
    return len(list(each(partial(deliver, ports), due)))


def deliver(ports: Ports, delivery: Delivery) -> Delivery:
    """Try a delivery once, and keep how it went. Never raises for what the receiver does."""
    if _is_muted(ports, delivery):
        return _tried(ports, delivery, "failed", GONE_BEFORE, tries=delivery.tries)
    now = ports.now()
    body = delivery.body.encode()
    headers = {"content-type": "application/json", **signed(secret(ports, delivery.agent_id), delivery.id, now, body)}
    try:
        status = ports.courier.post(delivery.url, body, headers)
        error = None if 200 <= status < 300 else f"the receiver answered {status}"  # noqa: PLR2004
        final = status == GONE
    except OvernightError as refused:
        error, final, status = str(refused), isinstance(refused, Invalid), None
    tries = delivery.tries + 1
    if error is None:
        return _tried(ports, delivery, "delivered", None, tries=tries)
    if status == GONE:
        _mute(ports, delivery)
    if final or tries >= len(SCHEDULE):
        return _tried(ports, delivery, "failed", error, tries=tries)
    return _tried(ports, delivery, "pending", error, tries=tries, due=now + SCHEDULE[tries])


def _is_muted(ports: Ports, delivery: Delivery) -> bool:
    try:
        return muted(*ports.store.read(delivery.agent_id), delivery.url)
    except AgentNotFound:
        return False


def _mute(ports: Ports, delivery: Delivery) -> None:
    def move(agent: Agent, state: AgentState) -> Transition:
        return Transition(state.model_copy(update={"mute": Mute(url=delivery.url, version=agent.version)}))

    with suppress(AgentNotFound):
        ports.store.transition(delivery.agent_id, move)


def _tried(
    ports: Ports, delivery: Delivery, status: str, error: str | None, *, tries: int, due: datetime | None = None
) -> Delivery:
    tried = replace(delivery, status=status, error=error, tries=max(tries, 1), due=due)
    ports.store.put_delivery(tried)
    ports.observe(f"notification.{status}", agent_id=delivery.agent_id, execution_id=delivery.execution_id, error=error)
    return tried
