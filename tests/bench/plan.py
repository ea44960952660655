"""What is measured, and by whom: cases, each of which a process of its own carries out, once or several times."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.bench.contenders import CONTENDERS
from tests.bench.sizes import Sizes

__all__ = ["TOPICS", "Case", "Samples", "Topic", "plan"]

Samples = dict[str, dict[str, dict[str, list[float]]]]
"""What was measured, by topic, by row of its table, by column: one value of each run."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A table of the page."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Case:
    """What one process measures at a time."""

    name: str
    topics: tuple[str, ...]
    database: str
    measure: Callable[[tuple[str, ...], Sizes, Path, str | None], Samples]
    row: str
    """That of the tables which it fills; a growth fills many, which begin so; "" fills a table by itself."""
    once: bool = False
    """It repeats by itself what is quick, so it is not run several times."""


DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}

TOPICS = {
    "throughput": Topic(
        "Throughput",
        "Tasks that do nothing, queued by 16 threads while they are run: how many a second, from the first that is "
        "queued to the last whose end is recorded. CPU is that of all processes but the database's server, which "
        "stands beside it. Cores that were not in use waited: for the disk, or for another process to wake up.",
    ),
    "pickup": Topic(
        "Pickup",
        "From the call that queues a task to the first line of the task, one at a time, with nothing else to do. The "
        "durable commit is in between.",
    ),
    "idle": Topic("Idle", "With nothing queued, without the database's server: CPU of all processes together."),
    "lateness": Topic(
        "Lateness of schedules",
        "From the instant of a tick to the first line of its task, 83 ticks a second one after the other: what 10,000 "
        "schedules make that tick every two minutes, or 100,000 every twenty. Memory is that of all processes, with "
        "the workers.",
    ),
    "armed": Topic(
        "Armed schedules",
        "How much memory more schedules take while none is due, and what the CPU does meanwhile. Schedules are rows; "
        "what a tick of one needs is read when it is due.",
    ),
    "agents": Topic(
        "Growth with the number of agents",
        "Through the HTTP API of `overnight serve`, by the number of agents, each with a schedule that is armed.",
    ),
    "history": Topic(
        "Growth with the history",
        "The same by the number of executions that are kept, of 100 agents that tick every 250 s.",
    ),
    "overhead": Topic(
        "Overhead over Langflow",
        "A small Langflow flow, called directly in a process that is warm, and through Overnight: from the trigger to "
        "the recorded end.",
    ),
    "webhooks": Topic(
        "Webhooks",
        "Signed deliveries over 50 connections, beside a bare uvicorn application that only verifies each and inserts "
        "it into SQLite.",
    ),
    "bundles": Topic(
        "Cold starts on Lambda",
        "What each packaged function pays before its first event, under Lambda's Python, beside what importing only "
        "the packages that it uses would cost; the least of several tries. A function looks for no garbage while it is "
        "imported, the packages alone do.",
    ),
    "bookkeeping": Topic(
        "Bookkeeping on AWS",
        "What a million scheduled executions cost beside their flows, in US dollars, worked out from the calls that "
        "the tests count; docs/costs.md has the assumptions.",
    ),
}


def plan(topics: tuple[str, ...], sizes: Sizes) -> Iterator[Case]:
    """The cases that have to do with any of these topics."""
    for case in _cases(sizes):
        if wanted := tuple(topic for topic in case.topics if topic in topics):
            yield replace(case, topics=wanted)


def _cases(sizes: Sizes) -> Iterator[Case]:
    for name, entry in CONTENDERS.items():
        contest = partial(_contest, name)
        yield Case(f"contest:{name}", ("throughput", "pickup", "idle"), entry.database, contest, entry.title)
    for schedules in sizes.schedules:
        for database, title in DATABASES.items():
            row = f"Overnight, {title}, {schedules:,} schedules"
            yield _single("lateness", row, database, "lateness", "measure", schedules)
    fewest = min(sizes.schedules)
    row = f"APScheduler, SQLite, {fewest:,} schedules"
    yield _single("lateness", row, "sqlite", "lateness", "measure_apscheduler", fewest)
    for database, title in DATABASES.items():
        yield _single("armed", f"Overnight, {title}, {sizes.armed:,} schedules", database, "armed", "measure")
    row = f"APScheduler, SQLite, {sizes.armed:,} schedules"
    yield _single("armed", row, "sqlite", "armed", "measure_apscheduler")
    for topic in ("agents", "history"):
        for database, title in DATABASES.items():
            yield Case(f"{topic}:{database}", (topic,), database, partial(_growth, topic, title), title, once=True)
    yield _single("overhead", "Overnight, SQLite", "sqlite", "overhead", "measure")
    yield _single("webhooks", "Overnight, SQLite", "sqlite", "webhooks", "measure")
    yield _single("webhooks", "uvicorn, SQLite", "sqlite", "webhooks_peer", "measure")
    for topic in ("bundles", "bookkeeping"):
        yield Case(topic, (topic,), "", partial(_table, topic), "", once=True)


def _module(name: str) -> Any:
    return import_module(f"tests.bench.measures.{name}")


def _contest(name: str, topics: tuple[str, ...], sizes: Sizes, folder: Path, url: str | None) -> Samples:
    measured = _module("contest").measure(name, topics, sizes, folder, url)
    return {topic: {CONTENDERS[name].title: _lists(figures)} for topic, figures in measured.items()}


def _single(topic: str, row: str, database: str, module: str, function: str, *first: int) -> Case:
    """One that fills one row."""

    def measure(_: tuple[str, ...], sizes: Sizes, folder: Path, url: str | None) -> Samples:
        return {topic: {row: _lists(getattr(_module(module), function)(*first, sizes, folder, url))}}

    return Case(f"{module}: {row}", (topic,), database, measure, row)


def _growth(topic: str, title: str, _: tuple[str, ...], sizes: Sizes, folder: Path, url: str | None) -> Samples:
    grown = getattr(_module("growth"), topic)(sizes, folder, url)
    return {topic: {f"{title}: {name}": values for name, values in grown.items()}}


def _table(topic: str, _: tuple[str, ...], sizes: Sizes, folder: Path, url: str | None) -> Samples:
    return {topic: {row: _lists(figures) for row, figures in _module(topic).measure().items()}}


def _lists(figures: Mapping[str, float]) -> dict[str, list[float]]:
    return {name: [value] for name, value in figures.items()}
