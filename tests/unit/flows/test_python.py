"""Python agents: which may run, what they are told, what becomes of what they return and raise."""

import os
import sys
from datetime import UTC, datetime

import pytest

from overnight.flows import Allowed, Call, CallInput, FiringContext, FlowFailure, PythonFlow, Result, run

AGENTS = """
import asyncio
import dataclasses
import sys

from overnight.flows import Permanent, Retry

_private = object()
plain = "not callable"

def nothing():
    return "called without"

def everything(context):
    return {
        "text": context.input_value,
        "attempt": context.attempt,
        "agent": context.agent,
        "execution_id": context.execution_id,
        "session_id": context.session_id,
        "kind": context.firing.kind,
        "payload": context.firing.payload,
        "key": context.variables["KEY"],
        "missed": len(context.firing.missed_ticks),
    }

async def asynchronous(context):
    await asyncio.sleep(0)
    return context.input_value

def by_keyword(*, context):
    return context.agent

def optional(name="nobody"):
    return name

def optional_context(context=None):
    return context.agent

def two(context, other):
    return "never"

class Agent:
    def __call__(self, context):
        return f"an object of {context.agent}"

instance = Agent()

class Graph:
    async def ainvoke(self, state, config=None):
        thread = config["configurable"]["thread_id"]
        answer = {"role": "assistant", "content": f"{state['messages'][-1]['content']} in {thread}"}
        return {"messages": [*state["messages"], answer]}

graph = Graph()

class StateGraph:
    def invoke(self, state, config=None):
        return {"got": state}

state_graph = StateGraph()

@dataclasses.dataclass
class Report:
    lines: int

def gives_none(): return None
def gives_number(): return 42
def gives_list(): return [1, 2]
def gives_report(): return Report(3)
def gives_dict(): return {"text": "Done.", "n": 1}
def gives_object(): return {"deep": [_private]}

def raises(): raise RuntimeError("boom")
def wants_delay(): raise Retry("Busy.", after_seconds=90)
def gives_up(): raise Permanent("Pointless.")
def exits(): sys.exit(1)
async def exits_later(): sys.exit(1)
def tells(context): raise RuntimeError(f"key is {context.variables['KEY']}")
def lacks_a_package(): import overnight_lacks_this

def environment():
    import os
    return os.environ["KEY"]
"""


@pytest.fixture
def agents(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in sys.modules if name.partition(".")[0] in {"night_agents", "night_broken"}]:
        monkeypatch.delitem(sys.modules, name)
    package = tmp_path / "agents" / "night_agents"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "daily.py").write_text(AGENTS)
    (tmp_path / "agents" / "night_broken.py").write_text("import overnight_lacks_this")
    (tmp_path / "agents" / "night_wrong.py").write_text("def (")
    return Allowed(folders=(str(tmp_path / "agents"),))


def call(target, **changes):
    changes.setdefault("input", CallInput("Hi", session_id="s1"))
    changes.setdefault("variables", {"KEY": "the-value"})
    return Call(execution_id="e1", agent_id="a1", agent="daily", attempt=2, flow=PythonFlow(target), **changes)


def daily(name, allowed, **changes):
    return run(call(f"night_agents.daily:{name}", **changes), allowed)


def failure(target, allowed, **changes):
    with pytest.raises(FlowFailure) as caught:
        run(call(target, **changes), allowed)
    return caught.value


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("nothing", Result("called without")),
        ("asynchronous", Result("Hi")),
        ("by_keyword", Result("daily")),
        ("optional", Result("nobody")),
        ("optional_context", Result("daily")),
        ("instance", Result("an object of daily")),
        ("gives_none", Result()),
        ("gives_number", Result(outputs={"result": 42})),
        ("gives_list", Result(outputs={"result": [1, 2]})),
        ("gives_report", Result(outputs={"result": {"lines": 3}})),
        ("gives_dict", Result("Done.", {"text": "Done.", "n": 1})),
        ("environment", Result("the-value")),
    ],
)
def test_what_a_callable_returns_is_the_result(name, result, agents):
    assert daily(name, agents) == result


def test_a_callable_is_told_its_run(agents):
    firing = FiringContext("webhook", "orders", payload={"order": 42}, missed_ticks=(datetime(2026, 1, 1, tzinfo=UTC),))
    assert daily("everything", agents, firing=firing).outputs == {
        "text": "Hi",
        "attempt": 2,
        "agent": "daily",
        "execution_id": "e1",
        "session_id": "s1",
        "kind": "webhook",
        "payload": {"order": 42},
        "key": "the-value",
        "missed": 1,
    }


def test_a_graph_is_invoked_with_the_input_as_its_state(agents):
    result = daily("graph", agents)
    assert result.text == "Hi in s1"
    assert daily("state_graph", agents, input=CallInput('{"a": 1}')).outputs == {"got": {"a": 1}}
    payload = FiringContext("event", payload={"b": 2})
    assert daily("state_graph", agents, input=CallInput(), firing=payload).outputs == {"got": {"b": 2}}


@pytest.mark.parametrize(
    ("name", "error_type", "retryable", "after", "message"),
    [
        ("raises", "RuntimeError", True, None, "boom"),
        ("wants_delay", "Retry", True, 90, "Busy."),
        ("gives_up", "Permanent", False, None, "Pointless."),
        ("exits", "SystemExit", True, None, "sys.exit()"),
        ("exits_later", "SystemExit", True, None, "sys.exit()"),
        ("lacks_a_package", "ModuleNotFoundError", False, None, "pip install overnight-lacks-this"),
        ("two", "WrongSignature", False, None, "requires context, other"),
        ("plain", "NotCallable", False, None, "str is neither callable nor a graph"),
        ("gives_object", "NotJson", False, None, "the result['deep'][0] is a builtins.object"),
        ("absent", "MissingCallable", False, None, "night_agents.daily has no 'absent'"),
    ],
)
def test_what_goes_wrong_is_sorted(name, error_type, retryable, after, message, agents):
    failed = failure(f"night_agents.daily:{name}", agents)
    assert (failed.error_type, failed.retryable, failed.retry_after_seconds) == (error_type, retryable, after)
    assert message in failed.message


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("night_agents.nothere:run", "There is no module 'night_agents.nothere'"),
        ("nothere_at_all:run", "There is no module 'nothere_at_all' below"),
        ("nothere_at_all:run", "`overnight serve --project DIR`"),
        ("night_broken:run", "pip install overnight-lacks-this"),
        ("night_wrong:run", "syntax error"),
        ("night_agents", "write package.module:callable"),
        ("night_agents.daily:sys.exit", "write package.module:callable"),
        ("night_agents..daily:run", "write package.module:callable"),
        ("../secret:run", "write package.module:callable"),
    ],
)
def test_a_target_that_cannot_be_loaded_is_permanent_and_says_why(target, message, agents):
    failed = failure(target, agents)
    assert not failed.retryable
    assert message in failed.message


@pytest.mark.parametrize("target", ["os:system", "subprocess:run", "builtins:eval", "__main__:run", "json:loads"])
def test_what_is_not_allowed_is_refused(target, agents):
    failed = failure(target, agents)
    assert not failed.retryable
    assert failed.error_type in {"NotAllowed", "ModuleNotFoundError"}


def test_what_is_not_allowed_is_not_even_imported(tmp_path, monkeypatch, agents):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "night_foreign").mkdir(parents=True)
    mark = tmp_path / "imported"
    (elsewhere / "night_foreign" / "__init__.py").write_text(f"open({str(mark)!r}, 'w')")
    monkeypatch.syspath_prepend(str(elsewhere))
    failed = failure("night_foreign.x:run", agents)
    assert failed.error_type == "NotAllowed"
    assert "`overnight serve --package night_foreign`" in failed.message
    assert str(agents.folders[0]) in failed.message
    assert not mark.exists()


def test_a_package_may_be_allowed_by_name(tmp_path, monkeypatch):
    (tmp_path / "night_installed.py").write_text("def run(): return 'installed'")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert run(call("night_installed:run"), Allowed(packages=("night_installed",))).text == "installed"


def test_a_package_half_of_which_lies_elsewhere_is_refused(tmp_path, monkeypatch, agents):
    for folder in (tmp_path / "agents", tmp_path / "elsewhere"):
        (folder / "night_split").mkdir(parents=True)
        (folder / "night_split" / "part.py").write_text("def run(): return 'ran'")
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    assert failure("night_split.part:run", agents).error_type == "NotAllowed"


def test_variables_are_in_the_environment_for_the_run_only(monkeypatch, agents):
    monkeypatch.setenv("KEY", "before")
    assert daily("environment", agents).text == "the-value"
    assert os.environ["KEY"] == "before"


def test_secrets_are_in_no_failure(agents):
    failed = failure("night_agents.daily:tells", agents)
    assert "the-value" not in failed.message + failed.traceback
