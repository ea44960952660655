"""The locks in requirements/ are what `make lock` writes, and hold for everybody."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "requirements").glob("*.txt")}
del LOCKS["constraints"]

EXTRAS = PROJECT["project"]["optional-dependencies"]
PROMISED = {
    "langflow": [*PROJECT["project"]["dependencies"], *EXTRAS["langflow"]],
    "dev": [*PROJECT["project"]["dependencies"], *EXTRAS["langflow"], *EXTRAS["dev"], *EXTRAS["bench"]],
}


def locked(lock: str) -> list[Requirement]:
    lines = LOCKS[lock].replace("\\\n", "").splitlines()
    return [Requirement(line.split(" --hash")[0]) for line in lines if line and not line.lstrip().startswith("#")]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_package_index(lock):
    assert "://" not in LOCKS[lock]
    assert not re.search(r"^\s*-", LOCKS[lock].replace("    --hash=sha256:", ""), re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_everything_by_version_and_hash(lock):
    blocks = re.split(r"\n(?=[a-z0-9])", LOCKS[lock].strip())
    assert [
        block.splitlines()[0] for block in blocks if not re.search(r"==.*\\\n    --hash=sha256:[0-9a-f]{64}", block)
    ] == []


@pytest.mark.parametrize("lock", PROMISED)
def test_a_lock_keeps_what_pyproject_asks_for(lock):
    pins = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in locked(lock)}
    broken = []
    for requirement in map(Requirement, PROMISED[lock]):
        pin = pins.get(canonicalize_name(requirement.name))
        if pin is None or not requirement.specifier.contains(pin):
            broken.append(f"{requirement} is locked at {pin}: run `make lock`")
    assert broken == []


def test_dev_is_langflow_and_more():
    """So that `make demo` and `make test` never undo each other."""
    pins = {str(pin) for pin in locked("dev")}
    assert [pin for pin in map(str, locked("langflow")) if not {pin, pin.partition(";")[0].strip()} & pins] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_nothing_is_a_prerelease_or_carries_a_gpu(lock):
    pins = {pin.name: next(iter(pin.specifier)).version for pin in locked(lock)}
    assert [name for name, version in pins.items() if re.search(r"(a|b|rc|dev)\d", version)] == []
    assert [name for name in pins if re.match(r"nvidia|tensorflow|torch|triton", name)] == []
