"""What a cold start pays before its first event: each packaged function is imported, beside only what is not ours.

CPU time and peak memory of a process that sees the bundle and nothing else, under Lambda's Python; the least of several
tries, the two taken in turn, because other programs only ever add to it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from infra.bundling import Bundle, CannotBundle, interpreter, layer, runner
from infra.settings import Settings

ROOT = Path(__file__).parents[3]
LIGHT = ("api", "webhook", "tick", "events", "watchdog", "declare")
TRIES = 7

IMPORT = """
import contextlib, importlib, json, os, resource, sys, time
before, began = set(sys.modules), time.process_time()
for name in json.loads(sys.argv[1]):
    with contextlib.suppress(ImportError, AttributeError):  # some only go in company
        importlib.import_module(name)
seconds, memory = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([seconds * 1_000, memory / 1_024, [name for name in sys.modules if name not in before]]))
"""
VARIABLES = ("STACK", "TABLE", "BUCKET", "RUN_QUEUE", "RETRY_QUEUE", "FIRE_QUEUE", "BUS", "SCHEDULE_GROUP")


def measure() -> dict[str, dict[str, float]]:
    """By function. Raises RuntimeError where there is no Python of Lambda's version."""
    if interpreter() is None or sys.platform != "linux":
        raise RuntimeError("the bundles run on Linux, with Lambda's Python; `make bench` found none")
    light, figures = _made(layer(Settings(architecture="x86_64"))), {}
    paths = {name: [ROOT / "functions" / name, light / "python"] for name in LIGHT}
    paths["runner"] = [_made(runner(Settings(architecture="x86_64")))]
    paths["runner without lfx"] = [_made(runner(Settings(architecture="x86_64", langflow=False)))]
    for name, path in paths.items():
        whole, bare = _least(path)
        figures[name] = {
            "CPU, ms": whole[0],
            "packages alone, ms": bare[0],
            "times": whole[0] / bare[0],
            "memory, MB": whole[1],
            "packages alone, MB": bare[1],
        }
    return figures


def _made(bundle: Bundle) -> Path:
    try:
        return bundle.made()
    except CannotBundle as error:
        raise RuntimeError(str(error)) from error


def _least(path: list[Path]) -> tuple[tuple[float, float], tuple[float, float]]:
    *_, modules = _imported(["handler"], path)
    theirs = [name for name in modules if name != "handler" and name.partition(".")[0] != "overnight"]
    wholes, bares = [], []
    for _ in range(TRIES):
        wholes.append(_imported(["handler"], path)[:2])
        bares.append(_imported(theirs, path)[:2])
    return min(wholes), min(bares)


def _imported(names: list[str], path: list[Path]) -> tuple[float, float, list[str]]:
    """Milliseconds, megabytes, and the modules that are there afterwards."""
    environment = dict.fromkeys((f"OVERNIGHT_{name}" for name in VARIABLES), "x") | {
        "PATH": os.defpath,
        "AWS_REGION": "eu-central-1",
        "AWS_LAMBDA_FUNCTION_NAME": "measured",
        "PYTHONDONTWRITEBYTECODE": "1",  # as on Lambda, where nothing can be written beside the sources
        "PYTHONPATH": os.pathsep.join(map(str, path)),
    }
    command = [str(interpreter()), "-S", "-c", IMPORT, json.dumps(names)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    milliseconds, megabytes, modules = json.loads(done.stdout.splitlines()[-1])
    return milliseconds, megabytes, modules
