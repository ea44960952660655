"""Executions over HTTP: trigger, list, read, cancel, redrive, logs, backfill."""

from collections.abc import Callable

import httpx
import pytest
from tests.embedded.http.engine import Engine

AGENTS = "/api/v1/background_agents"
EXECUTIONS = "/api/v1/executions"
Create = Callable[..., dict[str, object]]


def test_a_trigger_is_answered_when_it_is_durable_and_runs_then(
    client: httpx.Client, engine: Engine, create: Create
) -> None:
    agent = create()
    answer = client.post(f"{AGENTS}/report/trigger", json={"input_value": "hi", "payload": {"order": 42}})
    assert answer.status_code == 202
    pending = answer.json()
    assert answer.headers["Location"] == f"{EXECUTIONS}/{pending['id']}"
    assert (pending["status"], pending["agent"], pending["agent_id"]) == ("pending", "report", agent["id"])
    assert (pending["payload"], pending["input"]) == ({"order": 42}, {"input_value": "hi"})
    engine.work()
    done = client.get(answer.headers["Location"]).json()
    assert (done["status"], done["output"]) == ("succeeded", {"text": "ran hi", "outputs": {}})
    assert [(each["number"], each["outcome"]) for each in done["attempts"]] == [(1, "succeeded")]
    assert client.get(f"{AGENTS}/report/executions/{pending['id']}").json() == done


def test_a_trigger_needs_no_body(client: httpx.Client, create: Create) -> None:
    create()
    assert client.post(f"{AGENTS}/report/trigger").status_code == 202


def test_a_large_payload_is_read_back_transparently(client: httpx.Client, create: Create) -> None:
    create()
    payload = {"text": "x" * 500_000}
    execution = client.post(f"{AGENTS}/report/trigger", json={"payload": payload}).json()
    assert client.get(f"{EXECUTIONS}/{execution['id']}").json()["payload"] == payload


def test_the_same_idempotency_key_is_the_same_execution(client: httpx.Client, create: Create) -> None:
    create()
    url, key = f"{AGENTS}/report/trigger", {"Idempotency-Key": "order-42"}
    first = client.post(url, json={"input_value": "hi"}, headers=key)
    again = client.post(url, json={"input_value": "hi"}, headers=key)
    other = client.post(url, json={"input_value": "ho"}, headers=key)
    assert (first.status_code, again.status_code, other.status_code) == (202, 200, 422)
    assert first.json() == again.json()
    assert other.json()["errors"][0]["field"] == "Idempotency-Key"


def test_without_a_free_slot_an_agent_that_is_not_active_refuses(client: httpx.Client, create: Create) -> None:
    create(enabled=False)
    assert client.post(f"{AGENTS}/report/trigger").status_code == 202
    refused = client.post(f"{AGENTS}/report/trigger")
    assert (refused.status_code, refused.json()["code"]) == (409, "no_free_slot")


def test_a_full_line_is_429_with_retry_after(client: httpx.Client, create: Create) -> None:
    create(concurrency={"queue_limit": 1})
    assert [client.post(f"{AGENTS}/report/trigger").status_code for _ in range(2)] == [202, 202]
    full = client.post(f"{AGENTS}/report/trigger")
    assert (full.status_code, full.json()["code"]) == (429, "line_full")
    assert int(full.headers["Retry-After"]) > 0


def test_executions_are_listed_newest_first_in_pages_and_by_filter(
    client: httpx.Client, engine: Engine, create: Create
) -> None:
    create("one")
    create("two")
    ids = []
    for name, value in (("one", "a"), ("two", "fail"), ("one", "fail"), ("two", "b")):
        ids.append(client.post(f"{AGENTS}/{name}/trigger", json={"input_value": value}).json()["id"])
        engine.work()
        engine.after(60)

    def listed(url: str = EXECUTIONS, **query: object) -> list[int]:
        answer = client.get(url, params=query)
        assert answer.is_success, answer.text
        return [ids.index(item["id"]) for item in answer.json()["items"]]

    assert listed() == [3, 2, 1, 0]
    assert listed(agent="one") == listed(f"{AGENTS}/one/executions") == [2, 0]
    assert listed(status="failed") == [2, 1]
    assert listed(status=["failed", "succeeded"]) == [3, 2, 1, 0]
    assert listed(kind="schedule") == []
    assert listed(since="2026-11-20T12:01:00Z", until="2026-11-20T13:03:00+01:00") == [2, 1]
    first = client.get(EXECUTIONS, params={"limit": 3}).json()
    rest = client.get(EXECUTIONS, params={"limit": 3, "cursor": first["cursor"]}).json()
    assert [ids.index(item["id"]) for item in first["items"] + rest["items"]] == [3, 2, 1, 0]
    assert rest["cursor"] is None


def test_an_execution_of_another_agent_is_not_found_under_this_one(client: httpx.Client, create: Create) -> None:
    create("one")
    create("two")
    execution = client.post(f"{AGENTS}/one/trigger").json()["id"]
    assert client.get(f"{AGENTS}/two/executions/{execution}").status_code == 404


def test_a_cancelled_execution_stays_so(client: httpx.Client, engine: Engine, create: Create) -> None:
    create()
    execution = client.post(f"{AGENTS}/report/trigger").json()["id"]
    for _ in range(2):
        cancelled = client.post(f"{EXECUTIONS}/{execution}/cancel").json()
        assert (cancelled["status"], cancelled["reason"]) == ("cancelled", "requested")
        engine.work()


def test_a_failed_execution_is_redriven_alone_or_with_all_others(
    client: httpx.Client, engine: Engine, create: Create
) -> None:
    create()
    ids = [
        client.post(f"{AGENTS}/report/trigger", json={"input_value": value}).json()["id"] for value in ("fail", "ok")
    ]
    engine.work()
    refused = client.post(f"{EXECUTIONS}/{ids[1]}/redrive")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_redrivable")
    redriven = client.post(f"{EXECUTIONS}/{ids[0]}/redrive", params={"latest": True}).json()
    assert (redriven["status"], redriven["redrives"]) == ("pending", 1)
    engine.work()
    answer = client.post(f"{EXECUTIONS}/redrive", json={"agent": "report", "since": "2026-11-20T00:00:00Z"})
    assert answer.json() == {"count": 1, "execution_ids": [ids[0]]}


def test_the_logs_say_what_was_printed_and_why_it_failed(client: httpx.Client, engine: Engine, create: Create) -> None:
    create()
    execution = client.post(f"{AGENTS}/report/trigger", json={"input_value": "fail"}).json()["id"]
    engine.work()
    at = "2026-11-20T12:00:00Z"
    assert client.get(f"{EXECUTIONS}/{execution}/logs").json() == {
        "items": [
            {"at": at, "attempt": 1, "level": "info", "message": "about to fail"},
            {"at": at, "attempt": 1, "level": "error", "message": "ValueError: it was told to"},
        ]
    }


def test_a_backfill_shows_its_plan_before_it_runs(client: httpx.Client, engine: Engine, create: Create) -> None:
    create(schedule={"cron": "0 8 * * *"}, concurrency={"max_parallel": None})
    engine.after(3 * 86_400)
    asked = {"since": "2026-11-10T00:00:00Z", "until": "2026-11-13T00:00:00Z"}
    url = f"{AGENTS}/report/backfill"
    plan = client.post(url, params={"dry_run": True}, json=asked).json()
    assert plan["ticks"] == [{"trigger": "schedule", "nominal": f"2026-11-{day}T08:00:00Z"} for day in (10, 11, 12)]
    assert (plan["count"], plan["left_out"], plan["execution_ids"]) == (3, 0, [])
    done = client.post(url, json=asked).json()
    assert (done["backfill_id"], len(done["execution_ids"])) == (plan["backfill_id"], 3)


@pytest.mark.parametrize("path", ["/cancel", "/redrive", "/logs", ""])
def test_an_unknown_execution_is_404(client: httpx.Client, path: str) -> None:
    verb = "POST" if path in {"/cancel", "/redrive"} else "GET"
    answer = client.request(verb, f"{EXECUTIONS}/{'0' * 32}{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "execution_not_found")
