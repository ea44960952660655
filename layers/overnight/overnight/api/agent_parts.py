"""Listings of what belongs to agents, such as their schedules, in pages that are cut out of pages of agents."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from overnight import cursors
from overnight.agents import Agent, AgentState
from overnight.api.agent_views import living
from overnight.errors import Invalid
from overnight.ports import Having, Page, Ports

__all__ = ["page_of_parts"]

LONGEST = 200
"""The longest page that is asked for."""

V = TypeVar("V")
Views = Callable[[Agent, AgentState], Iterator[V]]


def page_of_parts(
    ports: Ports, agent: str | None, having: Having, views: Views[V], *, cursor: str | None, limit: int
) -> Page[V]:
    """A page of what `views` gives of each agent that has triggers of that kind, or of one agent (an id or a name).

    Raises AgentNotFound, Invalid.
    """
    if agent is not None:
        return _of_one(ports, agent, views, cursor, limit)
    return _of_all(ports, having, views, cursor, limit)


def _of_one(ports: Ports, ref: str, views: Views[V], cursor: str | None, limit: int) -> Page[V]:
    skip = _Place.of(cursor).skip
    found = list(views(*living(ports, ref)))
    more = _Place(skip=skip + limit).cursor if len(found) > skip + limit else None
    return Page(tuple(found[skip : skip + limit]), more)


def _of_all(ports: Ports, having: Having, views: Views[V], cursor: str | None, limit: int) -> Page[V]:
    place = _Place.of(cursor)
    size = place.size or limit  # Each of them has a part at least.
    agents = ports.store.agents(having=having, cursor=place.agents, limit=size)
    parts = [part for agent, state in agents.items for part in views(agent, state)][place.skip :]
    if len(parts) > limit:
        return Page(tuple(parts[:limit]), _Place(place.agents, size, place.skip + limit).cursor)
    return Page(tuple(parts), _Place(agents.cursor).cursor if agents.cursor is not None else None)


class _Place(NamedTuple):
    """Where a listing goes on: which page of agents, of what size (0: of any), and how many of its parts were given."""

    agents: str | None = None
    size: int = 0
    skip: int = 0

    @property
    def cursor(self) -> str:
        """The place as a cursor."""
        return cursors.encode(self.agents or "", self.size, self.skip)

    @classmethod
    def of(cls, cursor: str | None) -> "_Place":
        """The place of a cursor. Raises Invalid."""
        if cursor is None:
            return cls()
        agents, size, skip = cursors.decode(cursor, str, int, int)
        if not (0 <= int(size) <= LONGEST and int(skip) >= 0):
            raise Invalid.field("cursor", cursors.NONE)
        return cls(str(agents) or None, int(size), int(skip))
