"""What the command line prints to be typed works as it is typed."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from overnight.cli.program import program

SCRIPT = Path(sys.executable).with_name("overnight")


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "init"])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


def version(typed: str, folder: Path) -> str:
    """What it prints where it is typed."""
    return subprocess.run(
        f"{typed} --version", shell=True, cwd=folder, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("first", [str(SCRIPT), "/somewhere/overnight/cli/__main__.py"])
def test_where_path_does_not_lead_to_it_it_is_typed_by_its_path(first: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", [first])
    assert program(tmp_path) != "overnight"
    assert version(program(tmp_path), tmp_path).startswith("overnight ")


def test_where_path_leads_to_it_its_name_is_enough(monkeypatch) -> None:
    monkeypatch.setenv("PATH", f"{SCRIPT.parent}:/usr/bin")
    assert program() == "overnight"


def test_where_path_leads_to_another_one_it_is_not_meant(tmp_path: Path, monkeypatch) -> None:
    other = tmp_path / "overnight"
    other.write_text("#!/bin/sh\necho another\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin")
    assert version(program(tmp_path), tmp_path).startswith("overnight ")


def test_without_a_script_the_interpreter_starts_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["-c"])
    monkeypatch.setattr(sys, "executable", "/opt/my python/bin/python")
    assert program(tmp_path) == "'/opt/my python/bin/python' -m overnight.cli"


def test_a_new_project_is_told_so(overnight, tmp_path: Path) -> None:
    folder = tmp_path / "my agents"
    lines = [line.strip() for line in overnight("init", str(folder)).out.partition("Next:")[2].splitlines() if line]
    assert lines[0] == f"cd {shlex.quote(str(folder))}"
    assert {line.partition(" ")[0] for line in lines[1:]} == {program(folder)}
