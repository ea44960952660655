"""The folder of events of a real engine."""

import json
from pathlib import Path

from tests.support.engine_process import engine_process, eventually

UNFINISHED = ("pending", "running", "retrying")
AGENT = {
    "name": "importer", "flow": {"python": "night_inbox:take"}, "enabled": True, "retries": {"backoff_seconds": 0},
    "triggers": [{"name": "on", "event": {"name": "upload.*", "input": "{input_value: path}"}}],
}  # fmt: skip
FLOW = "def take(context):\n    return f'took {context.input_value}'\n"


def put(folder: Path, name: str, content: object) -> None:
    """As the page says: written under another name, and renamed."""
    written = folder / f"{name}.tmp"
    written.write_text(content if isinstance(content, str) else json.dumps(content))
    written.rename(folder / name)


def event(number: int) -> dict[str, object]:
    return {"name": "upload.finished", "id": f"e{number}", "data": {"path": f"{number}.csv"}}


def test_files_become_executions_also_those_that_came_while_nobody_was_there(tmp_path: Path):
    project, inbox = tmp_path / "project", tmp_path / "inbox"
    project.mkdir()
    (project / "night_inbox.py").write_text(FLOW)
    with engine_process(tmp_path / "data", project, "--inbox", str(inbox)) as engine:
        with engine.client() as client:
            client.create_agent(AGENT)
        put(inbox, "poison.json", {"nome": "upload.finished"})
        put(inbox, "one.json", event(1))
        eventually((inbox / "done" / "one.json").exists)
        engine.kill()
        put(inbox, "many.json", [event(1), event(2), event(3)])
        engine.start()
        eventually((inbox / "done" / "many.json").exists)
        with engine.client() as client:
            eventually(lambda: not any(client.executions(status=status)["items"] for status in UNFINISHED))
            texts = [execution["output"]["text"] for execution in client.executions()["items"]]
        assert sorted(texts) == ["took 1.csv", "took 2.csv", "took 3.csv"]
        assert "is no event" in (inbox / "failed" / "poison.json.reason.txt").read_text()
        assert engine.stop() == 0
