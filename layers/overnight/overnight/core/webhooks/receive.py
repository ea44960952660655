"""The front door: a delivery comes in, and is durable before it is acknowledged."""

from datetime import datetime, timedelta
from math import ceil
from typing import NamedTuple

from pydantic import JsonValue

from overnight.agents import Agent, AgentState, RateWindow
from overnight.core.fire import admit
from overnight.core.payloads import hold
from overnight.core.webhooks import keys
from overnight.core.webhooks.payload import payload
from overnight.core.webhooks.schemes import Delivery, Refused, handshake, verify
from overnight.errors import HookNotFound, RateLimited, Unverified
from overnight.executions import Execution, Firing, FiringKind, execution_id
from overnight.ports import Hook, Ports
from overnight.webhooks import Webhook, WebhookTrigger

__all__ = ["LIMIT_BYTES", "Received", "receive"]

LIMIT_BYTES = 256 * 1024
"""How large a delivery's body may be."""

MINUTE = timedelta(minutes=1)


class Received(NamedTuple):
    """What became of a delivery: an execution, or only an answer to a sender that asked whether somebody is there."""

    execution: Execution | None = None
    duplicate: bool = False
    answer: dict[str, JsonValue] | None = None


def receive(ports: Ports, hook_id: str, delivery: Delivery) -> Received:
    """Verify a delivery, keep it, and run it once.

    Raises:
        Unverified: it does not prove who sent it, or there is no such webhook.
        Invalid: it is genuine, but can't be read, or does not fit the trigger's schema.
        AgentStopped, LineFull, RateLimited: it is genuine, and may be sent again later. Nothing is kept of it.
    """
    hook, agent, trigger, own_id = _verified(ports, hook_id, delivery)
    answer = handshake(trigger.webhook, delivery)
    if answer is not None:
        ports.observe("webhook.handshake", agent=agent.name, trigger=trigger.name)
        return Received(answer=answer)
    key = f"hook:{trigger.name}:{own_id or ports.new_id()}"
    firing = Firing(
        agent_id=agent.id,
        kind=FiringKind.WEBHOOK,
        dedupe_key=key,
        trigger=trigger.name,
        payload=hold(ports.blobs, payload(trigger.webhook, delivery), execution_id(agent.id, key)),
    )
    now = ports.now()

    def check(agent: Agent, state: AgentState) -> AgentState:
        """What has changed since the agent was read; and the rate limit, which counts in the gate."""
        present = agent.document.trigger(hook.trigger)
        if agent.deleted_at or not isinstance(present, WebhookTrigger):
            raise Unverified
        limit = present.webhook.rate_limit_per_minute
        return _counted(state, hook.trigger, limit, now) if limit else state

    admitted = admit(ports, firing, check=check)
    if admitted is None:
        raise Unverified
    return Received(admitted.execution, admitted.duplicate)


def _verified(ports: Ports, hook_id: str, delivery: Delivery) -> tuple[Hook, Agent, WebhookTrigger, str | None]:
    """The webhook that the delivery is meant for, and the delivery's id. Raises Unverified, whatever is wrong."""
    now = ports.now()
    try:
        hook, agent, trigger = keys.find(ports, hook_id)
    except HookNotFound:
        hook, agent, trigger = Hook(hook_id, "", ""), None, None
    webhook = trigger.webhook if trigger else Webhook()
    # What is not there is verified too, so that it takes as long.
    secrets = keys.live(ports, hook, webhook, now)
    try:
        own_id = verify(webhook, delivery, secrets, now)
    except Refused as refused:
        why = str(refused)
    else:
        if agent is not None and trigger is not None:
            return hook, agent, trigger, own_id
        why = "it is not there"
    ports.observe(
        "webhook.refused",
        hook_id=hook_id[:64],
        agent=agent.name if agent else None,
        trigger=trigger.name if trigger else None,
        reason=why if trigger else "there is no such webhook",
    )
    raise Unverified


def _counted(state: AgentState, trigger: str, limit: int, now: datetime) -> AgentState:
    """The state with one more delivery counted. Raises RateLimited."""
    windows = {name: window for name, window in state.rates.items() if now - window.since < MINUTE}
    window = windows.get(trigger, RateWindow(since=now, count=0))
    if window.count >= limit:
        raise RateLimited(limit, max(1, ceil((window.since + MINUTE - now).total_seconds())))
    windows[trigger] = RateWindow(since=window.since, count=window.count + 1)
    return state.model_copy(update={"rates": windows})
