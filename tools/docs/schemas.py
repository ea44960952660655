"""A JSON Schema as Markdown: what a field may be, what it is when left out, and what it means."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

__all__ = ["Schemas", "cell", "table"]

Schema: TypeAlias = Mapping[str, Any]

_BOUNDS = (
    (("minimum", "maximum"), "{} to {}"),
    (("exclusiveMinimum", "maximum"), "more than {}, at most {}"),
    (("minimum",), "at least {}"),
    (("maximum",), "at most {}"),
    (("minItems",), "at least {} of them"),
    (("maxItems",), "at most {} of them"),
    (("maxLength",), "at most {} characters"),
)
"""Bounds, the first that fits of each pair of lines that speak of the same."""
_FORMATS = {"date-time": "RFC 3339 instant", "date": "date"}
_PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$": "1 to 64 letters, digits, `_`, `-`",
    r"^(secret|env|ssm|secretsmanager):[^\s]+$": "a reference: `secret:name`, `env:NAME`",
    r"^[0-9a-f]{64}$": "64 hexadecimal digits",
}
_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "boolean", "object": "object"}
_LONG = 40
"""Characters; a longer default is not printed."""


class Schemas:
    """The schemas of one document, by name; `links` says which of them have a heading to link to."""

    def __init__(self, named: Mapping[str, Schema], links: Mapping[str, str]) -> None:
        self.named = named
        self._links = links

    def rows(self, schema: Schema) -> Iterator[tuple[str, str, str, str]]:
        """Field, type, default, meaning of each property."""
        required = schema.get("required", ())
        for name, field in schema.get("properties", {}).items():
            default = "**required**" if name in required else self._default(field)
            yield f"`{name}`", self.kind(field), default, self.meaning(field)

    def kind(self, schema: Schema) -> str:
        """What a value may be."""
        if "$ref" in schema:
            return self._reference(schema["$ref"].rpartition("/")[2])
        if choices := schema.get("anyOf") or schema.get("oneOf"):
            return " or ".join(dict.fromkeys(self.kind(choice) for choice in choices if choice != {"type": "null"}))
        if words := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
            return ", ".join(f"`{word}`" for word in words)
        if schema.get("type") == "array":
            return f"list of {self.kind(schema.get('items', {}))}"
        if values := list(schema.get("patternProperties", {}).values()):
            return f"object of {self.kind(values[0])}"
        special = _FORMATS.get(schema.get("format", "")) or _PATTERNS.get(schema.get("pattern", ""))
        return special or _TYPES.get(schema.get("type", ""), "any JSON")

    def _reference(self, name: str) -> str:
        if name in self._links:
            return f"[{name}]({self._links[name]})"
        return self.kind(self.named[name]) if name in self.named else name

    def _default(self, field: Schema) -> str:
        if "default" not in field or field["default"] in (None, "", [], {}):
            return ""
        said = json.dumps(_plain(field["default"])).replace('"', "")
        return f"`{said}`" if len(said) <= _LONG else ""

    def meaning(self, field: Schema) -> str:
        """What it is for, and its bounds."""
        targets = [part["$ref"].rpartition("/")[2] for part in (field, *field.get("anyOf", ())) if "$ref" in part]
        target = self.named.get(targets[0], {}) if len(targets) == 1 else {}
        said = field.get("description") or target.get("description") or ""
        return " ".join([*filter(None, [said]), *(f"{text[:1].upper()}{text[1:]}." for text in _bounds(field))])


def table(headings: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> list[str]:
    """A Markdown table; no lines where there are no rows."""
    lines = [f"| {' | '.join(map(cell, row))} |" for row in rows]
    return ["", f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}", *lines] if lines else []


def cell(text: str) -> str:
    """Text in one line, with nothing that ends a cell."""
    return " ".join(text.split()).replace("|", "\\|")


def _bounds(field: Schema) -> Iterator[str]:
    for part in (field, *field.get("anyOf", ())):
        told: set[str] = set()
        for keys, text in _BOUNDS:
            if told.isdisjoint(keys) and all(key in part for key in keys):
                told.update(keys)
                yield text.format(*(f"{_plain(part[key]):,}" for key in keys))


def _plain(value: Any) -> Any:
    """`3600` for `3600.0`."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
