"""A deleted agent is kept for the sake of its history; whoever asks for anything else finds it no more."""

from overnight.agents import Agent
from overnight.errors import AgentNotFound

__all__ = ["living"]


def living(agent: Agent, ref: str | None = None) -> Agent:
    """The agent. Raises AgentNotFound when it is deleted; `ref` is how it was asked for, its name if not given."""
    if agent.deleted_at is not None:
        raise AgentNotFound(ref or agent.name)
    return agent
