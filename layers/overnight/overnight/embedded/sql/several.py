"""What is read for many keys at once: in batches of one size, so that each statement is compiled once."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import BindParameter, Column, ColumnElement, CompoundSelect, Select, bindparam, union_all

from overnight.embedded.sql.instants import to_us
from overnight.executions import Stretch

__all__ = ["Asked", "among", "batches", "batches_of_stretches", "for_each_stretch"]

SIZE = 50
"""How many keys a statement has."""


def among(key: Column[str]) -> ColumnElement[bool]:
    """That a column is one of the keys of a batch."""
    return key.in_([bindparam(f"key_{n}") for n in range(SIZE)])


def batches(keys: Iterable[str]) -> Iterator[Mapping[str, str]]:
    """The keys as parameters for `among`, each once."""
    remaining = iter(dict.fromkeys(keys))
    while batch := list(islice(remaining, SIZE)):
        yield {f"key_{n}": batch[min(n, len(batch) - 1)] for n in range(SIZE)}


@dataclass(frozen=True, slots=True)
class Asked:
    """One stretch of a batch, by parameters."""

    number: int
    agent_id: BindParameter[str]
    trigger: BindParameter[str]
    first: BindParameter[int]
    last: BindParameter[int]


def for_each_stretch(query: Callable[[Asked], Select[Any]]) -> CompoundSelect[Any]:
    """What the query finds for each stretch of a batch, one after the other: so each of them goes by the index.

    Joined with a table of stretches, PostgreSQL would rather read a whole history where it expects much of each.
    """
    names = ("agent_id", "trigger", "first", "last")
    return union_all(*(query(Asked(n, *(bindparam(f"{name}_{n}") for name in names))) for n in range(SIZE)))


def batches_of_stretches(stretches: Iterable[Stretch]) -> Iterator[tuple[list[Stretch], Mapping[str, object]]]:
    """Stretches with the parameters of `for_each_stretch`, each once."""
    remaining = iter(dict.fromkeys(stretches))
    while batch := list(islice(remaining, SIZE)):
        parameters: dict[str, object] = {}
        for n in range(SIZE):
            agent_id, trigger, since, until = batch[n] if n < len(batch) else ("", "", batch[0].until, batch[0].until)
            parameters |= {f"agent_id_{n}": agent_id, f"trigger_{n}": trigger}
            parameters |= {f"first_{n}": to_us(since), f"last_{n}": to_us(until)}
        yield batch, parameters
