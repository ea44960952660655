"""Every command of the pages is run against a real engine, and every sample is valid."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.conftest import Project, environment, free_port, wait_until_it_answers, write_files
from tests.docs.pages import WRITTEN_BY_HAND, Block, Page, pages

from overnight.cli import main, yaml_file
from overnight.cli.declarations import read
from overnight.client import Client

RUN = {"sh", "yaml", "python", "json"}
SHOWN = {"", "text", "ini"}
"""Languages of blocks that only show something."""

BY_HAND = pages(WRITTEN_BY_HAND)


def _id(value: object) -> str:
    return value.path if isinstance(value, Page) else f"line {value.line}" if isinstance(value, Block) else str(value)


def _blocks(*languages: str) -> list[tuple[Page, Block]]:
    return [(page, block) for page in BY_HAND for block in page.blocks if block.language in languages]


@pytest.mark.parametrize("page", pages(), ids=_id)
def test_every_block_says_what_it_is(page: Page) -> None:
    assert {block.language for block in page.blocks} <= RUN | SHOWN


@pytest.mark.parametrize("page", BY_HAND, ids=_id)
def test_commands_work_as_they_stand_in_the_page(page: Page, project: Project) -> None:
    blocks = page.blocks
    for number, block in enumerate(blocks):
        if block.language != "sh" or block.reason:
            continue
        code, output, errors = project.run(block.text)
        where = f"{page.path}:{block.line}\n{block.text}\n{output}\n{errors}"
        assert code == 0, where
        if blocks[number + 1 :] and blocks[number + 1].is_output:
            assert output.strip() == blocks[number + 1].text.strip(), where


@pytest.mark.parametrize(("page", "block"), _blocks("yaml"), ids=_id)
def test_agents_in_yaml_are_valid(page: Page, block: Block, tmp_path: Path) -> None:
    """A whole file, or some fields of an agent."""
    write_files(tmp_path, [page])
    path = tmp_path / "agents.yaml"
    if "agents:\n" in block.text:
        path.write_text(block.text)
    else:
        fields, _ = yaml_file.load(block.text)
        path.write_text(json.dumps({"agents": [{"name": "sample", "flow": {"python": "sample:run"}} | fields]}))
    assert read(path).agents


@pytest.mark.parametrize(("page", "block"), _blocks("json"), ids=_id)
def test_json_is_json(page: Page, block: Block) -> None:
    del page
    json.loads(block.text)


@pytest.mark.parametrize(("page", "block"), _blocks("python"), ids=_id)
def test_python_is_a_file_of_the_project(page: Page, block: Block) -> None:
    del page
    compile(block.text, block.file or "", "exec")
    assert block.file, "name the file, so that the engine, a command or a test runs it"


def test_the_project_that_the_readme_shows_is_what_init_writes(tmp_path: Path) -> None:
    (block,) = [block for block in BY_HAND[0].blocks if block.file == "nightly/agents.yaml"]
    subprocess.run(["overnight", "init", "nightly"], cwd=tmp_path, env=environment(), check=True, capture_output=True)
    assert yaml_file.load(block.text)[0] == yaml_file.load((tmp_path / "nightly" / "agents.yaml").read_text())[0]


def test_the_program_in_the_readme_serves_until_it_is_interrupted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    (block,) = [block for block in BY_HAND[0].blocks if block.file == "night.py"]
    (tmp_path / "night.py").write_text(re.sub(r"serve\(\)", f"serve(port={port})", block.text))
    program = subprocess.Popen([sys.executable, "night.py"], cwd=tmp_path, env=environment())
    try:
        wait_until_it_answers(program, port)
        assert main(["agents", "trigger", "report", "--wait", "--url", f"http://127.0.0.1:{port}"]) == 0
        assert capsys.readouterr().out == "Report on yesterday, attempt 1\n"
        program.send_signal(signal.SIGINT)
        assert program.wait(60) == 0
    finally:
        program.kill()
        program.wait()


@pytest.mark.slow
def test_the_backup_of_the_page_is_one_that_an_engine_takes_up(project: Project) -> None:
    (block,) = [block for _, block in _blocks("sh") if "VACUUM" in block.text]
    assert project.run('printf %s "$KEY" | overnight secrets set openai')[0] == 0
    assert project.run(block.text.replace("backup-", "another-backup-")) == (0, "", "")
    (backup,) = project.folder.glob("another-backup-*")
    port = free_port()
    command = ["overnight", "serve", "--data", str(backup), "--port", str(port)]
    engine = subprocess.Popen(command, cwd=project.folder, env=environment(), stderr=subprocess.DEVNULL)
    try:
        wait_until_it_answers(engine, port)
        with Client(f"http://127.0.0.1:{port}") as restored, Client(project.url) as original:
            assert {a["name"] for a in restored.every_agent()} == {a["name"] for a in original.every_agent()}
            assert restored.secrets() == original.secrets()
            assert restored.verify()["ok"]
        engine.terminate()
        assert engine.wait(90) == 0
    finally:
        engine.kill()
        engine.wait()


def test_what_the_engine_has_logged_stands_in_the_table_of_events(project: Project) -> None:
    """After all the samples."""
    (page,) = [page for page in BY_HAND if page.path == "docs/operate.md"]
    told = set(re.findall(r"`([a-z]+\.[a-z_]+)`", page.text))
    lines = [json.loads(line) for line in (project.folder / "engine.log").read_text(encoding="utf-8").splitlines()]
    logged = {line["event"] for line in lines if "logger" not in line}
    assert "execution.succeeded" in logged
    assert logged <= told
