"""Who needs which blob: its name says which execution does; each agent notes its flow, in the same transaction."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from overnight.agents import Agent, LangflowFlow
from overnight.aws.dynamodb import rows
from overnight.aws.dynamodb.schema import BY_OWNER, PK, SK, TTL
from overnight.aws.dynamodb.table import Put, Table
from overnight.aws.dynamodb.values import Item, epoch

__all__ = ["Uses", "noted"]

SLACK = timedelta(days=1)
"""How much longer than its execution a blob is kept, whatever clocks say."""


class Uses:
    """Which blobs anybody needs."""

    def __init__(self, table: Table, now: Callable[[], datetime]) -> None:
        self._table = table
        self._now = now

    def used(self, names: Sequence[str]) -> set[str]:
        """Those of these blobs that an execution refers to, or an agent in any of its versions."""
        owners = {name: name.partition("/")[0] for name in names if "/" in name}
        items = self._table.get_each(rows.key_of(owner) for owner in owners.values())
        kept = {rows.execution_id_of(item) for item in items.values() if not self._long_gone(item)}
        flows = {name for name in names if name not in owners and self._is_of_an_agent(name)}
        return flows | {name for name, owner in owners.items() if owner in kept}

    def _long_gone(self, item: Item) -> bool:
        return TTL in item and int(item[TTL]) <= epoch(self._now() - SLACK)

    def _is_of_an_agent(self, digest: str) -> bool:
        return next(self._table.query(f"FLOW#{digest}", limit=1), None) is not None


def noted(before: Agent | None, after: Agent) -> Iterator[Put]:
    """That an agent needs its flow, from now on until it is forgotten: its former versions stay, too."""
    flow = after.document.flow
    if isinstance(flow, LangflowFlow) and (before is None or before.document.flow != flow):
        owned = {BY_OWNER.pk: f"FLOWS#{after.id}", BY_OWNER.sk: flow.langflow}
        yield Put({PK: f"FLOW#{flow.langflow}", SK: after.id, **owned})
