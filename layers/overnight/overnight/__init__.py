"""Overnight keeps AI agents working when nobody is watching.

from overnight import Agent, Overnight
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from overnight.embedded.declare import Agent
    from overnight.embedded.overnight import Overnight

__all__ = ["Agent", "Overnight"]


def __getattr__(name: str) -> Any:
    """What most of the library can do without is imported when it is asked for."""
    if name == "Agent":
        from overnight.embedded.declare import Agent  # noqa: PLC0415

        return Agent
    if name == "Overnight":
        from overnight.embedded.overnight import Overnight  # noqa: PLC0415

        return Overnight
    raise AttributeError(f"module 'overnight' has no attribute {name!r}")
