"""The sweep: once a week, all blobs are looked at, and those removed that nobody needs any more."""

from collections.abc import Callable
from datetime import datetime, timedelta

from overnight.aws.dynamodb.table import Key, Table
from overnight.aws.dynamodb.values import instant, stamp
from overnight.aws.s3 import S3BlobStore, Used

__all__ = ["Sweep"]

EVERY = timedelta(days=7)
"""From the beginning of one round over all blobs to that of the next: each reads the row of every execution that has
any, and a blob is kept for little money."""

FRESH = timedelta(days=1)
"""What was put so short a time ago is left alone: whoever put it may not refer to it yet."""

PLACE: Key = ("STACK", "SWEEP")


class Sweep:
    """Goes over all blobs, in steps, over as many invocations as it takes.

    Args:
        blobs: the blobs.
        used: which of them anybody needs.
        table: where it is kept how far a round has come.
        now: the clock.
    """

    def __init__(self, blobs: S3BlobStore, used: Used, table: Table, now: Callable[[], datetime]) -> None:
        self._blobs = blobs
        self._used = used
        self._table = table
        self._now = now

    def __call__(self, go_on: Callable[[], bool]) -> int:
        """Go on with the round, or begin the next when it is time, as long as it shall `go_on`; how many went."""
        now = self._now()
        place = self._table.get(PLACE) or {}
        after, begun = str(place.get("after", "")), str(place.get("begun", ""))
        if not after:
            if begun and now < instant(begun) + EVERY:
                return 0
            begun = stamp(now)
        removed = 0
        while go_on():
            step = self._blobs.sweep(now - FRESH, self._used, after)
            removed += step.removed
            after = step.after or ""
            self._table.update(PLACE, put={"begun": begun, "after": after})
            if not after:
                break
        return removed
