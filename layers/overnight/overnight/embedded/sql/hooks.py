"""Webhooks' addresses: whose trigger an id stands for, and which of its secrets are live."""

from collections.abc import Callable

from sqlalchemy import bindparam, select, update

from overnight.agents import Agent
from overnight.embedded.sql.database import Database, Row, Transaction
from overnight.embedded.sql.instants import from_us, to_us
from overnight.embedded.sql.schema import hooks
from overnight.embedded.sql.statement import Statement, binds
from overnight.errors import HookNotFound
from overnight.ports import Hook
from overnight.webhooks import WebhookTrigger, hook_id

__all__ = ["Hooks"]

_KEEP = Statement(lambda insert: insert(hooks).values(binds(hooks)).on_conflict_do_nothing(index_elements=[hooks.c.id]))
_SELECT = select(*(hooks.c[name] for name in Hook.__dataclass_fields__)).where(hooks.c.id == bindparam("hook_id"))
_READ = Statement(_SELECT)
_LOCK = Statement(_SELECT.with_for_update())
_REKEY = Statement(
    update(hooks)
    .where(hooks.c.id == bindparam("key"))
    .values(version=bindparam("version"), previous_until=bindparam("previous_until"))
)


class Hooks:
    """Webhooks in their table; there is one for every trigger that ever was, as long as its agent is remembered."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, transaction: Transaction, agent: Agent) -> None:
        """Keep one for each webhook trigger of the agent; what is there stays as it is."""
        for trigger in agent.document.triggers:
            if isinstance(trigger, WebhookTrigger):
                transaction.run(
                    _KEEP,
                    id=hook_id(agent.id, trigger.name),
                    agent_id=agent.id,
                    trigger=trigger.name,
                    version=1,
                    previous_until=None,
                )

    def get(self, hook_id: str) -> Hook | None:
        """The webhook of that id, if there ever was one."""
        row = self._database.read(lambda reading: reading.one(_READ, hook_id=hook_id))
        return None if row is None else _hook(row)

    def rekey(self, hook_id: str, change: Callable[[Hook], Hook]) -> Hook:
        """Change which secrets of a webhook are live. Raises HookNotFound."""

        def work(transaction: Transaction) -> Hook:
            row = transaction.one(_LOCK, hook_id=hook_id)
            if row is None:
                raise HookNotFound(hook_id)
            changed = change(_hook(row))
            until = to_us(changed.previous_until)
            transaction.run(_REKEY, key=hook_id, version=changed.version, previous_until=until)
            return changed

        return self._database.write(work)


def _hook(row: Row) -> Hook:
    fields = dict(zip(Hook.__dataclass_fields__, row, strict=True))
    fields["previous_until"] = from_us(fields["previous_until"])
    return Hook(**fields)
