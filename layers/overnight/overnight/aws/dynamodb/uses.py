"""Who needs which blob: its name says which execution does, and an index which agents have a flow."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from overnight.agents import Agent, LangflowFlow
from overnight.aws.dynamodb import rows
from overnight.aws.dynamodb.schema import BY_DAY, TTL
from overnight.aws.dynamodb.table import Table
from overnight.aws.dynamodb.values import Item, epoch

__all__ = ["Uses", "of_flow"]

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
        return next(self._table.query(_flow(digest), index=BY_DAY, limit=1), None) is not None


def of_flow(agent: Agent) -> Item:
    """What makes an agent, or a former version of one, be found by its flow."""
    flow = agent.document.flow
    return {BY_DAY.pk: _flow(flow.langflow), BY_DAY.sk: agent.id} if isinstance(flow, LangflowFlow) else {}


def _flow(digest: str) -> str:
    return f"FLOW#{digest}"
