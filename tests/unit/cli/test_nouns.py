"""Each command against an engine that answers: what it asks, what it prints, how it ends."""

import io
import json

import pytest

from overnight.api.agent_views import AgentView
from overnight.api.execution_views import ExecutionDetail, ExecutionView

AGENTS = "/api/v1/background_agents"
EXECUTIONS = "/api/v1/executions"


def test_the_samples_here_are_what_the_api_answers(wire) -> None:
    AgentView.model_validate(wire.agent())
    ExecutionView.model_validate(wire.execution())
    ExecutionDetail.model_validate(wire.execution(attempts=[wire.attempt(1, "failed", wire.FAILURE)]))


def jsons(wire):
    """Every command that takes --json: its arguments, the route it asks, the answer."""
    stands = wire.agent()
    slot = {"execution_id": wire.ID, "attempt": 1, "since": "2026-11-20T08:00:00Z"}
    status = {"id": "a", "name": "hello", "status": "ACTIVE", "note": None, "changed_at": None, "last_run_at": None,
              "next_run_at": None, "running": [slot],
              "waiting": [wire.OTHER], "schedules": [], "failures": 0}  # fmt: skip
    plan = {"backfill_id": "b", "ticks": [], "count": 0, "left_out": 0, "execution_ids": []}
    report = {"ok": True, "findings": [], "agents": 1, "ticks": 2, "executions": 3}
    schedule = {"agent": "hello", "trigger": "s", "kind": "cron", "expression": "cron 0 8 * * *", "timezone": "UTC",
                "next_tick_at": None, "status": "PAUSED"}  # fmt: skip
    line = {"at": "2026-11-20T08:00:00Z", "attempt": 1, "level": "info", "message": "hi"}
    sent = {"event_id": "e", "execution_ids": [wire.ID], "duplicate": False}
    done, one = wire.execution(), f"{EXECUTIONS}/{wire.ID}"
    return [
        ("agents list", f"GET {AGENTS}", wire.page(stands)),
        ("agents show hello", f"GET {AGENTS}/hello", stands),
        ("agents create hello --flow a.b:c --cron @daily", f"POST {AGENTS}", stands),
        ("agents edit hello --set timeout_seconds=5", f"PATCH {AGENTS}/hello", stands),
        ("agents start hello", f"POST {AGENTS}/hello/start", stands),
        ("agents stop hello --cancel-running", f"POST {AGENTS}/hello/stop", stands),
        ("agents pause hello --note why", f"POST {AGENTS}/hello/pause", stands),
        ("agents resume hello", f"POST {AGENTS}/hello/resume", stands),
        ("agents trigger hello", f"POST {AGENTS}/hello/trigger", done),
        ("agents status hello", f"GET {AGENTS}/hello/status", status),
        ("agents backfill hello --since 1d --dry-run", f"POST {AGENTS}/hello/backfill", plan),
        ("executions list", f"GET {EXECUTIONS}", wire.page(done)),
        (f"executions show {wire.ID}", f"GET {one}", done | {"attempts": [wire.attempt(1, "succeeded")]}),
        (f"executions logs {wire.ID}", f"GET {one}/logs", wire.page(line)),
        (f"executions cancel {wire.ID}", f"POST {one}/cancel", done),
        (f"executions redrive {wire.ID}", f"POST {one}/redrive", done),
        ("executions redrive --agent hello", f"POST {EXECUTIONS}/redrive", {"count": 1, "execution_ids": [wire.ID]}),
        ("events send dataset.new", "POST /api/v1/events", sent),
        ("schedules list", "GET /api/v1/schedules", wire.page(schedule)),
        ("secrets list", "GET /api/v1/secrets", {"items": [{"name": "openai"}]}),
        ("verify --since 1d", "GET /api/v1/verify", report),
    ]


def test_json_is_what_the_api_answered(wire, engine, overnight) -> None:
    for command, route, answer in jsons(wire):
        engine.answers.clear()
        engine.on(route, answer)

        ran = overnight(*command.split(), "--json")

        assert (ran.code, ran.err) == (0, ""), command
        assert ran.json == answer, command


def test_without_json_there_is_something_to_read(wire, engine, overnight) -> None:
    for command, route, answer in jsons(wire):
        engine.answers.clear()
        engine.on(route, answer)

        ran = overnight(*command.split())

        assert (ran.code, ran.err) == (0, ""), command
        assert ran.out.strip(), command
        assert not ran.out.startswith("{"), command


def test_an_agent_may_have_a_name_that_is_no_path(engine, overnight, wire) -> None:
    engine.on(f"GET {AGENTS}/..x%3Fy", wire.agent())

    assert overnight("agents", "show", "..x?y").code == 0


def test_a_name_that_is_several_parts_of_a_path_is_never_sent(engine, overnight) -> None:
    assert overnight("agents", "show", "../x").error == "agent: must not contain /"
    assert overnight("agents", "stop", "").error == "agent: must not be empty"
    assert engine.requests == []


def test_the_token_of_the_environment_is_sent(engine, overnight, wire, monkeypatch) -> None:
    engine.on(f"GET {AGENTS}", wire.page())
    overnight("agents", "list")
    monkeypatch.setenv("OVERNIGHT_API_TOKEN", "s3cret")
    overnight("agents", "list")

    assert [request.headers.get("authorization") for request in engine.requests] == [None, "Bearer s3cret"]


def test_url_wins_over_the_environment(engine, overnight, wire, monkeypatch) -> None:
    engine.on(f"GET {AGENTS}", wire.page())
    monkeypatch.setenv("OVERNIGHT_URL", "http://127.0.0.1:1")

    assert overnight("agents", "list", "--url", f"{engine.url}/").code == 0


# Errors


def test_nobody_answers(overnight) -> None:
    ran = overnight("agents", "list", "--url", "http://127.0.0.1:1")

    assert ran.code == 1
    assert ran.error == (
        "no engine answers at http://127.0.0.1:1 (connection refused); start one with `overnight serve`"
    )


@pytest.mark.parametrize("url", ["127.0.0.1:8321", "ftp://x", "http://", "http://a b"])
def test_a_url_that_is_none(url, overnight) -> None:
    ran = overnight("agents", "list", "--url", url)

    assert ran.code == 1
    assert ran.error.startswith(f"no engine answers at {url}")


def test_a_refusal_is_its_detail_in_one_line(engine, overnight, wire) -> None:
    engine.on(f"GET {AGENTS}/x", wire.problem(404, "agent_not_found", "there is no\nagent 'x'"), 404)
    ran = overnight("agents", "show", "x", "--json")

    assert (ran.code, ran.out, ran.error) == (1, "", "there is no agent 'x'")


def test_every_invalid_field_is_named(engine, overnight, wire) -> None:
    answer = wire.problem(422, "invalid", "invalid", retries__attempts="must be at least 1", bogus="is not known")
    engine.on(f"PATCH {AGENTS}/x", answer, 422)

    ran = overnight("agents", "edit", "x", "--set", "retries.attempts=0", "--set", "bogus=1")

    assert ran.error == "retries.attempts: must be at least 1; bogus: is not known"


def test_a_missing_token_is_told_with_where_it_is_read_from(engine, overnight, wire) -> None:
    engine.on(f"GET {AGENTS}", wire.problem(401, "unauthorized", "a token is needed"), 401)

    assert "OVERNIGHT_API_TOKEN" in overnight("agents", "list").error


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (200, []), (502, b"<html>"), (500, {})])
def test_what_is_no_engine_is_told_so(status, body, engine, overnight) -> None:
    engine.on(f"GET {AGENTS}", body, status)
    ran = overnight("agents", "list")

    assert ran.code == 1
    assert ran.error


def test_no_traceback_ever(engine, overnight, wire, monkeypatch) -> None:
    monkeypatch.delenv("OVERNIGHT_DEBUG")
    engine.on(f"GET {AGENTS}", {"unexpected": True})
    ran = overnight("agents", "list")

    assert ran.code == 1
    assert ran.error.startswith("unexpected KeyError: 'items'")


# Agents


def test_the_table_of_agents(engine, overnight, wire) -> None:
    paused = wire.agent("nightly", status="PAUSED", next_run_at=None, running=0, waiting=2)
    engine.on(f"GET {AGENTS}", wire.page(wire.agent(), paused, cursor="next"))

    ran = overnight("agents", "list", "--status", "active", "--limit", "2")

    assert ran.code == 0
    assert [line.split()[:2] for line in ran.out.splitlines()] == [
        ["NAME", "STATUS"],
        ["hello", "ACTIVE"],
        ["nightly", "PAUSED"],
    ]
    assert "1 running" in ran.out
    assert "2 waiting" in ran.out
    assert ran.err == "more: --cursor next\n"
    assert engine.requests[0].query == {"status": "ACTIVE", "limit": "2"}


def test_create_sends_a_whole_document(engine, overnight, wire, tmp_path) -> None:
    (tmp_path / "hello.json").write_text('{"data": {"nodes": [], "edges": []}}')
    engine.on(f"POST {AGENTS}", wire.agent(), 201)

    ran = overnight(
        "agents", "create", "hello", "--flow", str(tmp_path / "hello.json"), "--cron", "0 8 * * *", "--timezone",
        "Europe/Berlin", "--input", "hi", "--var", "KEY=secret:key", "--start",
    )  # fmt: skip

    assert ran.out.startswith("hello is ACTIVE; next run 2099-11-21")
    assert engine.requests[0].body == {
        "name": "hello",
        "flow": {"langflow": {"data": {"nodes": [], "edges": []}}},
        "enabled": True,
        "schedule": {"cron": "0 8 * * *", "timezone": "Europe/Berlin"},
        "input": {"input_value": "hi"},
        "variables": {"KEY": "secret:key"},
    }


def test_edit_sends_a_merge_patch(engine, overnight, wire) -> None:
    engine.on(f"PATCH {AGENTS}/hello", wire.agent())

    ran = overnight(
        "agents", "edit", "hello", "--set", "retries.attempts=5", "--set", "retries.jitter=none", "--set",
        "notify=null", "--set", 'input={"input_value": "x"}', "--if-version", "3",
    )  # fmt: skip

    assert ran.out == "hello is at version 4\n"
    assert engine.requests[0].headers["if-match"] == '"3"'
    assert engine.requests[0].headers["content-type"] == "application/merge-patch+json"
    assert engine.requests[0].body == {
        "retries": {"attempts": 5, "jitter": "none"},
        "notify": None,
        "input": {"input_value": "x"},
    }


def test_trigger_sends_what_it_is_given(engine, overnight, wire, tmp_path) -> None:
    (tmp_path / "order.json").write_text('{"order": 42}')
    engine.on(f"POST {AGENTS}/hello/trigger", wire.execution(status="pending"), 202)

    ran = overnight(
        "agents", "trigger", "hello", "--input", "hi", "--payload", f"@{tmp_path}/order.json", "--idempotency-key",
        "order-42", "--test",
    )  # fmt: skip

    assert ran.out == f"{wire.ID} is pending\n"
    assert engine.requests[0].headers["idempotency-key"] == "order-42"
    assert engine.requests[0].body == {"input_value": "hi", "payload": {"order": 42}, "test": True}


@pytest.mark.parametrize(
    ("status", "code", "told"), [("succeeded", 0, "Good morning"), ("failed", 1, "ConnectionError: the line is busy")]
)
def test_trigger_waits_for_the_end(status, code, told, engine, overnight, wire) -> None:
    failure = wire.FAILURE if status == "failed" else None
    looks = iter(["pending", "running", status, status])
    engine.on(f"POST {AGENTS}/hello/trigger", wire.execution(status="pending"), 202)
    engine.on(
        f"GET {EXECUTIONS}/{wire.ID}", lambda _: (200, wire.execution(status=next(looks), failure=failure, attempts=[]))
    )

    ran = overnight("agents", "trigger", "hello", "--wait")

    assert (ran.code, ran.err) == (code, "")
    assert told in ran.out


def test_delete_asks_first(engine, overnight, wire) -> None:
    engine.on(f"GET {AGENTS}/hello", wire.agent())
    engine.on(f"DELETE {AGENTS}/hello", None, 204)

    assert overnight("agents", "delete", "hello").error == "this deletes hello; say --yes"
    assert overnight("agents", "delete", "hello", "--yes").out == "hello is deleted\n"
    assert [request.method for request in engine.requests] == ["GET", "GET", "DELETE"]


def test_backfill_shows_its_plan_and_runs_it_when_told_to(engine, overnight, wire) -> None:
    plan = {"backfill_id": "b", "ticks": [{"trigger": "s", "nominal": "2026-11-20T08:00:00Z"}], "count": 1,
            "left_out": 2, "execution_ids": []}  # fmt: skip

    def answer(request):
        return 200, plan if request.query.get("dry_run") else plan | {"execution_ids": [wire.ID]}

    engine.on(f"POST {AGENTS}/hello/backfill", answer)
    span = ["--since", "2026-11-20T00:00:00+01:00", "--until", "2026-11-21T00:00:00Z"]

    unasked = overnight("agents", "backfill", "hello", *span)
    assert (unasked.code, unasked.error) == (2, "this runs 1 tick; say --yes, or --dry-run")
    assert "2 ticks left out" in unasked.out
    assert overnight("agents", "backfill", "hello", *span, "--yes").out.endswith("backfill b: 1 execution\n")
    assert engine.requests[-1].body == {"since": "2026-11-19T23:00:00Z", "until": "2026-11-21T00:00:00Z"}


# Executions


def test_executions_are_chosen_by_time(engine, overnight, wire) -> None:
    engine.on(f"GET {EXECUTIONS}", wire.page())

    ran = overnight(
        "executions", "list", "--agent", "hello", "--since", "2026-11-20T09:00:00+01:00", "--kind", "manual"
    )

    assert ran.out == "no executions\n"
    assert engine.requests[0].query == {
        "agent": "hello",
        "since": "2026-11-20T08:00:00Z",
        "kind": "manual",
        "limit": "20",
    }


def test_show_tells_all_that_happened(engine, overnight, wire) -> None:
    attempts = [wire.attempt(1, "failed", wire.FAILURE), wire.attempt(2, "succeeded")]
    engine.on(f"GET {EXECUTIONS}/{wire.ID}", wire.execution(attempts=attempts))

    out = overnight("executions", "show", wire.ID).out

    for told in ("hello (version 4)", "succeeded", "schedule", "Good morning", "ConnectionError: the line is busy"):
        assert told in out


def test_an_id_may_be_cut_short(engine, overnight, wire) -> None:
    engine.on(f"GET {EXECUTIONS}", wire.page(wire.execution(), wire.execution(id=wire.OTHER)))
    engine.on(f"GET {EXECUTIONS}/{wire.ID}", wire.execution(attempts=[]))

    assert overnight("executions", "show", wire.ID[:12].upper(), "--json").json["id"] == wire.ID
    assert overnight("executions", "show", "3f2a9c41").error.startswith("several executions begin with '3f2a9c41'")
    assert overnight("executions", "show", "ffff").error == "no execution begins with 'ffff'"
    assert overnight("executions", "show", "3f").error == "'3f' is too short for an id; give at least 4 digits"


def test_an_id_is_looked_for_among_the_newest_only(engine, overnight, wire) -> None:
    engine.on(f"GET {EXECUTIONS}", wire.page(*[wire.execution()] * 200, cursor="more"))

    ran = overnight("executions", "show", "ffff")

    assert ran.error == "no execution begins with 'ffff' among the newest 2,000; give its full id"
    assert len(engine.requests) == 10


@pytest.mark.parametrize(("status", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 1), ("skipped", 1)])
def test_watching_one_ends_with_it(status, code, engine, overnight, wire) -> None:
    looks = iter([("pending", 0), ("running", 1), ("running", 1), ("retrying", 1), ("running", 2), (status, 2)])

    def look(_):
        stands, attempt = next(looks)
        return 200, wire.execution(status=stands, attempt=attempt, attempts=[])

    engine.on(f"GET {EXECUTIONS}/{wire.ID}", look)
    ran = overnight("executions", "watch", wire.ID, "--json")

    assert ran.code == code
    seen = [json.loads(line) for line in ran.out.splitlines()]
    assert [(view["status"], view["attempt"]) for view in seen] == [
        ("pending", 0), ("running", 1), ("retrying", 1), ("running", 2), (status, 2),
    ]  # fmt: skip


def test_watching_all_tells_changes_until_interrupted(engine, overnight, wire, interrupt_after) -> None:
    old, new = wire.execution(), wire.execution(id=wire.OTHER, status="running")
    looks = iter([wire.page(old), wire.page(new, old), wire.page(new, old), wire.page(new | {"status": "failed"}, old)])
    engine.on(f"GET {EXECUTIONS}", lambda _: (200, next(looks)))
    interrupt_after(4)

    ran = overnight("executions", "watch", "--json")

    assert (ran.code, ran.err) == (130, "")
    assert [(view["id"], view["status"]) for view in map(json.loads, ran.out.splitlines())] == [
        (wire.OTHER, "running"),
        (wire.OTHER, "failed"),
    ]


@pytest.fixture
def interrupt_after(monkeypatch):
    """Ctrl-C in the n-th wait."""

    def after(waits: int) -> None:
        left = iter(range(waits - 1))

        def sleep(_: float) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt

        monkeypatch.setattr("time.sleep", sleep)

    return after


def test_redrive_in_bulk(engine, overnight) -> None:
    engine.on(f"POST {EXECUTIONS}/redrive", {"count": 3, "execution_ids": ["a", "b", "c"]})

    ran = overnight("executions", "redrive", "--agent", "hello", "--since", "2026-11-20T08:00:00Z", "--latest")

    assert ran.out == "redriven: 3 executions\n"
    assert engine.requests[0].body == {
        "agent": "hello",
        "status": "failed",
        "since": "2026-11-20T08:00:00Z",
        "latest": True,
    }


def test_logs_follow_until_the_end(engine, overnight, wire) -> None:
    looks, pages = iter(["running", "succeeded"]), iter([1, 2])
    line = {"at": "2026-11-20T08:00:00Z", "attempt": 1, "level": "info"}
    engine.on(f"GET {EXECUTIONS}/{wire.ID}", lambda _: (200, wire.execution(status=next(looks))))
    engine.on(
        f"GET {EXECUTIONS}/{wire.ID}/logs",
        lambda _: (200, wire.page(*(line | {"message": f"line {n}"} for n in range(next(pages))))),
    )

    assert [text.split()[-1] for text in overnight("executions", "logs", wire.ID, "-f").out.splitlines()] == ["0", "1"]


# Events, secrets, verify


def test_an_event_is_sent_with_its_data(engine, overnight, wire) -> None:
    engine.on("POST /api/v1/events", {"event_id": "u-7", "execution_ids": [wire.ID], "duplicate": True}, 202)

    ran = overnight("events", "send", "dataset.new", "--data", '{"size": 12}', "--id", "u-7")

    assert ran.out == f"event u-7: 1 execution, sent before\n  {wire.ID}\n"
    assert engine.requests[0].body == {"name": "dataset.new", "id": "u-7", "data": {"size": 12}}


def test_a_secret_is_read_from_standard_input(engine, overnight, monkeypatch) -> None:
    engine.on("PUT /api/v1/secrets/openai", None, 204)
    monkeypatch.setattr("sys.stdin", io.StringIO("sk-1\n"))
    ran = overnight("secrets", "set", "openai")

    assert ran.out == "openai is kept; refer to it as secret:openai\n"
    assert engine.requests[0].body == {"value": "sk-1"}
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert overnight("secrets", "set", "openai").error == "the value of openai is empty"


def test_verify_exits_1_on_findings(engine, overnight, wire) -> None:
    finding = {"kind": "hole", "agent": "hello", "trigger": "s", "at": "2026-11-20T08:00:00Z", "execution_id": None,
               "message": "no record of this tick"}  # fmt: skip
    engine.on("GET /api/v1/verify", {"ok": False, "findings": [finding], "agents": 1, "ticks": 1, "executions": 1})

    ran = overnight("verify", "--since", "2026-11-20T00:00:00Z")

    assert (ran.code, ran.err) == (1, "")
    assert "no record of this tick" in ran.out
    assert ran.out.endswith("1 finding in 1 agent, 1 tick, 1 unfinished execution\n")
    assert overnight("verify", "--json").code == 1
