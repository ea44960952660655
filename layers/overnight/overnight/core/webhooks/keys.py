"""The secrets of a webhook: made here and derived anew each time, or supplied and kept in the secret store.

Neither is in the agent's record. Of those that are made here, the record of the webhook has the version only.
"""

import base64
import re
from datetime import datetime, timedelta

from overnight.agents import Agent
from overnight.core.webhooks.schemes import STANDARD_PREFIX
from overnight.errors import AgentNotFound, HookNotFound, Invalid, NotFound, SecretSupplied
from overnight.ports import Hook, Ports
from overnight.webhooks import Signature, Webhook, WebhookTrigger

__all__ = ["LONGEST_OVERLAP", "OVERLAP", "find", "live", "rotate", "secret"]

OVERLAP = timedelta(days=1)
"""How long the secret before is still accepted after a rotation, unless somebody says otherwise."""

LONGEST_OVERLAP = timedelta(days=30)

_ID = re.compile(r"[0-9a-f]{32}")


def find(ports: Ports, hook_id: str) -> tuple[Hook, Agent, WebhookTrigger]:
    """A webhook with its agent and trigger. Raises HookNotFound, also when agent or trigger are there no more."""
    hook = ports.store.hook(hook_id) if _ID.fullmatch(hook_id) else None
    try:
        agent = ports.store.agent(hook.agent_id) if hook else None
    except AgentNotFound:
        agent = None
    trigger = agent.document.trigger(hook.trigger) if hook and agent and not agent.deleted_at else None
    if hook is None or agent is None or not isinstance(trigger, WebhookTrigger):
        raise HookNotFound(hook_id)
    return hook, agent, trigger


def live(ports: Ports, hook: Hook, webhook: Webhook, now: datetime) -> tuple[str, ...]:
    """The secrets that are accepted now, the present one first; none where one that was supplied is not kept."""
    if webhook.signature == "none":
        return ()
    if webhook.secret is not None:
        return _supplied(ports, hook, webhook)
    versions = [hook.version]
    if hook.previous_until is not None and hook.previous_until > now:
        versions.append(hook.version - 1)
    return tuple(_made(ports, hook.id, version, webhook.signature) for version in versions)


def secret(ports: Ports, hook: Hook, webhook: Webhook) -> str:
    """The present secret, for setting up the sender. Raises SecretSupplied when it was not made here."""
    if webhook.signature == "none" or webhook.secret is not None:
        raise SecretSupplied(hook.id, webhook.secret)
    return _made(ports, hook.id, hook.version, webhook.signature)


def rotate(ports: Ports, hook_id: str, overlap: timedelta = OVERLAP) -> tuple[Hook, str]:
    """Make a new secret; the one before is accepted for the overlap, one before that no more.

    Raises HookNotFound, Invalid (`overlap_seconds`), and SecretSupplied when there is nothing to be made here.
    """
    if not timedelta() <= overlap <= LONGEST_OVERLAP:
        most = f"{LONGEST_OVERLAP.total_seconds():.0f}"
        raise Invalid.field("overlap_seconds", f"must be from 0 to {most}")
    hook, agent, trigger = find(ports, hook_id)
    secret(ports, hook, trigger.webhook)
    until = ports.now() + overlap

    def next_version(hook: Hook) -> Hook:
        return Hook(hook.id, hook.agent_id, hook.trigger, hook.version + 1, until)

    rotated = ports.store.rekey(hook_id, next_version)
    ports.observe("webhook.rotated", agent=agent.name, trigger=trigger.name, version=rotated.version)
    return rotated, secret(ports, rotated, trigger.webhook)


def _made(ports: Ports, hook_id: str, version: int, signature: Signature) -> str:
    """In the form in which senders of that scheme expect it."""
    key = ports.secrets.derive(f"hook:{hook_id}:{version}")
    match signature:
        case "standard-webhooks":
            return STANDARD_PREFIX + base64.b64encode(key).decode()
        case "stripe" | "langflow":
            return STANDARD_PREFIX + key.hex()
    return key.hex()


def _supplied(ports: Ports, hook: Hook, webhook: Webhook) -> tuple[str, ...]:
    found = []
    for reference in filter(None, (webhook.secret, webhook.previous_secret)):
        try:
            found.append(ports.secrets.resolve(reference))
        except NotFound as missing:
            ports.observe("webhook.secret_missing", hook_id=hook.id, trigger=hook.trigger, error=str(missing))
    return tuple(value for value in found if value)
