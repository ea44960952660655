"""Cursors: opaque to callers, and independent of what is inserted or removed between two pages."""

import base64
import binascii
import json

from overnight.errors import Invalid

__all__ = ["NONE", "decode", "encode"]

LARGEST = 2**63
"""What an integer of a database is less than."""

NONE = "is none that was given out by this listing"
"""What is wrong with a cursor."""


def encode(*place: int | str) -> str:
    """The cursor for the rows after this place in the listing's order."""
    return base64.urlsafe_b64encode(json.dumps(place, separators=(",", ":")).encode()).rstrip(b"=").decode()


def decode(cursor: str, *kinds: type) -> tuple[int | str, ...]:
    """The place a cursor was made of. Raises Invalid for anything else."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        place = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        place = None
    fits = isinstance(place, list) and [type(part) for part in place] == list(kinds)
    if not fits or any(isinstance(part, int) and abs(part) >= LARGEST for part in place):
        raise Invalid.field("cursor", NONE)
    return tuple(place)
