"""The base of what the API shows, and of what it is sent: no field but those that are named."""

from pydantic import ConfigDict

from overnight.words import Deferred

__all__ = ["View"]


class View(Deferred):
    """What a body of JSON says."""

    model_config = ConfigDict(extra="forbid")
