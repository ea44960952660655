"""Retention: what is removed once it was kept for as long as its agent says."""

from collections.abc import Callable
from datetime import datetime, timedelta

from overnight.agents import Agent
from overnight.ports import Ports

__all__ = ["AT_ONCE", "prune"]

AT_ONCE = 500
"""How much is removed, or read, in one go."""


def prune(ports: Ports, go_on: Callable[[], bool] = lambda: True) -> None:
    """Remove executions and events whose retention has passed, and then what is left of agents deleted so long ago.

    In small steps: it ends between two of them when it shall not `go_on`.
    """
    while go_on() and ports.store.prune(ports.now(), AT_ONCE):
        pass
    cursor = None
    while go_on():
        page = ports.store.agents(deleted=True, cursor=cursor, limit=AT_ONCE)
        for agent, _ in page.items:
            if _is_over(agent, ports.now()):
                ports.store.forget_agent(agent.id)
        cursor = page.cursor
        if cursor is None:
            return


def _is_over(agent: Agent, now: datetime) -> bool:
    """Whether an agent's armed periods are of no use any more; its executions may be, and keep it."""
    return agent.deleted_at is not None and agent.deleted_at + timedelta(days=agent.document.retention_days) <= now
