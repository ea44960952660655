"""What a flow returns, as JSON, or refused."""

import dataclasses
import enum
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import PurePosixPath

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.flows.outputs import NotJsonError, as_json


class Colour(enum.StrEnum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    tags: set[str]


class Report(pydantic.BaseModel):
    at: datetime
    points: list[int]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, 2), [1, 2]),
        (Point(1, {"a"}), {"x": 1, "tags": ["a"]}),
        (Report(at=datetime(2026, 1, 1, tzinfo=UTC), points=[1]), {"at": "2026-01-01T00:00:00Z", "points": [1]}),
        (date(2026, 1, 1), "2026-01-01"),
        (Decimal("1.10"), "1.10"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (PurePosixPath("a/b"), "a/b"),
        (Colour.RED, "red"),
        ({"a": {"b": Colour.RED}}, {"a": {"b": "red"}}),
    ],
)
def test_what_has_a_form_in_json_is_converted(value, expected):
    assert as_json(value) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [object()]}, r"the result\['a'\]\[0\] is a builtins.object"),
        (float("nan"), "the result is nan"),
        ({1: 2}, "has the key 1; in JSON a key is text"),
        (b"bytes", "builtins.bytes"),
        (open, "builtin"),
        ((x for x in ()), "generator"),
        (Point, "builtins.type"),
    ],
)
def test_what_has_none_is_refused_with_its_place(value, message):
    with pytest.raises(NotJsonError, match=message):
        as_json(value)


def test_what_contains_itself_is_refused():
    knot = []
    knot.append(knot)
    with pytest.raises(NotJsonError, match="contains itself"):
        as_json(knot)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_json_stays_as_it_is(value):
    assert as_json(value) == value
