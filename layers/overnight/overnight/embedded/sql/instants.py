"""Instants in the database: whole microseconds since 1970 in UTC, so that they sort and compare as integers."""

from datetime import UTC, datetime, timedelta
from typing import overload

__all__ = ["from_us", "to_us"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@overload
def to_us(instant: datetime) -> int: ...
@overload
def to_us(instant: datetime | None) -> int | None: ...
def to_us(instant: datetime | None) -> int | None:
    """Microseconds since the epoch; exact, which `timestamp()` is not."""
    return None if instant is None else (instant - _EPOCH) // _MICROSECOND


@overload
def from_us(microseconds: int) -> datetime: ...
@overload
def from_us(microseconds: int | None) -> datetime | None: ...
def from_us(microseconds: int | None) -> datetime | None:
    """The instant in UTC."""
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)
