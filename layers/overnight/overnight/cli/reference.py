"""All commands as Markdown: `python -m overnight.cli.reference > docs/cli.md`."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any

import typer

from overnight.cli.main import app

__all__ = ["Described", "commands", "reference"]

_TYPE = re.compile(r" <\w+>$")
"""Typer's word for what an argument is, behind its name."""

_INTRODUCTION = """\
# The command line

This page is generated from the commands' own help: `python -m overnight.cli.reference`.

Every command that talks to an engine takes `--url`, or `OVERNIGHT_URL` from the environment (`http://127.0.0.1:8321` if
neither is given), and sends the token in `OVERNIGHT_API_TOKEN`. `overnight --stack NAME …` talks to the engine of that
stack in your AWS account instead ([On AWS](deploy.md)). Every request is signed then as the AWS command line would sign
it, by `AWS_PROFILE`, `AWS_REGION` and the like; it needs `pip install 'overnight[aws]'`.

With `--json` a command prints what the API answered. An execution's id may be cut short, as tables show it. Times are
RFC 3339, a local date, `now`, or how long ago: `90m`, `2h`, `7d`.

| exit code | means |
|---|---|
| 0 | done |
| 1 | refused, failed, or found wanting (`verify`, `--wait`, `watch`); one line `error: …` on standard error says why |
| 2 | the command line itself is wrong |
| 130 | interrupted by Ctrl-C |
"""


@dataclass(frozen=True, slots=True)
class Described:
    """A command, or a group of commands."""

    path: str
    is_group: bool
    text: str
    arguments: tuple[tuple[str, str], ...]
    options: tuple[tuple[str, str], ...]
    examples: tuple[str, ...]
    usage: str


def commands() -> Iterator[Described]:
    """Every command of the tree, groups before what is in them."""
    root = typer.main.get_command(app)
    for name, command in _children(root):
        yield from _walk(command, f"overnight {name}")


def reference() -> str:
    """The page."""
    return "\n".join([_INTRODUCTION, *map(_section, commands())])


def _walk(command: Any, path: str) -> Iterator[Described]:
    context = command.make_context(path, [], resilient_parsing=True)
    records = [(param.param_type_name, param.get_help_record(context)) for param in command.get_params(context)]
    shown = [(kind, _TYPE.sub("", record[0]), record[1]) for kind, record in records if record]
    yield Described(
        path=path,
        is_group=bool(_children(command)),
        text=cleandoc(command.help or ""),
        arguments=tuple((name, help_) for kind, name, help_ in shown if kind == "argument"),
        options=tuple((name, help_) for kind, name, help_ in shown if kind == "option" and "--help" not in name),
        examples=_examples(command.epilog),
        usage=" ".join([path, *command.collect_usage_pieces(context)]),
    )
    for name, child in _children(command):
        yield from _walk(child, f"{path} {name}")


def _children(command: Any) -> list[tuple[str, Any]]:
    return list(getattr(command, "commands", {}).items())


def _examples(epilog: str | None) -> tuple[str, ...]:
    lines = (epilog or "").splitlines()
    return tuple(line.strip() for line in lines if line.startswith("  "))


def _section(command: Described) -> str:
    parts = [f"{'##' if command.is_group or command.path.count(' ') == 1 else '###'} {command.path}", "", command.text]
    if not command.is_group:
        parts += ["", "```", command.usage, "```"]
        rows = [*command.arguments, *command.options]
        if rows:
            parts += ["", "| | |", "|---|---|", *(f"| `{_cell(name)}` | {_cell(help_)} |" for name, help_ in rows)]
        if command.examples:
            parts += ["", "```sh", *command.examples, "```"]
    return "\n".join([*parts, ""])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())
