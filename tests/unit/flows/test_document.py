"""Which JSON is a flow, and what is said of JSON that is not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.flow_documents import flow, node

from overnight.flows import FlowDocumentError, digest, validate
from overnight.flows.document import parse


@pytest.mark.parametrize(
    "document",
    [
        flow(node("A", "ChatInput"), node("B", "ChatOutput"), edges=(("A", "B"),)),
        flow(node("A", "ChatInput"))["data"],
        json.dumps(flow(node("A", "ChatInput"))),
        json.dumps(flow(node("A", "ChatInput"))).encode(),
        flow(),
        flow({"id": "note-1", "type": "noteNode", "data": {"type": "note", "node": {"description": "Read me"}}}),
    ],
    ids=["export", "bare", "text", "bytes", "empty", "note"],
)
def test_a_flow_is_accepted(document):
    validate(document)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "this is not JSON"),
        ("[]", "this is a JSON list"),
        (b"\xff\xfe{", "this is not JSON"),
        ({}, 'no "data" with "nodes"'),
        ({"data": None}, 'no "data" with "nodes"'),
        ({"flows": [{}]}, "several flows"),
        ({"data": {"nodes": {}}}, '"nodes" must be a list, not object'),
        ({"data": {"nodes": [], "edges": None}}, '"edges" must be a list, not null'),
        ({"data": {"nodes": ["A"]}}, 'an object with an "id"'),
        ({"data": {"nodes": [{"id": "A"}]}}, "Node 'A' lacks"),
        (flow(node("A", "ChatInput"), node("A", "ChatOutput")), "Two nodes have the id 'A'"),
        (flow(node("A", "ChatInput"), edges=(("A", "B"),)), "the flow has no node 'B'"),
        (
            flow(node("A", "X", display_name="Mine", code="def (")),
            r"The code of Mine \(A\) has a syntax error in line 1",
        ),
        ({"data": {"nodes": [], "edges": [{}]}}, 'a "source" and a "target"'),
    ],
)
def test_what_is_wrong_is_named(document, message):
    with pytest.raises(FlowDocumentError, match=message):
        validate(document)


def test_newer_exports_hold_code_as_lines():
    lines = node("A", "X", code="")
    lines["data"]["node"]["template"]["code"]["value"] = ["import os", "x = 1"]
    assert next(iter(parse(flow(lines)))).code == "import os\nx = 1"


def test_an_extensions_type_is_the_plain_one():
    (trigger,) = parse(flow(node("A", "ext:lfx:ScheduleTriggerComponent@official")))
    assert trigger.type == "ScheduleTrigger"


def test_nodes_of_a_group_are_found():
    group = node("G", "GroupNode")
    group["data"]["node"]["flow"] = flow(node("A", "ChatInput"))
    assert [(n.id, n.group) for n in parse(flow(group))] == [("G", None), ("A", "G")]


def test_the_digest_is_of_the_content():
    document = flow(node("A", "ChatInput", {"x": "ü"}))
    shuffled = json.dumps(dict(reversed(document.items())), indent=4)
    assert digest(document) == digest(shuffled) == digest(shuffled.encode())
    assert digest(document) != digest(flow(node("A", "ChatInput", {"x": "u"})))
    assert len(digest(document)) == 64


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "data", "type", "node"]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["data", "nodes", "edges", "name"]), json_values | st.just([]), max_size=4))
def test_no_json_object_breaks_the_reader(document):
    try:
        validate(document)
    except FlowDocumentError as error:
        assert str(error).endswith(".")  # noqa: PT017 - either is right
