"""Measure Overnight beside its peers, print the tables, and write docs/benchmarks.md.

Every case is a process of its own, and they take turns: each run of all of them comes before the next one.
This module imports little, since worker processes import it too.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.bench.plan import Case, Samples
    from tests.bench.sizes import Sizes

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all, or what is named; 1 if something could not be measured."""
    from tests.bench.sizes import SIZES  # noqa: PLC0415

    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # as Ctrl-C does: with all that was started
    options = _options(arguments)
    if options.one:
        print(json.dumps(measure_one(options.one, tuple(options.only), options.size)))
        return 0
    return _run(tuple(options.only), options.size, options.runs or SIZES[options.size].runs, options.write)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    from tests.bench.plan import TOPICS  # noqa: PLC0415
    from tests.bench.sizes import SIZES  # noqa: PLC0415

    parser = argparse.ArgumentParser("make bench ARGS=…", description="Measure Overnight beside its peers.")
    parser.add_argument("--only", nargs="+", choices=TOPICS, metavar="TOPIC", help=", ".join(TOPICS))
    parser.add_argument(
        "--quick", action="store_const", dest="size", const="quick", default="full", help="small sizes, one run"
    )
    parser.add_argument("--size", choices=SIZES, default="full", help=argparse.SUPPRESS)
    parser.add_argument("--runs", type=int, metavar="N", help="run everything so often, not as often as its size says")
    parser.add_argument(
        "--write", metavar="FILE", type=Path, help="write the page there; docs/ gets it after a full run"
    )
    parser.add_argument("--one", metavar="CASE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.write is None and options.only is None and options.size == "full":
        options.write = PAGE
    options.only = options.only or list(TOPICS)
    return options


def _run(topics: tuple[str, ...], size: str, runs: int, write: Path | None) -> int:
    from tests.bench import machine, page, server  # noqa: PLC0415
    from tests.bench.plan import plan  # noqa: PLC0415
    from tests.bench.sizes import SIZES  # noqa: PLC0415

    began = time.monotonic()
    cases = list(plan(topics, SIZES[size]))
    with contextlib.ExitStack() as opened:
        if shared := any(case.database == "postgresql" for case in cases):
            opened.enter_context(server.server())
        facts = machine.describe(server.facts() if shared else None)
        for name, fact in facts.items():
            print(f"{name:<12} {fact}")
        samples, failed = _all_runs(cases, size, runs)
    for topic in topics:
        if topic in samples:
            print(f"\n{page.table(topic, samples[topic])}", end="")
    if write is not None and not failed:
        facts["runs"] = f"{runs}, {time.monotonic() - began:.0f} s altogether"
        write.write_text(page.page(facts, samples), encoding="utf-8")
    return 1 if failed else 0


def _all_runs(cases: "Sequence[Case]", size: str, runs: int) -> "tuple[Samples, set[str]]":
    """What was measured, and the names of the cases that failed."""
    samples: Samples = {}
    failed: set[str] = set()
    began = time.monotonic()
    for run in range(runs):
        for case in cases:
            if (run and case.once) or case.name in failed:
                continue
            print(f"{time.monotonic() - began:5.0f} s  run {run + 1} of {runs}  {case.name}", flush=True)
            if error := _carried_out(case, size, samples):
                failed.add(case.name)
                print(f"         failed: {error}", flush=True)
    return samples, failed


def _carried_out(case: "Case", size: str, samples: "Samples") -> str | None:
    """Run a case in a process of its own, and keep what it measures; what went wrong, if anything did."""
    command = [sys.executable, "-m", "tests.bench", "--one", case.name, "--size", size, "--only", *case.topics]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            measured, said = child.communicate()
        except SystemExit:
            child.terminate()
            raise
    if child.returncode:
        return (said.strip().splitlines() or ["it ended"])[-1]
    for topic, rows in json.loads(measured.splitlines()[-1]).items():
        for row, figures in rows.items():
            for column, values in figures.items():
                samples.setdefault(topic, {}).setdefault(row, {}).setdefault(column, []).extend(values)
    return None


def measure_one(name: str, topics: tuple[str, ...], size: str) -> "Samples":
    """What one case measures, with a folder and a database of its own."""
    from tests.bench import server  # noqa: PLC0415
    from tests.bench.plan import plan  # noqa: PLC0415
    from tests.bench.setting import KEY  # noqa: PLC0415
    from tests.bench.sizes import SIZES  # noqa: PLC0415

    os.environ["OVERNIGHT_MASTER_KEY"] = KEY
    sizes: Sizes = SIZES[size]
    [case] = [case for case in plan(topics, sizes) if case.name == name]
    with contextlib.ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        url = opened.enter_context(server.database()) if case.database == "postgresql" else None
        return case.measure(case.topics, sizes, folder, url)


if __name__ == "__main__":
    sys.exit(main())
