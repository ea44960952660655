"""`make synth`, as users run it: the CDK command line that the project pins, in the Node that it brings."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def synth(folder: Path) -> tuple[dict[str, bytes], str]:
    """What a synthesis writes, without its own notes of how long it took, and what it prints."""
    command = [str(ROOT / "tools/cdk"), "synth", "--quiet", "--output", str(folder)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = {
        path.name: path.read_bytes() for path in folder.glob("*.json") if path.name != "performance-counters.json"
    }
    return written, done.stderr


def test_two_syntheses_of_one_tree_are_the_same_and_tell_nothing_of_who_made_them(tmp_path):
    first, said = synth(tmp_path / "first")
    second, _ = synth(tmp_path / "second")
    assert first == second
    assert json.loads(first["overnight.template.json"])["Resources"]
    assert "AWS::CDK::Metadata" not in first["overnight.template.json"].decode()
    for bundle in ("layer (arm64)", "runner (arm64)"):
        (line,) = [line for line in said.splitlines() if line.startswith(bundle)]
        assert "bytes; Lambda's limit of 262,144,000 leaves" in line


def test_a_switch_that_is_wrong_is_said_in_one_line(tmp_path):
    command = [str(ROOT / "tools/cdk"), "synth", "--quiet", "--output", str(tmp_path), "-c", "allarms=false"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "overnight: context allarms: there is no such switch; did you mean alarms?" in done.stderr
    assert "Traceback" not in done.stderr
