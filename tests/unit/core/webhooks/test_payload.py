"""What of a delivery the flow gets."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.core.payloads import encoded
from overnight.core.webhooks.payload import DEPTH, payload
from overnight.core.webhooks.schemes import Delivery
from overnight.errors import Invalid
from overnight.executions import Held
from overnight.webhooks import Webhook

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def body_of(content: bytes, media_type: str | None = JSON, **fields: object) -> Any:
    headers = {"content-type": media_type} if media_type else {}
    return payload(Webhook.model_validate(fields), Delivery(headers, content))["body"]


def problems(content: bytes, media_type: str | None = JSON, **fields: object) -> list[str]:
    with pytest.raises(Invalid) as caught:
        body_of(content, media_type, **fields)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("content", "media_type", "expected"),
    [
        (b'{"order": 42}', JSON, {"order": 42}),
        (b'[1, "two"]', f"{JSON}; charset=utf-8", [1, "two"]),
        (b'{"order": 42}', "application/cloudevents+json", {"order": 42}),
        (b"42", JSON, 42),
        (b"null", JSON, None),
        (b'{"order": 42}', FORM, {"order": 42}),  # curl calls whatever it sends a form
        (b'{"order": 42}', None, {"order": 42}),
        (b"[]", "text/plain", []),
        (b"42", "text/plain", "42"),
        (b"Disk is full", "text/plain", "Disk is full"),
        ("Größe".encode(), None, "Größe"),
        (b"{not json", "text/plain", "{not json"),
        (b"command=%2Frun&text=a+b&empty=", FORM, {"command": "/run", "text": "a b", "empty": ""}),
        (b"tag=1&tag=2", FORM, {"tag": ["1", "2"]}),
        (b"no form at all", FORM, "no form at all"),
        (b"a=%ff", FORM, "a=%ff"),
        (b"", JSON, None),
        (b" \n", "text/plain", None),
    ],
)  # fmt: skip
def test_the_body_is_json_a_form_or_text(content, media_type, expected):
    assert body_of(content, media_type) == expected


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{not json", "body: is not JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
        (b"\xff\xfe", "body: must be UTF-8 text"),
        (b"[NaN]", "body: is not JSON that can be kept: NaN is not a number of JSON"),
        (b"[-Infinity]", "body: is not JSON that can be kept: -Infinity is not a number of JSON"),
        (b"[1e999]", "body: is not JSON that can be kept: 1e999 is too large a number"),
        (rb'["\ud800"]', "body: has half of a surrogate pair, which is no text"),
        (b"[" * 101 + b"]" * 101, "body: is nested more than 100 levels deep"),
        (b'{"a":' * 100_000, "body: is nested more than 100 levels deep"),
    ],
)
def test_json_that_can_not_be_kept_is_refused(content, problem):
    assert problems(content) == [problem]


def test_a_number_of_too_many_digits_is_refused():
    assert problems(b"[" + b"9" * 5_000 + b"]")[0].startswith("body: is not JSON that can be kept: Exceeds the limit")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(
    st.binary(max_size=100) | VALUES.map(lambda value: json.dumps(value).encode()),
    st.sampled_from([JSON, FORM, "text/plain"]),
)
def test_whatever_is_accepted_can_be_kept_and_read_back(content, media_type):
    try:
        value = body_of(content, media_type)
    except Invalid:
        return
    held = Held.model_validate_json(Held(value=value).model_dump_json())
    assert encoded(held.value) == encoded(value)


def test_what_is_nested_as_deeply_as_allowed_can_be_kept():
    value = body_of(b"[" * DEPTH + b"]" * DEPTH)
    assert Held.model_validate_json(Held(value={"body": value}).model_dump_json()).value == {"body": value}


# Headers and query


def test_the_flow_gets_headers_that_tell_what_came_and_none_that_let_it_in():
    headers = {
        "content-type": "text/plain",
        "user-agent": "GitHub-Hookshot/1",
        "x-github-event": "push",
        "x-github-delivery": "72d3162e",
        "x-hub-signature-256": "sha256=…",
        "authorization": "Bearer s3cret",
        "cookie": "s3cret",
        "x-tenant": "acme",
        "x-other": "1",
    }
    told = payload(
        Webhook.model_validate({"signature": "github", "headers": ["X-Tenant"]}), Delivery(headers, b"hello")
    )
    assert told == {
        "headers": {
            "content-type": "text/plain",
            "user-agent": "GitHub-Hookshot/1",
            "x-github-delivery": "72d3162e",
            "x-github-event": "push",
            "x-tenant": "acme",
        },
        "query": {},
        "body": "hello",
    }


def test_the_flow_gets_the_query_without_the_token():
    delivery = Delivery({}, b"", {"key": ["s3cret"], "tag": ["1", "2"], "page": [""], "\ud800": ["x"]})
    told = payload(Webhook.model_validate({"signature": "token", "query": "key"}), delivery)
    assert told["query"] == {"tag": ["1", "2"], "page": "", "?": "x"}


# The schema

ORDER = {
    "type": "object",
    "required": ["order"],
    "properties": {"order": {"type": "integer"}, "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}}},
    "$defs": {"line": {"type": "object", "properties": {"sku": {"type": "string"}}, "required": ["sku"]}},
}


def test_a_body_that_fits_the_schema_is_let_through():
    assert body_of(b'{"order": 1, "lines": [{"sku": "a"}]}', schema=ORDER)["order"] == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"{}", ["body: 'order' is a required property"]),
        (b'{"order": "x"}', ["body.order: 'x' is not of type 'integer'"]),
        (
            b'{"order": 1, "lines": [{"sku": "a"}, {"sku": 2}, {}]}',
            ["body.lines.1.sku: 2 is not of type 'string'", "body.lines.2: 'sku' is a required property"],
        ),
        (b"", ["body: None is not of type 'object'"]),
    ],
)
def test_a_body_that_does_not_is_refused_and_told_where(content, expected):
    assert problems(content, schema=ORDER) == expected


def test_of_many_problems_some_are_told_and_of_long_ones_the_beginning():
    lines = json.dumps({"order": "x" * 500, "lines": [{}] * 50}).encode()
    told = problems(lines, schema=ORDER)
    assert len(told) == 10
    assert max(map(len, told)) < 250


def test_a_schema_without_end_is_no_failure_of_the_server():
    endless = {"properties": {"a": {"allOf": [{"$ref": "#/properties/a"}]}}}
    assert body_of(b"{}", schema=endless) == {}
    assert problems(b'{"a": 1}', schema=endless) == [
        "body: can't be checked: the trigger's schema refers to itself without end"
    ]
