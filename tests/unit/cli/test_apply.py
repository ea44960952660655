"""`overnight apply`: all that is wrong with a file is said at once; what is right is applied agent by agent."""

from pathlib import Path

import pytest

AGENTS = "/api/v1/background_agents"

VALID = """
agents:
  - name: report
    flow: {python: "reports:daily"}
    schedule: {cron: "0 8 * * *"}
  - name: hello
    flow: flows/hello.json
    enabled: false
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "hello.json").write_text('{"name": "Hello", "data": {"nodes": [], "edges": []}}')
    (tmp_path / "agents.yaml").write_text(VALID)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# What is wrong with a file

AGENT = 'agents:\n  - name: a\n    flow: {python: "m:f"}\n'


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ["1: a list called `agents` must stand here"]),
        ("- a\n", ["1: a list called `agents` must stand here"]),
        ("agents: 7\n", ["1: a list called `agents` must stand here"]),
        ("agents: []\nagent: []\nother: 1\n", ["2: agent: nothing but", "3: other: nothing but"]),
        ("agents:\n  - 7\n", ["2: agents.0: must be an agent"]),
        ("agents:\n  - name: a\n", ["2: agents.0.flow (a): is required"]),
        ("agents: [\n", ["2: while parsing a flow node"]),
        ("agents: {a: 1\n", ["2: while parsing a flow mapping"]),
        ("agents:\n  - name: !!python/object:os.system {}\n", ["2: could not determine a constructor for the tag"]),
        ("agents: &a [*a]\n", ["1: an alias refers to what it stands in"]),
        ("a: 1\n---\nb: 2\n", ["2: expected a single document in the stream but found another document"]),
        (AGENT + "    name: b\n    flow: {}\n", ["4: 'name' stands here twice; first in line 2", "5: 'flow' stands"]),
        (AGENT + "    5: x\n    true: y\n", ["4: a key must be text; put 5 in quotes", "5: a key must be text"]),
        (AGENT + "    bogus: 1\n", ["4: agents.0.bogus (a): "]),
        (AGENT + "    retries:\n      attempts: 0\n", ["5: agents.0.retries.attempts (a): "]),
        (AGENT + '    schedule:\n      cron: "61 * * * *"\n', ["5: agents.0.schedule.cron (a): minute: 61 is out of"]),
        (AGENT + "    triggers:\n      - name: t\n        interval: {hours: 0}\n", ["6: agents.0.triggers.0.interval"]),
        (AGENT + "    triggers:\n      - name: t\n", ["5: agents.0.triggers.0 (a): needs exactly one of cron, "]),
        (AGENT + "  - name: a\n    flow: {python: m:f}\n", ["4: agents.1.name (a): agents.0 is called so, too"]),
        ("agents:\n  - name: a\n    flow: none.json\n", ["3: agents.0.flow (a): none.json: no such file or directory"]),
        ("agents:\n  - name: a\n    flow: nothing\n", ["3: agents.0.flow (a): 'nothing' is neither the path of"]),
        ("agents:\n  - name: a\n    flow: bad.json\n", ["3: agents.0.flow (a): bad.json: not JSON: "]),
        ("agents:\n  - name: a\n    flow: list.json\n", ["3: agents.0.flow (a): list.json: a flow is a JSON object"]),
        ("agents:\n  - name: a\n    flow: {}.json\n", ["3: "]),
        ("agents:\n  - name: a\n    flow: empty.json\n", ["3: agents.0.flow.langflow (a): The flow has no"]),
        (
            'agents:\n  - name: a b\n    flow: none.json\n    bogus: 1\n  - name: c\n    flow: {python: "m f"}\n',
            ["3: agents.0.flow (a b): none.json", "2: agents.0.name (a b): ", "4: agents.0.bogus (a b): ",
             "6: agents.1.flow.python (c): "],
        ),
    ],
)  # fmt: skip
def test_all_that_is_wrong_is_said_with_its_line(text, lines, project, overnight, engine) -> None:
    for name, content in {"bad": "{", "list": "[]", "empty": "{}"}.items():
        (project / f"{name}.json").write_text(content)
    (project / "agents.yaml").write_text(text)

    ran = overnight("apply")

    assert ran.code == 1
    told = ran.err.splitlines()
    assert len(told) == len(lines), told
    for line, expected in zip(told, lines, strict=True):
        assert line.startswith(f"error: agents.yaml:{expected}"), line
    assert engine.requests == [], "nothing is asked of the engine while the file is wrong"


def test_a_file_that_is_not_there(overnight, tmp_path) -> None:
    path = tmp_path / "none.yaml"

    assert overnight("apply", "-f", str(path)).error == f"{path}: no such file or directory"


# What a file says


def plan_of(**actions):
    """The engine's word on each agent, when it is asked with `dry_run`."""

    def answer(request):
        name = request.path.rsplit("/", 1)[-1]
        if request.query.get("dry_run"):
            return 200, {"action": actions[name], "changed": ["schedule"] if actions[name] == "update" else []}
        return 200, {"name": name}

    return answer


def test_it_is_planned_as_a_whole_and_applied_agent_by_agent(project, overnight, engine) -> None:
    for name, answer in {"report": "create", "hello": "update"}.items():
        engine.on(f"PUT {AGENTS}/{name}", plan_of(**{name: answer}))

    ran = overnight("apply")

    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "created    report\nupdated    hello (schedule)\n1 created, 1 updated\n"
    assert [(request.path.rsplit("/", 1)[-1], request.query) for request in engine.requests] == [
        ("report", {"dry_run": "true"}),
        ("hello", {"dry_run": "true"}),
        ("report", {}),
        ("hello", {}),
    ]
    assert [request.body for request in engine.requests[2:]] == [
        {"name": "report", "flow": {"python": "reports:daily"}, "schedule": {"cron": "0 8 * * *"}, "enabled": True},
        {
            "name": "hello",
            "flow": {"langflow": {"name": "Hello", "data": {"nodes": [], "edges": []}}},
            "enabled": False,
        },
    ]


def test_what_is_unchanged_is_left_alone(project, overnight, engine) -> None:
    for name in ("report", "hello"):
        engine.on(f"PUT {AGENTS}/{name}", plan_of(**{name: "unchanged"}))

    assert overnight("apply").out == "unchanged  report\nunchanged  hello\n2 unchanged\n"
    assert all(request.query for request in engine.requests)


def test_a_dry_run_only_shows_the_plan(project, overnight, engine, wire) -> None:
    for name, answer in {"report": "create", "hello": "unchanged"}.items():
        engine.on(f"PUT {AGENTS}/{name}", plan_of(**{name: answer}))
    engine.on(f"GET {AGENTS}", wire.page(wire.agent("hello"), wire.agent("old")))

    ran = overnight("apply", "--dry-run", "--prune")

    assert ran.out == "create     report\nunchanged  hello\ndelete     old\n"
    assert {request.query.get("dry_run") for request in engine.requests if request.method == "PUT"} == {"true"}
    assert overnight("apply", "--dry-run", "--prune", "--json").json == {
        "agents": [
            {"name": "report", "action": "create", "changed": []},
            {"name": "hello", "action": "unchanged", "changed": []},
        ],
        "deleted": ["old"],
    }


def test_a_dry_run_shows_the_triggers_of_a_flow_and_what_will_not_work(project, overnight, engine) -> None:
    engine.on(f"PUT {AGENTS}/report", plan_of(report="unchanged"))
    trigger = {"name": "Sched-1", "timezone": "UTC", "exclude": None, "catch_up_window_seconds": 9, "cron": "0 8 * * *"}
    plan = {"action": "create", "changed": [], "of_flow": [trigger], "warnings": ["Slack (S) is fired by nothing"]}
    engine.on(f"PUT {AGENTS}/hello", plan)

    ran = overnight("apply", "--dry-run")

    assert ran.out.splitlines()[1:] == [
        "create     hello",
        "             trigger Sched-1, of the flow: cron 0 8 * * *, timezone UTC",
    ]
    assert ran.err == "warning: hello: Slack (S) is fired by nothing\n"


def test_what_the_engine_objects_to_is_said_before_anything_is_applied(project, overnight, engine, wire) -> None:
    objection = wire.problem(422, "invalid", "invalid", schedule__cron="too frequent")
    engine.on(f"PUT {AGENTS}/report", objection, 422)
    engine.on(f"PUT {AGENTS}/hello", plan_of(hello="create"))

    ran = overnight("apply")

    assert (ran.code, ran.error) == (1, "agents.yaml:5: agents.0.schedule.cron (report): too frequent")
    assert all(request.query for request in engine.requests)


def test_a_failure_midway_says_how_to_go_on(project, overnight, engine, wire) -> None:
    engine.on(f"PUT {AGENTS}/report", plan_of(report="create"))

    def gone(request):
        if request.query:
            return 200, {"action": "create", "changed": []}
        return 503, wire.problem(503, "unavailable", "the database does not answer")

    engine.on(f"PUT {AGENTS}/hello", gone)
    ran = overnight("apply")

    assert (ran.code, ran.out) == (1, "created    report\n")
    assert ran.error == (
        "hello: the database does not answer; 1 of 2 agents applied; the same command goes on from here"
    )


# Pruning


@pytest.fixture
def with_old(engine, wire) -> None:
    """An engine that has two agents more than the file, one of them declared by a stack."""
    for name in ("report", "hello"):
        engine.on(f"PUT {AGENTS}/{name}", plan_of(**{name: "unchanged"}))
    pages = {None: wire.page(wire.agent("hello"), wire.agent("old"), cursor="2"),
             "2": wire.page(wire.agent("stack", declared=True))}  # fmt: skip
    engine.on(f"GET {AGENTS}", lambda request: (200, pages[request.query.get("cursor")]))
    engine.on(f"DELETE {AGENTS}/old", None, 204)


@pytest.mark.usefixtures("with_old", "project")
def test_prune_deletes_what_is_not_in_the_file(overnight, engine) -> None:
    ran = overnight("apply", "--prune", "--yes")

    assert ran.out.splitlines()[-2:] == ["deleted    old", "2 unchanged, 1 deleted"]
    assert [r.path for r in engine.requests if r.method == "DELETE"] == [f"{AGENTS}/old"]


@pytest.mark.usefixtures("with_old", "project")
def test_prune_asks_before_anything_is_applied(overnight, engine) -> None:
    ran = overnight("apply", "--prune")

    assert (ran.code, ran.error) == (2, "--prune deletes 1 agent not in the file: old; say --yes")
    assert {r.method for r in engine.requests} <= {"GET", "PUT"}
    assert all(r.query for r in engine.requests)


def test_prune_never_deletes_all(overnight, engine, tmp_path) -> None:
    path = tmp_path / "agents.yaml"
    path.write_text("agents: []\n")

    assert "--prune would delete all" in overnight("apply", "-f", str(path), "--prune", "--yes").error
    assert engine.requests == []
