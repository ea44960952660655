"""Listings of what belongs to agents, such as their schedules, in pages that are cut out of pages of agents."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from overnight import cursors
from overnight.agents import Agent, AgentState
from overnight.api.agent_views import living
from overnight.errors import Invalid
from overnight.ports import Page, Ports

__all__ = ["page_of_parts"]

AGENTS_AT_ONCE = 100
MOST_AGENTS = 1_000
"""How many agents are looked at for one page: whoever asks for what few of them have must not wait for all of them."""

V = TypeVar("V")
Views = Callable[[Agent, AgentState], Iterator[V]]


def page_of_parts(ports: Ports, agent: str | None, views: Views[V], *, cursor: str | None, limit: int) -> Page[V]:
    """A page of what `views` gives of each agent, or of one (an id or a name). Raises AgentNotFound, Invalid."""
    return _of_all(ports, views, cursor, limit) if agent is None else _of_one(ports, agent, views, cursor, limit)


def _of_one(ports: Ports, ref: str, views: Views[V], cursor: str | None, limit: int) -> Page[V]:
    _, skip = _place(cursor)
    found = list(views(*living(ports, ref)))
    more = _cursor(None, skip + limit) if len(found) > skip + limit else None
    return Page(tuple(found[skip : skip + limit]), more)


def _of_all(ports: Ports, views: Views[V], cursor: str | None, limit: int) -> Page[V]:
    """Its cursor says which page of agents comes next, and how many parts were given of it.

    A page may be short, and even empty, while its cursor goes on.
    """
    agents_cursor, skip = _place(cursor)
    found: list[V] = []
    for _ in range(MOST_AGENTS // AGENTS_AT_ONCE):
        agents = ports.store.agents(cursor=agents_cursor, limit=AGENTS_AT_ONCE)
        parts = [part for agent, state in agents.items for part in views(agent, state)]
        wanted = limit - len(found)
        found += parts[skip : skip + wanted]
        if len(parts) > skip + wanted:
            return Page(tuple(found), _cursor(agents_cursor, skip + wanted))
        if agents.cursor is None or len(found) == limit:
            return Page(tuple(found), agents.cursor and _cursor(agents.cursor, 0))
        agents_cursor, skip = agents.cursor, 0
    return Page(tuple(found), _cursor(agents_cursor, 0))


def _cursor(agents_cursor: str | None, skip: int) -> str:
    return cursors.encode(skip, agents_cursor or "")


def _place(cursor: str | None) -> tuple[str | None, int]:
    if cursor is None:
        return None, 0
    skip, agents_cursor = cursors.decode(cursor, int, str)
    if int(skip) < 0:
        raise Invalid.field("cursor", cursors.NONE)
    return str(agents_cursor) or None, int(skip)
