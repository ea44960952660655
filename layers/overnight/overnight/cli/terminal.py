# ruff: noqa: PLC0415 - Rich takes a while to import, and `--help` needs none of it
"""What a command prints: JSON as the API answered it, tables that fit the terminal, sheets of named values."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

__all__ = [
    "console",
    "grid",
    "interactive",
    "may_ask",
    "now",
    "print_json",
    "print_json_line",
    "print_sheet",
    "print_table",
    "say",
    "status_text",
    "warn",
]

_PIPED_WIDTH = 10_000
"""Columns where there is no terminal: nothing is cut off."""

_NARROW = 100
"""A terminal with fewer columns shows less."""

_GAP = 2
_NARROWEST = 4

_COLOURS = {
    "ACTIVE": "green",
    "PAUSED": "yellow",
    "STOPPED": "dim",
    "ERROR": "bold red",
    "pending": "cyan",
    "running": "bold cyan",
    "retrying": "yellow",
    "succeeded": "green",
    "failed": "bold red",
    "cancelled": "dim",
    "skipped": "dim",
}


def now() -> datetime:
    """The time, UTC: the one place where the command line reads the clock."""
    return datetime.now(UTC)


def interactive() -> bool:
    """Whether a person sees the output."""
    return sys.stdout.isatty()


def may_ask() -> bool:
    """Whether a person is there to answer a question."""
    return interactive() and sys.stdin.isatty()


def console() -> "Console":
    """Standard output; without a terminal, or with NO_COLOR, it has no colours."""
    from rich.console import Console

    plain = not interactive() or bool(os.environ.get("NO_COLOR"))
    return Console(
        no_color=plain,
        color_system=None if plain else "auto",
        width=None if interactive() else _PIPED_WIDTH,
        highlight=False,
        emoji=False,
        markup=False,
        soft_wrap=False,
    )


def print_json(value: Any) -> None:
    """Indented, in the order of the answer."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_json_line(value: Any) -> None:
    """On one line, at once: for streams."""
    say(json.dumps(value, ensure_ascii=False), at_once=True)


def say(text: str, *, at_once: bool = False) -> None:
    """A line on standard output; `at_once` where the next one may take a while."""
    sys.stdout.write(text + "\n")
    if at_once:
        sys.stdout.flush()


def warn(text: str) -> None:
    """A line on standard error."""
    sys.stdout.flush()
    sys.stderr.write(text + "\n")


def status_text(status: str, reason: str | None = None) -> "Text":
    """A status in its colour, with the reason after it: `skipped (overlap)`."""
    from rich.text import Text

    text = Text(status, style=_COLOURS.get(status, ""))
    return text.append(f" ({reason})") if reason else text


def grid(headings: Sequence[str], rows: Sequence[Sequence[Any]], *, keep: Sequence[str] = ()) -> "Table":
    """A table that fits the terminal: what is too long for that is cut, but for the columns to keep."""
    from rich.table import Table
    from rich.text import Text

    cells = [[cell if isinstance(cell, Text) else Text(_one_line(cell)) for cell in row] for row in rows]
    wanted = [max(len(heading), *(row[n].cell_len for row in cells)) for n, heading in enumerate(headings)]
    flexible = [n for n, heading in enumerate(headings) if heading not in keep]
    available = console().width - _GAP * len(headings)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for heading, fitted in zip(headings, _fitted(wanted, flexible, available), strict=True):
        table.add_column(heading, no_wrap=True, overflow="ellipsis", width=fitted)
    for row in cells:
        table.add_row(*row)
    return table


def _fitted(widths: Sequence[int], flexible: Sequence[int], available: int) -> list[int]:
    """The widths of columns, the widest of the flexible ones narrowed until all fit."""
    fitted = list(widths)
    while flexible and sum(fitted) > available:
        widest = max(flexible, key=lambda n: fitted[n])
        if fitted[widest] <= _NARROWEST:
            break
        fitted[widest] -= 1
    return fitted


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    keep: Sequence[str] = (),
    spare: Sequence[str] = (),
    empty: str,
) -> None:
    """Print a table, or what to say where there is nothing to show.

    Args:
        headings: of the columns.
        rows: a cell for each column.
        keep: columns that are never cut.
        spare: columns that a narrow terminal does without.
        empty: what to say where there are no rows.
    """
    rows = list(rows)
    if not rows:
        say(empty)
        return
    width = console().width
    shown = [n for n, heading in enumerate(headings) if heading not in spare or width >= _NARROW]
    _print(grid([headings[n] for n in shown], [[row[n] for n in shown] for row in rows], keep=keep))


def print_sheet(rows: Iterable[tuple[str, Any]]) -> None:
    """Named values, one a line; what has no value is left out. Long values wrap."""
    from rich.table import Table
    from rich.text import Text

    sheet = Table.grid(padding=(0, 2, 0, 0))
    sheet.add_column(no_wrap=True, style="bold")
    sheet.add_column(overflow="fold")
    for name, value in rows:
        if value not in (None, "", [], {}):
            sheet.add_row(name, value if isinstance(value, Text) else Text(_plain(value)))
    _print(sheet)


def _print(table: "Table") -> None:
    target = console()
    with target.capture() as captured:
        target.print(table)
    # Rich fills each line up to the last column's width.
    sys.stdout.write("".join(line.rstrip() + "\n" for line in captured.get().splitlines()))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _one_line(value: Any) -> str:
    return "" if value is None else " ".join(_plain(value).split())
