"""Cursors: opaque to callers, and independent of what is inserted or removed between two pages."""

import base64
import binascii
import json

from overnight.errors import Invalid

__all__ = ["decode", "encode"]


def encode(listing: str, *place: str) -> str:
    """The cursor for what comes after this place in a listing."""
    return base64.urlsafe_b64encode(json.dumps([listing, *place], separators=(",", ":")).encode()).rstrip(b"=").decode()


def decode(cursor: str, listing: str, parts: int) -> tuple[str, ...]:
    """The place a cursor of that listing was made of. Raises Invalid for anything else."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        place = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        place = None
    fits = isinstance(place, list) and len(place) == parts + 1 and all(isinstance(part, str) for part in place)
    if not fits or place[0] != listing:
        raise Invalid.field("cursor", "is none that was given out by this listing")
    return tuple(place[1:])
