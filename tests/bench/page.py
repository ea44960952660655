"""docs/benchmarks.md, made of what was measured."""

import re
import statistics
import textwrap
from collections.abc import Mapping

from tests.bench.contenders import CONTENDERS
from tests.bench.plan import TOPICS, Samples

__all__ = ["page", "read", "table"]

NONE = "—"

HEAD = """\
# Benchmarks

Made by `make bench`, all in one run, on the machine that is described below. Each figure is the median of several runs,
with the least and the greatest in brackets; every run is a new process on an empty database. What is measured is in
`tests/bench/`.

Nobody acknowledges anything here before it is synchronised to the disk. Tasks do nothing, so the figures are what
running them costs. Polling is set as quick as suits each: Huey's workers look every 1 to 10 ms, DBOS's queue every
10 ms. Nothing else is tuned, on either side.

A task in a process of its own can be killed when its time is up, and takes nothing else with it when it crashes. One in
a thread can't be, and costs less.
"""


def page(facts: Mapping[str, str], samples: Samples) -> str:
    """The page."""
    parts = [HEAD, "## The machine\n", _facts(facts), "## Who is measured\n", _contenders()]
    for topic, rows in _in_order(samples):
        parts += [f"## {TOPICS[topic].title}\n", f"{textwrap.fill(TOPICS[topic].text, 120)}\n", _markdown(rows)]
    return "\n".join(parts).rstrip() + "\n"


def read(text: str) -> tuple[dict[str, str], Samples]:
    """The facts and the figures of a page, of each the median and the spread: enough to make the same page of."""
    sections = dict(_SECTION.findall(text))
    facts = {row[0]: row[1] for row in _rows(sections["The machine"])[2:]}
    samples: Samples = {}
    for name, topic in TOPICS.items():
        if topic.title in sections:
            header, _, *rows = _rows(sections[topic.title])
            samples[name] = {
                row[0]: {
                    column: [float(number.replace(",", "")) for number in _NUMBER.findall(cell)]
                    for column, cell in zip(header[1:], row[1:], strict=True)
                }
                for row in rows
            }
    return facts, samples


_SECTION = re.compile(r"^## (.+)\n\n((?:.|\n)*?)(?=^## |\Z)", re.MULTILINE)
_NUMBER = re.compile(r"-?\d[\d,.]*")


def _rows(section: str) -> list[list[str]]:
    lines = (line for line in section.splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def table(topic: str, rows: Mapping[str, Mapping[str, list[float]]]) -> str:
    """The same table for the terminal."""
    lines = [["", *_columns(rows)], *([row, *_cells(rows, row)] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    said = "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )
    return f"{TOPICS[topic].title}\n{said}\n"


def _in_order(samples: Samples) -> list[tuple[str, Mapping[str, Mapping[str, list[float]]]]]:
    return [(topic, samples[topic]) for topic in TOPICS if topic in samples]


def _facts(facts: Mapping[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {fact} |" for name, fact in facts.items()), ""])


def _contenders() -> str:
    rows = [f"| {entry.title} | {entry.runs_in} | {entry.keeps} |" for entry in CONTENDERS.values()]
    return "\n".join(["| | runs tasks in | keeps |", "|---|---|---|", *rows, ""])


def _columns(rows: Mapping[str, Mapping[str, list[float]]]) -> list[str]:
    return list(dict.fromkeys(column for figures in rows.values() for column in figures))


def _cells(rows: Mapping[str, Mapping[str, list[float]]], row: str) -> list[str]:
    return [_cell(rows[row].get(column, [])) for column in _columns(rows)]


def _markdown(rows: Mapping[str, Mapping[str, list[float]]]) -> str:
    columns = _columns(rows)
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    lines += [f"| {row} | {' | '.join(_cells(rows, row))} |" for row in rows]
    return "\n".join([*lines, ""])


def _cell(values: list[float]) -> str:
    """The median, and the spread where there is one."""
    if not values:
        return NONE
    middle = _number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({_number(min(values))} to {_number(max(values))})"


def _number(value: float) -> str:
    """Three digits that count; more before the point."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    rounded = float(f"{value:.3g}")
    places = 0 if abs(rounded) >= 100 else 1 if abs(rounded) >= 10 else 2
    return f"{rounded:,.{places}f}"
