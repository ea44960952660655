"""An export with trigger nodes on a real engine: applied, fired by its own nodes, changed, and applied again."""

import json
import sqlite3
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.support import canvas, postgresql
from tests.support.engine_process import EngineProcess, engine_process, eventually

from overnight.cli import main
from overnight.client import Client, View

pytestmark = [
    pytest.mark.skipif(find_spec("lfx") is None, reason="the component templates are those of lfx"),
    pytest.mark.slow,
    pytest.mark.timeout(300),
]

MINUTELY, DAILY, LATER = (f"ScheduleTrigger-{name}" for name in ("minutely", "daily", "later"))
INBOUND, CLASSIC = "InboundWebhookTrigger-i1", "Webhook-w1"
POSTED = ({"order": 42, "note": "two\nlines"}, ["a", {"b": 1}], "plain text\nof two lines")
PERIODS = "SELECT trigger, since, until FROM periods ORDER BY trigger, since"


def export(path: Path, **schedules: str) -> None:
    """The flow as Langflow exports it: trigger nodes, each before a chat output of its own."""
    nodes = [
        *(canvas.node("ScheduleTrigger", name, cron_expression=cron) for name, cron in schedules.items()),
        canvas.node("InboundWebhookTrigger", INBOUND),
        canvas.node("Webhook", CLASSIC),
    ]
    outputs = [canvas.node("ChatOutput", f"ChatOutput-{node['id']}") for node in nodes]
    edges = [
        canvas.edge(node, node["data"]["node"]["outputs"][0]["name"], output, "input_value")
        for node, output in zip(nodes, outputs, strict=True)
    ]
    path.write_text(canvas.flow([*nodes, *outputs], edges))


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    return None if request.param == "sqlite" else postgresql.namespace(tmp_path)


@pytest.fixture
def engine(tmp_path: Path, database: str | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineProcess]:
    (tmp_path / "agents.yaml").write_text("agents: [{name: doors, flow: flow.json}]")
    monkeypatch.chdir(tmp_path)
    more = ("--database", database.replace("postgresql://", "postgresql+psycopg://")) if database else ()
    with engine_process(tmp_path / "data", tmp_path, *more) as engine:
        monkeypatch.setenv("OVERNIGHT_URL", engine.url)
        yield engine
        assert engine.stop() == 0


def periods(engine: EngineProcess, database: str | None) -> list[tuple[Any, ...]]:
    """The armed periods, as the database has them: trigger, since, until."""
    if database is None:
        with sqlite3.connect(engine.data / "overnight.db") as file:
            found = file.execute(PERIODS).fetchall()
        file.close()
        return found
    with psycopg.connect(database) as connection:
        return connection.execute(PERIODS).fetchall()


def ended(client: Client, **where: str) -> View | None:
    """The newest execution, once it has ended."""
    newest = client.executions(agent="doors", limit=1, **where)["items"]
    return newest[0] if newest and newest[0]["finished_at"] else None


def said(execution: View) -> Any:
    """What the node that was fired handed to its chat output; no other node was."""
    assert execution["status"] == "succeeded", execution["failure"]
    (output,) = execution["output"]["outputs"].values()
    return json.loads(output["content"].removeprefix("```json").removesuffix("```"))


def test_an_export_runs_by_its_own_nodes_and_a_changed_one_arms_anew_what_changed(
    engine: EngineProcess, database: str | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    export(tmp_path / "flow.json", **{MINUTELY: "* * * * *", DAILY: "0 8 * * 1-5"})
    assert main(["apply"]) == 0
    with engine.client() as client:
        for posted in POSTED:
            (tmp_path / "body").write_text(posted if isinstance(posted, str) else json.dumps(posted))
            for node in (INBOUND, CLASSIC):
                assert main(["webhooks", "send", f"doors/{node}", "--data", "@body", "--wait"]) == 0
            inbound, classic = (said(ended(client, trigger=node)) for node in (INBOUND, CLASSIC))  # type: ignore[arg-type]
            assert inbound["payload"] == {"provider": "webhook", "delivery": posted}
            assert classic == (posted if isinstance(posted, dict) else {"payload": posted})
        tick = eventually(lambda: ended(client, trigger=MINUTELY), 90)
        assert said(tick)["payload"] == {
            "scheduled_at": tick["nominal"].replace("Z", "+00:00"), "cron": "* * * * *", "timezone": "UTC"
        }  # fmt: skip

        before = periods(engine, database)
        webhooks = client.webhooks(agent="doors")["items"]
        export(tmp_path / "flow.json", **{MINUTELY: "* * * * *", DAILY: "0 9 * * 1-5", LATER: "0 10 * * *"})
        capfd.readouterr()
        assert main(["apply", "--dry-run"]) == main(["apply"]) == 0
        assert f"trigger {LATER}, of the flow: cron 0 10 * * *, timezone UTC" in capfd.readouterr().out
        after = periods(engine, database)
        assert [period for period in after if period in before] == [row for row in before if row[0] == MINUTELY]
        assert [(trigger, until is None) for trigger, _, until in after] == [
            (DAILY, False), (DAILY, True), (LATER, True), (MINUTELY, True)
        ]  # fmt: skip
        assert client.webhooks(agent="doors")["items"] == webhooks
        assert main(["apply"]) == 0
        assert periods(engine, database) == after
        assert client.verify()["findings"] == []
