"""A function's module, imported in a process of its own, as Lambda does before the first event."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FUNCTIONS = Path(__file__).parents[3] / "functions"
VARIABLES = ("STACK", "TABLE", "BUCKET", "RUN_QUEUE", "RETRY_QUEUE", "FIRE_QUEUE", "BUS", "SCHEDULE_GROUP")
START = """
import gc
looks = []
gc.callbacks.append(lambda phase, info: looks.append(phase))
import handler
assert len(looks) < 20, "it was looked for garbage while all was imported"  # a hundred times, usually
assert gc.isenabled(), "no garbage would ever be collected"
assert gc.get_freeze_count(), "what was imported would be looked through again"
from overnight.agents import Agent
assert Agent.__pydantic_complete__ is {fires}, "a firing would have to wait for it; of all others, few need it"
"""
FIRE = frozenset({"events", "runner", "tick", "webhook"})


@pytest.mark.parametrize("name", sorted(path.parent.name for path in FUNCTIONS.glob("*/handler.py")))
def test_a_function_is_ready_for_its_first_event(name):
    environment = os.environ | dict.fromkeys((f"OVERNIGHT_{each}" for each in VARIABLES), "x")
    done = subprocess.run(
        [sys.executable, "-c", START.format(fires=name in FIRE)],
        cwd=FUNCTIONS / name,
        env=environment | {"AWS_REGION": "eu-central-1", "AWS_LAMBDA_FUNCTION_NAME": name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
