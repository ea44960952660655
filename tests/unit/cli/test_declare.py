"""`Agent(...)`: an agent document, declared in Python."""

import json
import subprocess
import sys
from datetime import timedelta
from types import ModuleType, SimpleNamespace

import pytest

from overnight import Agent, Overnight
from overnight.agents import AgentDocument
from overnight.api.documents import accept
from overnight.courier import HttpCourier
from overnight.errors import Invalid, OvernightError


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A user's module, with functions of every kind."""
    made = ModuleType("my_reports")
    code = """
from functools import wraps

def daily(context): ...
async def hourly(): ...

def decorated(function):
    @wraps(function)
    def wrapper(*arguments): ...
    return wrapper

@decorated
def weekly(context): ...

def plain(): ...
hidden = plain
def plain(): ...

def outer():
    def inner(): ...
    return inner

class Reports:
    def method(self): ...

short = lambda: None
graph = Reports()
"""
    exec(code, made.__dict__)
    monkeypatch.setitem(sys.modules, "my_reports", made)
    return made


@pytest.mark.parametrize("name", ["daily", "hourly", "weekly"])
def test_a_function_is_named_by_its_module(name, module) -> None:
    agent = Agent(name="report", flow=getattr(module, name))

    assert agent.document() == {"name": "report", "flow": {"python": f"my_reports:{name}"}, "enabled": True}
    assert agent.package == "my_reports"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("short", "a lambda can't be imported by a worker"),
        ("graph", "a Reports object has no name of its own; give the flow as 'package.module:name'"),
        ("hidden", "my_reports has another 'plain' than this one"),
    ],
)
def test_what_no_worker_could_import_is_refused(name, told, module) -> None:
    with pytest.raises(Invalid, match=told):
        Agent(name="report", flow=getattr(module, name))


def test_functions_within_functions_and_classes_are_refused(module) -> None:
    with pytest.raises(Invalid, match="is made inside a function"):
        Agent(name="report", flow=module.outer())
    with pytest.raises(Invalid, match="belongs to a class"):
        Agent(name="report", flow=module.Reports.method)


def test_a_flow_may_be_named_or_read_from_its_file(tmp_path) -> None:
    path = tmp_path / "hello.json"
    path.write_text('{"data": {}}')

    assert Agent(name="a", flow="my.reports:daily").document()["flow"] == {"python": "my.reports:daily"}
    assert Agent(name="a", flow="my.reports:daily").package == "my"
    assert Agent(name="a", flow=path).document()["flow"] == {"langflow": {"data": {}}}
    assert Agent(name="a", flow=str(path)).package is None


@pytest.mark.parametrize(
    ("content", "told"), [(None, "no such file"), ("{", "not a flow's JSON"), ("[]", "a flow is a JSON object")]
)
def test_a_file_that_is_no_flow_is_refused(content, told, tmp_path) -> None:
    if content is not None:
        (tmp_path / "hello.json").write_text(content)
    with pytest.raises(Invalid, match=told):
        Agent(name="a", flow=tmp_path / "hello.json")


@pytest.mark.parametrize(
    ("schedule", "document"),
    [
        ("0 8 * * *", {"cron": "0 8 * * *"}),
        (timedelta(hours=1, seconds=5), {"interval": {"seconds": 3_605}}),
        ({"date": "2099-01-01T00:00:00Z"}, {"date": "2099-01-01T00:00:00Z"}),
    ],
)
def test_a_schedule_is_a_document_an_expression_or_a_length(schedule, document) -> None:
    assert Agent(name="a", flow="m:f", schedule=schedule).document()["schedule"] == document


def test_what_it_says_is_an_agent_document() -> None:
    agent = Agent(
        name="report",
        flow="my.reports:daily",
        description="Sales",
        enabled=False,
        schedule=timedelta(minutes=5),
        triggers=[{"name": "new", "event": {"name": "dataset.*"}}],
        input="Report on yesterday",
        variables={"KEY": "secret:key"},
        retries={"attempts": 5},
        concurrency={"on_overlap": "skip"},
        timeout_seconds=60,
        start_deadline_seconds=3_600,
        pause_after_failures=3,
        notify={"url": "https://example.com"},
        retention_days=7,
    )
    document = accept(SimpleNamespace(courier=HttpCourier()), agent.document())

    assert isinstance(document, AgentDocument)
    assert document.input.input_value == "Report on yesterday"
    assert [trigger.name for trigger in document.triggers] == ["schedule", "new"]
    assert agent.document().keys() - {"schedule"} == set(AgentDocument.model_fields)


SCRIPT = """
import json
from overnight import Agent
def hello(): ...
print(json.dumps(Agent(name="hello", flow=hello).document()["flow"]))
"""


@pytest.mark.parametrize(
    ("arguments", "target"),
    [
        (["my_script.py"], "my_script:hello"),
        (["-m", "my_script"], "my_script:hello"),
        (["-m", "package.inner"], "package.inner:hello"),
    ],
)
def test_the_script_that_was_started_is_named_by_its_file(arguments, target, tmp_path) -> None:
    (tmp_path / "package").mkdir()
    for name in ("my_script.py", "package/inner.py", "package/__init__.py"):
        (tmp_path / name).write_text(SCRIPT if not name.endswith("__init__.py") else "")
    ran = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert json.loads(ran.stdout) == {"python": target}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["-c", SCRIPT], "hello was typed into an interpreter"), (["my-script.py"], "my-script.py can't be imported")],
)
def test_a_script_that_can_t_be_imported_is_refused(arguments, told, tmp_path) -> None:
    (tmp_path / "my-script.py").write_text(SCRIPT)
    ran = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert told in ran.stderr


def test_nothing_is_asked_of_an_engine_that_is_not_started(tmp_path) -> None:
    overnight = Overnight(tmp_path / "data")
    overnight.register(Agent(name="a", flow="m:f"))

    with pytest.raises(OvernightError, match="not started"):
        overnight.trigger("a")
    overnight.stop()
    assert not (tmp_path / "data").exists()


def test_no_triggers_are_said_only_where_they_are() -> None:
    """A flow's own trigger nodes are the triggers of an agent that says nothing about them."""
    assert "triggers" not in Agent("report", "reports:daily").document()
    assert Agent("report", "reports:daily", triggers=[]).document()["triggers"] == []
