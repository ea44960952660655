"""Bodies are JSON objects that any store can give back as they were."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.api.bodies import parse
from overnight.api.problems import Malformed
from overnight.errors import Invalid

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


@given(st.dictionaries(TEXT, VALUES), st.booleans())
def test_every_json_object_is_read(value: dict[str, Any], ascii_: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=ascii_).encode()) == value


@given(st.binary())
def test_anything_else_is_refused_and_never_an_error(body: bytes) -> None:
    with contextlib.suppress(Malformed, Invalid):
        assert isinstance(parse(body), dict)


@pytest.mark.parametrize("body", [b"[]", b"1", b'"a"', b"null", b"true"])
def test_json_that_is_no_object_is_invalid(body: bytes) -> None:
    with pytest.raises(Invalid, match="must be a JSON object"):
        parse(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "is not JSON: .* at line 1, column 2"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        (b"\xff", "is not UTF-8"),
        (b'{"a": "\\udc00"}', "is not UTF-8"),
        (b'{"a": Infinity}', "Infinity is not a number of JSON"),
        (b'{"a": ' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_the_refusal_says_why(body: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        parse(body)


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert parse(b'{"owl": "\\ud83e\\udd89"}') == {"owl": "\U0001f989"}
