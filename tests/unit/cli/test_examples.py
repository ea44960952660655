"""The examples are what they say."""

import importlib
import sys
from pathlib import Path

import pytest

from overnight.api.documents import accept
from overnight.cli.declarations import read

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in ("night_shift", "python_api"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_the_agents_of_the_demo_are_there() -> None:
    agents = read(EXAMPLES / "agents.yaml").agents

    for agent in agents:
        if "python" in agent.document["flow"]:
            module, name = agent.document["flow"]["python"].split(":")
            assert callable(getattr(importlib.import_module(module), name))
    overlaps = {agent.checked.concurrency.on_overlap for agent in agents}
    subscribers = [agent for agent in agents if any(trigger.kind == "event" for trigger in agent.checked.triggers)]
    assert {"queue", "skip"} <= overlaps
    assert len(subscribers) == 2


def test_the_agents_declared_in_python_are_valid() -> None:
    agents = importlib.import_module("python_api").agents

    assert [accept(None, agent.document()).name for agent in agents] == ["teller", "report"]
