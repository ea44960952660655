"""Listings of what belongs to agents, such as their schedules, in pages that are cut out of pages of agents."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from overnight import cursors
from overnight.agents import Agent, AgentState
from overnight.api.agent_views import living
from overnight.errors import Invalid
from overnight.ports import Having, Page, Ports

__all__ = ["page_of_parts"]

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
    _, skip = _place(cursor)
    found = list(views(*living(ports, ref)))
    more = _cursor(None, skip + limit) if len(found) > skip + limit else None
    return Page(tuple(found[skip : skip + limit]), more)


def _of_all(ports: Ports, having: Having, views: Views[V], cursor: str | None, limit: int) -> Page[V]:
    """Its cursor says which page of agents comes next, and how many parts were given of it."""
    agents_cursor, skip = _place(cursor)
    agents = ports.store.agents(having=having, cursor=agents_cursor, limit=limit)
    parts = [part for agent, state in agents.items for part in views(agent, state)][skip:]
    if len(parts) > limit:
        return Page(tuple(parts[:limit]), _cursor(agents_cursor, skip + limit))
    return Page(tuple(parts), agents.cursor and _cursor(agents.cursor, 0))


def _cursor(agents_cursor: str | None, skip: int) -> str:
    return cursors.encode(skip, agents_cursor or "")


def _place(cursor: str | None) -> tuple[str | None, int]:
    if cursor is None:
        return None, 0
    skip, agents_cursor = cursors.decode(cursor, int, str)
    if int(skip) < 0:
        raise Invalid.field("cursor", cursors.NONE)
    return str(agents_cursor) or None, int(skip)
