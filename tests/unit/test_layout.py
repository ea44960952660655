"""The shape of the package that design.md and style.md promise, read from its sources."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import pytest

import overnight

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "layers/overnight"
PACKAGE = LIBRARY / "overnight"

# part → the parts it may import beside itself; `words` are the modules at the top of the package
MAY_IMPORT = {
    "calendar": set(),
    "words": {"calendar"},
    "core": {"calendar", "words"},
    "flows": {"calendar", "words"},
    "api": {"calendar", "words", "core"},
    "embedded": {"calendar", "words", "core", "flows", "api"},
    "aws": {"calendar", "words", "core", "flows", "api"},
    "cli": {"calendar", "words", "core", "flows", "api", "embedded", "aws"},
}
MAY_ALSO_IMPORT = {"api": "overnight.flows.inspect"}  # it reads a flow's JSON and runs nothing

IMPURE = re.compile(
    r"(boto3|botocore|httpx|http|os|requests|secrets|socket|sqlalchemy|subprocess|urllib\.request|uvicorn)\b"
    r"|time\.\w+"
    r"|datetime\.(datetime\.(now|utcnow|today)|date\.today)"
    r"|uuid\.uuid[14]"
    r"|random\.(?!Random\b)\w+"
)


class Module:
    def __init__(self, path: Path) -> None:
        self.path = path
        parts = path.relative_to(LIBRARY).with_suffix("").parts
        self.package = ".".join(parts[:-1])
        self.name = self.package if path.name == "__init__.py" else ".".join(parts)
        self.part = part_of(self.name)
        self.text = path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.text)

    def imports(self) -> Iterator[tuple[str, str]]:
        """(local name, full dotted name) of every import, those within functions and TYPE_CHECKING too."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.asname or alias.name, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = self.package.split(".")[: 1 - node.level or None] if node.level else []
                source = ".".join([*above, *filter(None, [node.module])])
                yield from ((alias.asname or alias.name, f"{source}.{alias.name}") for alias in node.names)

    @cached_property
    def known(self) -> dict[str, str]:
        return dict(self.imports())

    def meaning(self, node: ast.expr) -> str | None:
        """What a name stands for: after `from datetime import datetime as d`, `d.now` is `datetime.datetime.now`."""
        written = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""
        for name in sorted(self.known, key=len, reverse=True):
            if written == name or written.startswith(name + "."):
                return self.known[name] + written.removeprefix(name)
        return None

    def uses(self) -> Iterator[str]:
        """Every imported thing that is imported or named, by its full dotted name."""
        yield from self.known.values()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name | ast.Attribute):
                yield self.meaning(node) or ""

    def calls(self) -> Iterator[tuple[str, ast.Call]]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield self.meaning(node.func) or "", node


def part_of(name: str) -> str:
    """`overnight.core.decide` is of `core`; a module at the top is of the words, the package itself of no part."""
    _, *below = name.split(".")
    if not below:
        return "overnight"
    return below[0] if (PACKAGE / below[0]).is_dir() else "words"


MODULES = [Module(path) for path in sorted(PACKAGE.rglob("*.py"))]


def test_dependencies_point_one_way():
    wrong = [
        f"{module.name} imports {target}"
        for module in MODULES
        if module.part != "overnight"
        for _, target in module.imports()
        if target.split(".")[0] == "overnight"
        and part_of(target) not in MAY_IMPORT[module.part] | {module.part}
        and not target.startswith(MAY_ALSO_IMPORT.get(module.part, "-"))
    ]
    assert wrong == []


@pytest.mark.parametrize("part", ["core", "calendar"])
def test_time_randomness_and_the_outside_world_are_arguments(part):
    """Neither core nor calendar reads clock, environment or network."""
    modules = [module for module in MODULES if module.part == part]
    impure = {f"{module.name} uses {use}" for module in modules for use in module.uses() if IMPURE.match(use)}
    unseeded = {
        f"{module.name} calls {called}() without a seed"
        for module in modules
        for called, call in module.calls()
        if called == "random.Random" and not call.args
    }
    assert impure | unseeded == set()


def test_only_wiring_builds_adapters():
    """An adapter is a class that is named for a port of ports.py, such as SqlStore for Store."""
    ports = tuple(
        node.name
        for module in MODULES
        if module.name == "overnight.ports"
        for node in module.tree.body
        if isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in node.bases)
    )
    wrong = [
        f"{module.name} builds {called}"
        for module in MODULES
        if module.path.name != "wiring.py"
        for called, _ in module.calls()
        if re.match(r"overnight\.(aws|embedded|flows)\b", called) and called.endswith(ports)
    ]
    assert wrong == []


def test_a_module_says_one_noun_and_stays_small():
    vague = {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}
    assert [m.name for m in MODULES if vague & set(m.name.split("."))] == []
    assert {m.name: lines for m in MODULES if (lines := len(m.text.splitlines())) > 500} == {}


def test_every_module_says_what_it_is():
    assert [m.name for m in MODULES if m.tree.body and not ast.get_docstring(m.tree)] == []


def test_what_the_package_exports_is_there():
    exported = getattr(overnight, "__all__", [])
    assert [name for name in exported if not hasattr(overnight, name)] == []
    assert len(set(exported)) == len(exported)


@pytest.mark.parametrize("command", ["import overnight", "from overnight.cli import main; main()"])
def test_starting_up_loads_nothing_heavy(command):
    """`import overnight` and `overnight --help` answer at once: what is heavy is loaded where it is used."""
    if "main" in command and not hasattr(pytest.importorskip("overnight.cli"), "main"):
        pytest.skip("there is no command line yet")
    heavy = {"boto3", "langchain_core", "lfx", "pandas", "sqlalchemy"}
    script = f"""
import sys
sys.argv = ["overnight", "--help"]
try:
    {command}
except SystemExit:
    pass
print("loaded:", *{heavy} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["loaded:"]


def test_no_file_knows_a_machine_or_a_package_index():
    """Where packages come from, and where a folder lies, is the affair of whoever installs."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    hosts = ["pypi." + "org", "pythonhosted." + "org", "registry.npmjs." + "org", "registry.yarnpkg." + "com"]
    homes = ["home", "root", "Users"]
    forbidden = re.compile("|".join([*map(re.escape, hosts), rf"(?<![\w.:~#$}}])/({'|'.join(homes)})/"]))
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        content = path.read_bytes() if path.is_file() else b""
        if b"\0" not in content and (match := forbidden.search(content.decode("utf-8", "replace"))):
            found.append(f"{name}: {match[0]}")
    assert found == []
