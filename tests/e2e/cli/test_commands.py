"""The commands against a real engine, in the order in which a user meets them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def test_what_init_printed_works(overnight, project: Path) -> None:
    assert overnight("apply", "--dry-run") == "create     hello\ncreate     report\n"
    assert overnight("apply", "-f", "agents.yaml").endswith("2 created\n")
    assert overnight("agents", "trigger", "report", "--wait", "--input", "Monday") == "Report on Monday, attempt 1\n"
    assert re.search(r"report +succeeded +manual", overnight("executions", "list"))
    assert overnight("apply").endswith("2 unchanged\n")


@pytest.fixture
def ran(overnight) -> str:
    """The id of an execution that has ended."""
    overnight("apply")
    return overnight("agents", "trigger", "report", "--wait", "--json")["id"]


def test_every_list_and_sheet_is_json_too(overnight, ran) -> None:
    assert [agent["name"] for agent in overnight("agents", "list", "--json")["items"]] == ["hello", "report"]
    assert overnight("agents", "show", "hello", "--json")["flow"]["name"] == "Hello"
    assert overnight("agents", "status", "report", "--json")["running"] == []
    assert overnight("executions", "list", "--agent", "report", "-n", "1", "--json")["items"][0]["id"] == ran
    assert overnight("executions", "show", ran[:10], "--json")["attempts"][0]["outcome"] == "succeeded"
    assert "items" in overnight("executions", "logs", ran, "--json")
    assert {each["agent"] for each in overnight("schedules", "list", "--json")["items"]} == {"hello", "report"}
    assert overnight("verify", "--since", "1h", "--json")["ok"] is True
    assert overnight("agents", "backfill", "report", "--since", "1m", "--dry-run", "--json")["count"] == 0


def test_every_list_and_sheet_is_text_too(overnight, ran) -> None:
    for command in (
        "agents list", "agents show hello", "agents status report", "executions list", f"executions show {ran}",
        f"executions watch {ran}", "schedules list", "verify", "secrets list",
    ):  # fmt: skip
        assert overnight(*command.split()).strip(), command


def test_an_agent_s_life(overnight) -> None:
    assert overnight("agents", "create", "mine", "--flow", "reports:daily", "--cron", "@daily") == "mine is STOPPED\n"
    assert overnight("agents", "start", "mine").startswith("mine is ACTIVE; next run ")
    assert overnight("agents", "pause", "mine", "--note", "for now") == "mine is PAUSED (for now)\n"
    assert overnight("agents", "resume", "mine", "--json")["status"] == "ACTIVE"
    assert overnight("agents", "stop", "mine") == "mine is STOPPED\n"
    assert overnight("agents", "edit", "mine", "--set", "retries.attempts=5", "--json")["retries"]["attempts"] == 5
    assert "is at version" in overnight(
        "agents", "edit", "mine", "--set", "timeout_seconds=1", "--if-version", "1", code=1
    )
    assert "retries.attempts" in overnight("agents", "edit", "mine", "--set", "retries.attempts=0", code=1)
    assert "there is an agent 'mine' already" in overnight("agents", "create", "mine", "--flow", "a:b", code=1)
    assert overnight("agents", "delete", "mine", "--yes") == "mine is deleted\n"
    assert overnight("agents", "show", "mine", code=1) == "error: there is no agent 'mine'\n"


def test_the_same_key_runs_once(overnight) -> None:
    overnight("apply")
    key = ["agents", "trigger", "report", "--idempotency-key", "order-42", "--wait", "--json"]

    assert overnight(*key)["id"] == overnight(*key)["id"]
    assert "Idempotency-Key" in overnight(*key, "--input", "other", code=1)


def test_what_failed_is_redriven(overnight, ran, project: Path) -> None:
    (project / "fragile.py").write_text("def run():\n    raise RuntimeError('broken')\n")
    document = """
agents:
  - name: fragile
    flow: {python: "fragile:run"}
    retries: {attempts: 1}
    triggers: [{name: on-data, event: {name: "dataset.*"}}]
"""
    assert overnight("apply", "-f", "-", stdin=document).endswith("1 created\n")

    [failed] = overnight("events", "send", "dataset.new", "--data", '{"n": 1}', "--id", "e-1", "--json")[
        "execution_ids"
    ]
    assert (
        overnight("events", "send", "dataset.new", "--data", '{"n": 1}', "--id", "e-1", "--json")["duplicate"] is True
    )
    assert "RuntimeError: broken" in overnight("executions", "watch", failed, code=1)
    assert "redriven: 1 execution" in overnight("executions", "redrive", "--agent", "fragile", "--since", "1h")
    overnight("executions", "watch", failed, code=1)
    assert overnight("executions", "show", failed, "--json")["redrives"] == 1
    assert "only a failed one" in overnight("executions", "redrive", ran, code=1)


def test_secrets_are_set_and_never_shown(overnight) -> None:
    assert overnight("secrets", "set", "key", stdin="sk-1\n") == "key is kept; refer to it as secret:key\n"
    assert overnight("secrets", "list", "--json") == {"items": [{"name": "key"}]}
    assert overnight("secrets", "delete", "key") == "key is forgotten\n"
    assert "key" in overnight("secrets", "delete", "key", code=1)


def test_apply_updates_and_prunes(overnight, project: Path) -> None:
    path = project / "agents.yaml"
    kept = path.read_text()
    overnight("apply", "-f", "-", stdin='agents: [{name: old, flow: {python: "reports:daily"}}]')
    path.write_text(kept.replace("hours: 1", "hours: 2"))

    assert "update     report (triggers)" in overnight("apply", "--dry-run")
    applied = overnight("apply", "--prune", "--yes")
    path.write_text(kept)

    assert "updated    report (triggers)" in applied
    assert "deleted    old" in applied
    assert [agent["name"] for agent in overnight("agents", "list", "--json")["items"]] == ["hello", "report"]


@pytest.mark.parametrize("token", ["", "wrong"])
def test_without_the_token_nothing_is_told(token, overnight) -> None:
    assert "OVERNIGHT_API_TOKEN" in overnight("agents", "list", code=1, token=token)


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--port", "0"], "error: another engine is using .overnight"),
        (["--data", "other", "--host", "0.0.0.0"], "error: host: 0.0.0.0 can be reached from other machines"),
    ],
)
def test_an_engine_that_may_not_serve_says_why(options, told, project: Path) -> None:
    command = [sys.executable, "-m", "overnight.cli", "serve", *options]
    environment = {name: value for name, value in os.environ.items() if name != "OVERNIGHT_API_TOKEN"}
    ran = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)

    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith(told)


@pytest.mark.usefixtures("serving")
def test_a_port_that_is_taken_is_all_that_is_said(port: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "overnight.cli", "serve", "--port", str(port), "--data", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == f"error: can't listen on 127.0.0.1 port {port}: Address already in use\n"


@pytest.mark.parametrize("name", ["bad/name", "", "bad name"])
def test_a_secret_s_name_that_is_none_is_named(overnight, name: str) -> None:
    assert overnight("secrets", "set", name, "--value", "v", code=1).startswith("error: name: must ")
    assert overnight("secrets", "delete", name, code=1).startswith("error: name: must ")
