"""docs/benchmarks.md is what `make bench` writes, and says nothing of whose machine it was."""

import platform
import re

from tests.bench.__main__ import PAGE
from tests.bench.page import page, read
from tests.bench.plan import TOPICS, plan
from tests.bench.sizes import SIZES

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_page_is_what_is_made_of_its_figures():
    assert page(*read(TEXT)) == TEXT


def test_the_page_has_every_figure_that_a_full_run_measures():
    _, samples = read(TEXT)
    assert list(samples) == list(TOPICS)
    for case in plan(tuple(TOPICS), SIZES["full"]):
        for topic in case.topics:
            rows = [row for row in samples[topic] if case.row in {"", row} or row.startswith(f"{case.row}: ")]
            assert rows, f"{case.name} is not in {TOPICS[topic].title}"
            assert all(any(values for values in samples[topic][row].values()) for row in rows)


def test_growth_is_told_of_every_size():
    _, samples = read(TEXT)
    for topic, stages in (("agents", SIZES["full"].agents), ("history", SIZES["full"].executions)):
        for figures in samples[topic].values():
            assert list(figures) == [f"{stage:,}" for stage in stages]


def test_the_page_names_no_host_and_no_path():
    assert not re.search(r"(?<![\w.])/(home|root|tmp|usr|var|opt|work|private|Users)\b", TEXT)
    assert len(platform.node()) < 4 or platform.node() not in TEXT
