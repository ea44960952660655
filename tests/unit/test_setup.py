"""`make` and tools/setup on machines that lack something: one line says what, and nothing is left behind."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ["cat", "cksum", "dirname", "mkdir", "rm", "sed", "sh"]


class Machine:
    """A fresh checkout in a folder with a space in its name, and a PATH that holds a shell and chosen Pythons only."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "my checkout"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        for name in ["tools", "requirements"]:
            shutil.copytree(ROOT / name, self.checkout / name)
        shutil.copy(ROOT / "pyproject.toml", self.checkout)

    def has(self, command: str, script: str) -> Path:
        path = self.bin / command
        path.write_text(f"#!{self.bin}/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def setup(self, profile: str = "demo", python: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.bin), "HOME": str(self.checkout)} | ({"PYTHON": python} if python else {})
        command = [str(self.checkout / "tools/setup"), profile]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def python(before: str = "", *, version: str | None = None) -> str:
    """A script that is this Python, changed a little; it makes no virtual environment."""
    if version:
        before += f"import platform, sys; platform.python_version = lambda: '{version}'; "
        before += f"sys.version_info = {tuple(map(int, version.split('.')))}; "
    before += "import os, sys; sys._base_executable = os.environ['SELF']; "
    return f"""case $1 in -m) exit 3 ;; esac
SELF=$0 exec "{sys.executable}" -c "{before}exec(sys.argv[1])" "$2" """


LACKS_ENSUREPIP = "import sys; sys.modules['ensurepip'] = None; "
BROKEN_SHIM = "echo 'pyenv: command not found' >&2; exit 127"


@pytest.mark.parametrize(
    ("present", "chosen", "says"),
    [
        ({}, None, "no Python 3.11, 3.12, 3.13 or 3.14 found"),
        ({"python3": python(version="3.10.13")}, None, "no Python 3.11, 3.12, 3.13 or 3.14 found"),
        ({"python3": python(version="3.15.0")}, None, "no Python 3.11, 3.12, 3.13 or 3.14 found"),
        ({"python3.13": BROKEN_SHIM}, None, "no Python 3.11, 3.12, 3.13 or 3.14 found"),
        ({"python3": python(LACKS_ENSUREPIP, version="3.11.2")}, None, "apt-get install python3.11-venv"),
        ({"python3.13": python()}, "python3.99", "PYTHON=python3.99 is not a working CPython"),
        ({"python3": python(version="3.10.13")}, "python3", "PYTHON=python3 is not a working CPython"),
    ],
)
def test_one_line_says_what_is_missing(machine, present, chosen, says):
    for command, script in present.items():
        machine.has(command, script)
    done = machine.setup(python=chosen)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert not (machine.checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("present", "version"),
    [
        ({"python3.12": "3.12.4", "python3.13": "3.13.2", "python3.14": "3.14.0"}, "3.13.2"),
        ({"python3.11": "3.11.9", "python3.12": "3.12.4", "python3.14": "3.14.0"}, "3.12.4"),
        ({"python3.11": "3.11.9", "python3.14": "3.14.0"}, "3.14.0"),
        ({"python3.13": None, "python3": "3.11.9"}, "3.11.9"),
    ],
)
def test_the_best_python_that_works_is_taken(machine, present, version):
    for command, its_version in present.items():
        machine.has(command, python(version=its_version) if its_version else BROKEN_SHIM)
    assert f"Making .venv with Python {version}" in machine.setup().stdout


def test_the_python_that_is_asked_for_is_taken(machine):
    machine.has("python3.13", python(version="3.13.2"))
    mine = machine.has("my python", python(version="3.11.9"))
    assert "Making .venv with Python 3.11.9" in machine.setup(python=str(mine)).stdout


def test_an_interrupted_installation_is_begun_anew(machine):
    """The fake Python fails while .venv is made; what it left is not taken for a virtual environment later."""
    machine.has("python3", python(version="3.13.2"))
    assert machine.setup().returncode == 3
    leftover = machine.checkout / ".venv/bin/python"
    leftover.parent.mkdir()
    leftover.symlink_to(sys.executable)
    assert "Making .venv" in machine.setup().stdout
    assert not leftover.exists()


def test_every_target_of_make_is_explained():
    make = shutil.which("make")
    done = subprocess.run(
        [make], cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True
    )
    explained = set(re.findall(r"^  ([a-z-]+) +\w.+$", done.stdout, re.MULTILINE))
    declared = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert explained == {target for target in declared[1].split() if not target.startswith("venv-")}
