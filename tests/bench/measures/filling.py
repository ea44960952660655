"""Databases that are filled by a process of their own, so that what it takes isn't measured."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

__all__ = ["ROOT", "fill", "run"]


def fill(data: Path, url: str | None, kind: str, *numbers: float) -> None:
    """Run `tests.bench.fill` on the database of an engine with that data folder."""
    data.mkdir(exist_ok=True)
    run("tests.bench.fill", str(data), url or "-", kind, *map(str, numbers))


def run(module: str, *arguments: str) -> None:
    """Run a module to its end. Raises RuntimeError with what it said last."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{module}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
