"""How a command ends when it does not succeed."""

from collections.abc import Iterable
from typing import ClassVar

from overnight.errors import OvernightError

__all__ = ["Failure", "Findings", "Misuse", "plural"]


class Failure(OvernightError):
    """A command can't do what was asked: one line for each thing that is wrong."""

    code = "failure"
    exit_code: ClassVar[int] = 1

    def __init__(self, lines: str | Iterable[str]) -> None:
        self.lines = (lines,) if isinstance(lines, str) else tuple(lines)
        super().__init__("; ".join(self.lines))


class Misuse(Failure):
    """The command line itself is wrong: exit 2, as for an unknown option."""

    code = "misuse"
    exit_code = 2


class Findings(Exception):
    """The command has done its work, and the answer is no: exit 1, quietly."""


def plural(count: int, noun: str) -> str:
    """`1 agent`, `2 agents`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
