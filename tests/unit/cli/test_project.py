"""`overnight init`: a project that works with the commands it prints."""

import re
from pathlib import Path

import pytest

from overnight.cli.declarations import read

ROOT = Path(__file__).parents[3]


def test_it_makes_a_project(overnight, tmp_path) -> None:
    ran = overnight("init", str(tmp_path / "nightly"))

    assert ran.code == 0
    made = {str(path.relative_to(tmp_path / "nightly")) for path in (tmp_path / "nightly").rglob("*") if path.is_file()}
    assert made == {".gitignore", "agents.yaml", "reports.py", "flows/hello.json"}
    assert f"cd {tmp_path / 'nightly'}" in ran.out


def test_its_agents_are_valid_and_its_commands_name_them(overnight, tmp_path) -> None:
    ran = overnight("init", str(tmp_path))

    names = {agent.name for agent in read(tmp_path / "agents.yaml").agents}
    assert names == {"hello", "report"}
    assert set(re.findall(r"agents trigger (\S+)", ran.out)) <= names


def test_its_python_agent_runs(overnight, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    overnight("init")

    assert overnight("run", "reports:daily", "--input", "Monday").out == "Report on Monday, attempt 1\n"


def test_its_flow_is_the_example(tmp_path, overnight) -> None:
    overnight("init", str(tmp_path))

    assert (tmp_path / "flows/hello.json").read_bytes() == (ROOT / "examples/flows/hello.json").read_bytes()
    assert overnight("flows", "inspect", str(tmp_path / "flows/hello.json"), "--json").json["name"] == "Hello"


@pytest.mark.parametrize("taken", ["agents.yaml", ".gitignore", "flows/hello.json"])
def test_what_exists_is_never_touched(taken, overnight, tmp_path) -> None:
    (tmp_path / taken).parent.mkdir(exist_ok=True)
    (tmp_path / taken).write_text("mine")

    ran = overnight("init", str(tmp_path))

    assert (ran.code, ran.error) == (1, f"{tmp_path} has {taken} already; nothing was written")
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["mine"]


def test_a_folder_that_can_t_be_made(overnight, tmp_path) -> None:
    (tmp_path / "file").write_text("")

    assert "not a directory" in overnight("init", str(tmp_path / "file" / "x")).error


def test_flows_that_are_none(overnight, tmp_path) -> None:
    path = tmp_path / "flow.json"
    for content, told in {"{": "not JSON", "[]": "JSON list", "{}": '"data"'}.items():
        path.write_text(content)
        ran = overnight("flows", "inspect", str(path))
        assert (ran.code, told in ran.error) == (1, True), ran.err


def test_the_schema_is_of_the_file(overnight) -> None:
    assert overnight("schema").json["title"] == "agents.yaml"
