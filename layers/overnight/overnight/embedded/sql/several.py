"""What is read for many keys at once: in batches of one size, so that each statement is compiled once."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from sqlalchemy import BigInteger, Column, ColumnElement, Text, bindparam, column, values
from sqlalchemy.sql.selectable import CTE

from overnight.embedded.sql.instants import to_us
from overnight.executions import Stretch

__all__ = ["among", "asked", "batches", "batches_of_stretches"]

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


_ASKED = {"agent_id": Text, "trigger": Text, "first": BigInteger, "last": BigInteger}


def asked() -> CTE:
    """A table of the stretches of a batch, with their number in it."""
    rows = [(n, *(bindparam(f"{name}_{n}", type_=kind) for name, kind in _ASKED.items())) for n in range(SIZE)]
    columns = (column("number", BigInteger), *(column(name, kind) for name, kind in _ASKED.items()))
    return values(*columns, name="asked").data(rows).cte("asked")


def batches_of_stretches(stretches: Iterable[Stretch]) -> Iterator[tuple[list[Stretch], Mapping[str, object]]]:
    """Stretches with the parameters for `asked`, each once."""
    remaining = iter(dict.fromkeys(stretches))
    while batch := list(islice(remaining, SIZE)):
        parameters: dict[str, object] = {}
        for n in range(SIZE):
            agent_id, trigger, since, until = batch[n] if n < len(batch) else ("", "", batch[0].until, batch[0].until)
            parameters |= {f"agent_id_{n}": agent_id, f"trigger_{n}": trigger}
            parameters |= {f"first_{n}": to_us(since), f"last_{n}": to_us(until)}
        yield batch, parameters
