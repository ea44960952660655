"""A process that has got lfx ready can be forked, and its children run their first flow at once."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples/flows"

SCRIPT = """
import os, sys, threading, time
from pathlib import Path
from overnight.flows import Allowed, Call, CallInput, LangflowFlow, preload, run

preload()
from lfx.fork import fork_safety_report
print(threading.active_count(), fork_safety_report().ghost_connections)
flow = LangflowFlow(Path(sys.argv[1]).read_text())
for _ in range(2):
    if (child := os.fork()) == 0:
        begun = time.monotonic()
        texts = [run(Call("e1", "a1", "a", 1, flow, CallInput(name)), Allowed()).text for name in ("one", "two")]
        print(*texts, time.monotonic() - begun < 1, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.slow
def test_workers_are_forked_from_a_process_that_is_ready():
    command = [sys.executable, "-c", SCRIPT, str(EXAMPLES / "hello.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["1 []"] + ["Hello, one! Hello, two! True"] * 2
    assert done.stderr == ""
