"""Cursors that say which listing they are of: one of another listing is refused."""

from overnight import cursors
from overnight.errors import Invalid

__all__ = ["decode", "encode"]


def encode(listing: str, *place: str) -> str:
    """The cursor for what comes after this place in a listing."""
    return cursors.encode(listing, *place)


def decode(cursor: str, listing: str, parts: int) -> tuple[str, ...]:
    """The place a cursor of that listing was made of. Raises Invalid for anything else."""
    of, *place = map(str, cursors.decode(cursor, *[str] * (parts + 1)))
    if of != listing:
        raise Invalid.field("cursor", cursors.NONE)
    return tuple(place)
