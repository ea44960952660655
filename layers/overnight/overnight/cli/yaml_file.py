"""YAML as a configuration file should be read: safe, no key twice, nothing but true and false is a boolean.

PyYAML follows YAML 1.1, in which `on` is true, `08:30` is a number of minutes and a day is a date. Here plain scalars
follow the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema), so a file says what its JSON says.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

__all__ = ["Lines", "YamlProblem", "load"]

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class YamlProblem(Exception):
    """What is wrong with the file, and in which line."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Lines:
    """In which line each value stands, counted from 1."""

    by_path: Mapping[Path, int]

    def of(self, path: Path) -> int:
        """The line of the value, or of the nearest one around it."""
        while path and path not in self.by_path:
            path = path[:-1]
        return self.by_path.get(path, 1)


def load(text: str) -> tuple[Any, Lines]:
    """The value of a file that has one document.

    Raises:
        ExceptionGroup: of YamlProblem, all that were found.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, Lines({})
        survey = _Survey()
        survey.visit(node, ())
        if survey.problems:
            raise ExceptionGroup("the file can't be read", survey.problems)
        return loader.construct_document(node), Lines(survey.lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join(filter(None, [error.context, error.problem])) or "not YAML"
        raise ExceptionGroup("not YAML", [YamlProblem(mark.line + 1 if mark else 1, message)]) from error
    except yaml.YAMLError as error:
        raise ExceptionGroup("not YAML", [YamlProblem(1, str(error).splitlines()[0])]) from error
    finally:
        loader.dispose()


class _Survey:
    """A walk over the nodes that notes lines, keys that come twice, keys that are no text, aliases to themselves."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.problems: list[YamlProblem] = []
        self._open: set[int] = set()

    def visit(self, node: yaml.Node, path: Path) -> None:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if id(node) in self._open:
            self._found(node, "an alias refers to what it stands in")
            return
        self._open.add(id(node))
        if isinstance(node, yaml.MappingNode):
            self._mapping(node, path)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.visit(item, (*path, index))
        self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: Path) -> None:
        first: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                self.visit(value, path)
                continue
            if key.tag != "tag:yaml.org,2002:str":
                self._found(key, f"a key must be text; put {_text(key)} in quotes")
                continue
            if key.value in first:
                self._found(key, f"{key.value!r} stands here twice; first in line {first[key.value]}")
                continue
            first[key.value] = key.start_mark.line + 1
            self.lines[(*path, key.value)] = key.start_mark.line + 1
            self.visit(value, (*path, key.value))

    def _found(self, node: yaml.Node, message: str) -> None:
        self.problems.append(YamlProblem(node.start_mark.line + 1, message))


def _text(node: yaml.Node) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else "it"


class _Loader(yaml.SafeLoader):
    """Plain scalars as YAML 1.2 has them."""

    yaml_implicit_resolvers: dict[str, Any] = {}


def _whole_number(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    return int(text, 0) if text[:2] in {"0x", "0o"} else int(text)


def _number(loader: _Loader, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node))


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)
