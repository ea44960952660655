"""The agents that a file declares, checked as a whole: all that is wrong with it is said at once."""

import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from overnight.agents import AgentDocument
from overnight.api.documents import accept
from overnight.cli import yaml_file
from overnight.cli.failure import Failure
from overnight.cli.flow import flow_document
from overnight.cli.values import text_of
from overnight.errors import Invalid, Problem

if TYPE_CHECKING:
    from overnight.ports import Ports

__all__ = ["Declaration", "Declarations", "read"]


@dataclass(frozen=True, slots=True)
class Declaration:
    """One agent of the file."""

    position: int
    name: str
    document: dict[str, Any]
    """As the API takes it: the flow's JSON in place of its path, `enabled` unless the file says otherwise."""
    checked: AgentDocument


@dataclass(frozen=True, slots=True)
class Declarations:
    """A file that is valid."""

    path: Path
    agents: tuple[Declaration, ...]
    lines: yaml_file.Lines

    def agent(self, name: str) -> Declaration:
        """The agent of that name. Raises Failure."""
        for declared in self.agents:
            if declared.name == name:
                return declared
        raise Failure(f"{self.path} declares no agent {name!r}")

    def told(self, declared: Declaration, problems: Iterable[Problem]) -> Iterator[str]:
        """What is wrong with one of its agents, a line for each problem."""
        return _told(self.path, self.lines, declared.position, declared.name, problems)


def read(path: Path) -> Declarations:
    """Read a file, or standard input (`-`); the paths in it are relative to its folder.

    Raises:
        Failure: with a line for each thing that is wrong, such as
            `agents.yaml:7: agents.0.retries.attempts (daily-report): must be at least 1`.
    """
    from_input = str(path) == "-"
    text = sys.stdin.read() if from_input else text_of(path)
    try:
        content, lines = yaml_file.load(text)
    except* yaml_file.YamlProblem as group:
        raise Failure(f"{path}:{problem.line}: {problem.message}" for problem in _flat(group)) from None
    found: list[str] = []
    agents: list[Declaration] = []
    for position, document in enumerate(_documents(path, content, lines)):
        declared = _declaration(document, position, Path() if from_input else path.parent)
        if isinstance(declared, Declaration):
            agents.append(declared)
        else:
            found += _told(path, lines, position, _name_of(document), declared)
    found += _doubles(path, lines, agents)
    if found:
        raise Failure(found)
    return Declarations(path, tuple(agents), lines)


def _documents(path: Path, content: Any, lines: yaml_file.Lines) -> list[Any]:
    if not isinstance(content, dict) or not isinstance(content.get("agents"), list):
        raise Failure(f"{path}:{lines.of(('agents',))}: a list called `agents` must stand here")
    if others := [key for key in content if key != "agents"]:
        raise Failure(f"{path}:{lines.of((key,))}: {key}: nothing but `agents` may stand here" for key in others)
    return list(content["agents"])


def _declaration(document: Any, position: int, folder: Path) -> Declaration | list[Problem]:
    if not isinstance(document, dict):
        return [Problem("", "must be an agent, with `name` and `flow`")]
    problems: list[Problem] = []
    sent: dict[str, Any] = {"enabled": True, **document}
    if isinstance(sent.get("flow"), str):
        try:
            sent["flow"] = flow_document(sent["flow"], folder)
        except Failure as failure:
            problems.append(Problem("flow", str(failure)))
            sent["flow"] = {"python": "unknown:unknown"}  # so that the rest can be checked
    try:
        checked = _check(sent)
    except Invalid as invalid:
        return [*problems, *invalid.problems]
    return problems or Declaration(position, checked.name, sent, checked)


def _name_of(document: Any) -> str | None:
    name = document.get("name") if isinstance(document, dict) else None
    return name if isinstance(name, str) else None


def _doubles(path: Path, lines: yaml_file.Lines, agents: list[Declaration]) -> Iterator[str]:
    first: dict[str, Declaration] = {}
    for declared in agents:
        other = first.setdefault(declared.name, declared)
        if other is not declared:
            problem = Problem("name", f"agents.{other.position} is called so, too")
            yield from _told(path, lines, declared.position, declared.name, [problem])


def _told(
    path: Path, lines: yaml_file.Lines, position: int, name: str | None, problems: Iterable[Problem]
) -> Iterator[str]:
    for problem in problems:
        where: tuple[str | int, ...] = ("agents", position)
        for part in filter(None, problem.field.split(".")):
            where = (*where, int(part) if part.isdigit() else part)
        called = f" ({name})" if name else ""
        yield f"{path}:{lines.of(where)}: {'.'.join(map(str, where))}{called}: {problem.message}"


def _check(document: dict[str, Any]) -> AgentDocument:
    """The check that the API makes, without an engine. Raises Invalid."""
    return accept(cast("Ports", _Alone()), document)


class _Alone:
    """All that the check needs of an engine: somewhere to leave the flow's JSON, and whoever can post anywhere."""

    def __init__(self) -> None:
        self.blobs = self
        self.courier = self

    def check(self, url: str) -> None:
        """Where the engine can post to is for the engine to say."""

    def put(self, content: bytes) -> str:
        return hashlib.sha256(content).hexdigest()

    def get(self, digest: str) -> bytes:
        """Whether a flow of that digest was sent before is for the engine to say."""
        return digest.encode()


def _flat(group: BaseExceptionGroup[yaml_file.YamlProblem]) -> Iterator[yaml_file.YamlProblem]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _flat(error)
        else:
            yield error
