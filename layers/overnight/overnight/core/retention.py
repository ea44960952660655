"""Retention: what is removed once it was kept for as long as its agent says."""

from collections.abc import Callable
from datetime import timedelta

from overnight.agents import Agent
from overnight.ports import Ports

__all__ = ["AT_ONCE", "forget", "prune"]

AT_ONCE = 500
"""How much is removed in one go."""

KEPT_ON = timedelta(days=1)
"""How long it takes until a deleted agent that still has executions is looked at again."""


def prune(ports: Ports, go_on: Callable[[], bool] = lambda: True) -> None:
    """Remove executions, events and deliveries whose retention has passed, where the store doesn't by itself.

    In small steps: it ends between two of them when it shall not `go_on`.
    """
    while go_on() and ports.store.prune(ports.now(), AT_ONCE):
        pass


def forget(ports: Ports, agent: Agent) -> None:
    """Remove what is left of a deleted agent whose retention has passed, or put that off while it has executions.

    Raises Unavailable, when one of its schedules can't be disarmed.
    """
    for trigger in agent.document.schedules:  # where it could not be disarmed when it was deleted
        ports.clock.disarm(agent.id, trigger)
    if ports.store.forget_agent(agent.id):
        ports.observe("agent.forgotten", agent=agent.name, agent_id=agent.id)
    else:
        ports.store.put_off(agent.id, ports.now() + KEPT_ON)
