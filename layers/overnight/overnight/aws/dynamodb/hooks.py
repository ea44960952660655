"""Webhooks' addresses: whose trigger an id stands for, and which of its secrets are live.

There is one for every trigger that ever was, as long as its agent is remembered.
"""

from collections.abc import Callable, Iterator

from overnight.agents import Agent
from overnight.aws.dynamodb.schema import BY_OWNER, PK, SK
from overnight.aws.dynamodb.table import MARK, Condition, Key, Put, Refused, Table
from overnight.aws.dynamodb.tries import tries
from overnight.aws.dynamodb.values import Item, instant, stamp
from overnight.errors import HookNotFound
from overnight.ports import Hook
from overnight.webhooks import WebhookTrigger, hook_id

__all__ = ["Hooks"]


class Hooks:
    """Webhooks in the table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def kept(self, before: Agent | None, after: Agent) -> Iterator[Put]:
        """One for each webhook trigger that an agent has now and had not before; what is there stays as it is."""
        had = _hooks(before) if before else {}
        for id_, trigger in _hooks(after).items():
            if id_ in had or (before is not None and self.get(id_) is not None):
                continue
            hook = Hook(id=id_, agent_id=after.id, trigger=trigger)
            yield Put(self._item(hook), Condition("attribute_not_exists(#pk)"))

    def get(self, hook_id: str) -> Hook | None:
        """The webhook of that id, if there ever was one."""
        item = self._table.get(_key(hook_id))
        return None if item is None else _hook(item)

    def rekey(self, hook_id: str, change: Callable[[Hook], Hook]) -> Hook:
        """Change which secrets of a webhook are live. Raises HookNotFound."""
        item = self._table.get(_key(hook_id))
        for _ in tries(f"webhook {hook_id}"):
            if item is None:
                raise HookNotFound(hook_id)
            changed = change(_hook(item))
            try:
                self._table.put(self._item(changed), Condition("#mark = :seen", {"seen": item[MARK]}))
            except Refused as refused:
                item = refused.found
            else:
                return changed
        raise AssertionError  # tries end by raising

    def _item(self, hook: Hook) -> Item:
        pk, sk = _key(hook.id)
        item: Item = {
            PK: pk,
            SK: sk,
            MARK: self._table.mark(),
            "agent_id": hook.agent_id,
            "trigger": hook.trigger,
            "version": hook.version,
            BY_OWNER.pk: f"HOOKS#{hook.agent_id}",
            BY_OWNER.sk: hook.trigger,
        }
        if hook.previous_until is not None:
            item["previous_until"] = stamp(hook.previous_until)
        return item


def _key(hook_id: str) -> Key:
    return f"HOOK#{hook_id}", "HOOK"


def _hooks(agent: Agent) -> dict[str, str]:
    """The triggers that are webhooks, by their hook's id."""
    names = (trigger.name for trigger in agent.document.triggers if isinstance(trigger, WebhookTrigger))
    return {hook_id(agent.id, name): name for name in names}


def _hook(item: Item) -> Hook:
    return Hook(
        id=str(item[PK]).removeprefix("HOOK#"),
        agent_id=str(item["agent_id"]),
        trigger=str(item["trigger"]),
        version=int(item["version"]),
        previous_until=instant(str(item["previous_until"])) if "previous_until" in item else None,
    )
