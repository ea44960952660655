"""Overnight keeps AI agents working when nobody is watching.

from overnight import Agent, Overnight              declare agents, register them, start the engine
from overnight import Context, Permanent, Retry     inside a Python flow: what it is told, and what it may ask for
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from overnight.embedded.declare import Agent
    from overnight.embedded.overnight import Overnight
    from overnight.flows import Permanent, Retry
    from overnight.flows.python import Context

__all__ = ["Agent", "Context", "Overnight", "Permanent", "Retry"]

_HOME = {
    "Agent": "overnight.embedded.declare",
    "Context": "overnight.flows.python",
    "Overnight": "overnight.embedded.overnight",
    "Permanent": "overnight.flows",
    "Retry": "overnight.flows",
}


def __getattr__(name: str) -> Any:
    """What most of the library can do without is imported when it is asked for."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'overnight' has no attribute {name!r}")
