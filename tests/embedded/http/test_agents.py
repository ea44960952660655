"""Agents over HTTP: create, read, list, change, put, delete, and their life."""

from collections.abc import Callable

import httpx
import pytest
from tests.embedded.http.engine import Engine

AGENTS = "/api/v1/background_agents"
Create = Callable[..., dict[str, object]]
LANGFLOW = {"name": "Hello", "data": {"nodes": [], "edges": []}}


def test_a_new_agent_is_answered_with_where_it_is_read_and_its_version(client: httpx.Client) -> None:
    answer = client.post(AGENTS, json={"name": "report", "flow": {"python": "reports.daily:run"}})
    assert answer.status_code == 201
    agent = answer.json()
    assert answer.headers["Location"] == f"{AGENTS}/{agent['id']}"
    assert answer.headers["ETag"] == '"1"'
    assert (agent["status"], agent["version"], agent["running"], agent["waiting"]) == ("STOPPED", 1, 0, 0)
    assert client.get(answer.headers["Location"]).json() == agent
    assert client.get(f"{AGENTS}/report").json() == agent


def test_an_enabled_agent_is_armed(create: Create) -> None:
    agent = create(schedule={"cron": "0 8 * * *"})
    assert (agent["status"], agent["next_run_at"]) == ("ACTIVE", "2026-11-21T08:00:00Z")


def test_what_is_read_can_be_put_back(client: httpx.Client, create: Create) -> None:
    exclude = {"ranges": [{"from": "2026-12-24", "to": "2026-12-26"}]}
    agent = create(triggers=[{"name": "a", "cron": "0 8 * * *", "exclude": exclude}], flow={"langflow": LANGFLOW})
    known = {"id", "version", "status", "note", "changed_at", "created_at", "updated_at", "declared", "last_run_at"}
    known |= {"next_run_at", "running", "waiting"}
    document = {field: value for field, value in agent.items() if field not in known}
    answer = client.put(f"{AGENTS}/report", json=document)
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"1"')
    assert answer.json() == agent


def test_a_langflow_flow_is_kept_by_its_digest_and_named_by_its_file(client: httpx.Client, engine: Engine) -> None:
    first = client.post(AGENTS, json={"name": "one", "flow": {"langflow": LANGFLOW}}).json()
    digest = first["flow"]["langflow"]
    assert first["flow"] == {"langflow": digest, "name": "Hello"}
    assert engine.ports.blobs.get(digest) == b'{"data":{"edges":[],"nodes":[]},"name":"Hello"}'
    second = client.post(AGENTS, json={"name": "two", "flow": {"langflow": digest}})
    assert second.status_code == 201


def test_nothing_invalid_is_stored(client: httpx.Client, engine: Engine) -> None:
    blobs = {path for path in engine.data.rglob("*") if path.is_file()}
    answer = client.post(AGENTS, json={"name": "no name", "flow": {"langflow": LANGFLOW}})
    assert answer.status_code == 422
    assert {path for path in engine.data.rglob("*") if path.is_file()} == blobs
    assert client.get(AGENTS).json() == {"items": [], "cursor": None}


def test_agents_are_listed_by_name_in_pages(client: httpx.Client, create: Create) -> None:
    for name in ("c", "a", "d", "b", "e"):
        create(name)
    names: list[str] = []
    cursor: dict[str, str] = {}
    pages = 0
    while True:
        page = client.get(AGENTS, params={"limit": 2, **cursor}).json()
        names += [agent["name"] for agent in page["items"]]
        pages += 1
        if page["cursor"] is None:
            break
        cursor = {"cursor": page["cursor"]}
    assert (names, pages) == (["a", "b", "c", "d", "e"], 3)


def test_agents_are_listed_by_status(client: httpx.Client, create: Create) -> None:
    create("on")
    create("off", enabled=False)
    answer = client.get(AGENTS, params={"status": "STOPPED"}).json()
    assert [agent["name"] for agent in answer["items"]] == ["off"]


PATCHES = [
    ({"description": "new"}, {"description": "new"}),
    ({"retries": {"attempts": 7}}, {"retries.attempts": 7, "retries.backoff_seconds": 5}),
    ({"retries": None}, {"retries.attempts": 3, "retries.backoff_seconds": 60}),
    ({"schedule": {"cron": "0 9 * * *"}}, {"triggers.0.cron": "0 9 * * *", "triggers.0.timezone": "Europe/Berlin"}),
    ({"schedule": {"interval": {"hours": 2}}}, {"triggers.0.interval.hours": 2, "triggers.0.timezone": "UTC"}),
    ({"schedule": None}, {"triggers": []}),
    ({"triggers": []}, {"triggers": []}),
    ({"trigger_type": "cron", "trigger_config": {"hour": 7}}, {"triggers.0.cron": "0 7 * * *"}),
    ({"flow": {"langflow": LANGFLOW}}, {"flow.name": "Hello"}),
    ({"variables": {"KEY": "secret:key"}}, {"variables": {"KEY": "secret:key"}}),
]


@pytest.mark.parametrize(("patch", "expected"), PATCHES)
def test_a_patch_changes_what_it_names_and_nothing_else(
    client: httpx.Client, create: Create, patch: dict[str, object], expected: dict[str, object]
) -> None:
    schedule = {"cron": "0 8 * * *", "timezone": "Europe/Berlin"}
    before = create(schedule=schedule, retries={"attempts": 2, "backoff_seconds": 5})
    answer = client.patch(f"{AGENTS}/report", json=patch)
    assert answer.status_code == 200, answer.text
    assert answer.headers["ETag"] == '"2"'
    after = answer.json()
    for path, value in expected.items():
        assert _at(after, path) == value, path
    changed = {path.split(".")[0] for path in expected} | {"version", "updated_at", "next_run_at"}
    assert {field: after[field] for field in after.keys() - changed} == {
        field: before[field] for field in before.keys() - changed
    }


def test_a_lost_update_is_412_never_a_silent_overwrite(client: httpx.Client, create: Create) -> None:
    create()
    read = client.get(f"{AGENTS}/report").headers["ETag"]
    assert client.patch(f"{AGENTS}/report", json={"description": "mine"}, headers={"If-Match": read}).is_success
    late = client.patch(f"{AGENTS}/report", json={"description": "his"}, headers={"If-Match": read})
    assert (late.status_code, late.json()["code"]) == (412, "edit_conflict")
    for refused in (client.put, client.delete):
        body = {"json": {"flow": {"python": "a:b"}}} if refused == client.put else {}
        assert refused(f"{AGENTS}/report", headers={"If-Match": read}, **body).status_code == 412
    assert client.get(f"{AGENTS}/report").json()["description"] == "mine"


def test_an_unchanged_document_makes_no_new_version(client: httpx.Client, create: Create) -> None:
    create()
    assert client.patch(f"{AGENTS}/report", json={"description": ""}).headers["ETag"] == '"1"'


def test_put_creates_then_replaces_then_changes_nothing(client: httpx.Client) -> None:
    document = {"name": "report", "flow": {"python": "a:b"}, "description": "one"}
    url = f"{AGENTS}/report"
    plans = [client.put(url, params={"dry_run": True}, json=document).json()]
    assert client.get(url).status_code == 404
    statuses = [client.put(url, json=document).status_code]
    plans.append(client.put(url, params={"dry_run": True}, json=document).json())
    other = {**document, "description": "two", "timeout_seconds": 5}
    plans.append(client.put(url, params={"dry_run": True}, json=other).json())
    statuses += [client.put(url, json=other).status_code, client.put(url, json=other).status_code]
    assert [(plan["action"], plan["changed"]) for plan in plans] == [
        ("create", ["description", "flow", "name"]),
        ("unchanged", []),
        ("update", ["description", "timeout_seconds"]),
    ]
    assert statuses == [201, 200, 200]
    assert client.get(url).json()["version"] == 2


def test_put_of_another_name_renames_an_agent_that_is_there_and_creates_none(
    client: httpx.Client, create: Create
) -> None:
    document = {"name": "other", "flow": {"python": "a:b"}}
    refused = client.put(f"{AGENTS}/report", json=document)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "name")
    agent = create()
    renamed = client.put(f"{AGENTS}/report", json=document).json()
    assert (renamed["id"], renamed["name"]) == (agent["id"], "other")


def test_a_deleted_agent_is_gone_and_its_name_is_free(client: httpx.Client, create: Create) -> None:
    id_ = create()["id"]
    answer = client.delete(f"{AGENTS}/report")
    assert (answer.status_code, answer.content) == (204, b"")
    for ref in ("report", id_):
        for part in ("", "/status", "/notifications"):
            assert client.get(f"{AGENTS}/{ref}{part}").status_code == 404
        for verb in ("start", "stop", "pause", "resume", "trigger"):
            assert client.post(f"{AGENTS}/{ref}/{verb}").status_code == 404
        assert client.patch(f"{AGENTS}/{ref}", json={"flow": "wrong"}).status_code == 404
        assert client.delete(f"{AGENTS}/{ref}").status_code == 404
    for how in ({}, {"dry_run": True}):
        assert client.put(f"{AGENTS}/{id_}", json={"flow": {"python": "a:b"}}, params=how).status_code == 404
    assert client.put(f"{AGENTS}/report", json={"flow": {"python": "a:b"}}).status_code == 201
    assert client.get(f"{AGENTS}/report").json()["id"] != id_


def test_the_life_of_an_agent(client: httpx.Client, create: Create) -> None:
    create(enabled=False, schedule={"cron": "0 8 * * *"})

    def move(verb: str, **more: object) -> tuple[str, object]:
        answer = client.post(f"{AGENTS}/report/{verb}", **more)
        assert answer.is_success, answer.text
        return answer.json()["status"], answer.json()["note"]

    assert move("start") == ("ACTIVE", None)
    assert move("start") == ("ACTIVE", None)
    assert move("pause", json={"note": "until it is mended"}) == ("PAUSED", "until it is mended")
    assert move("resume") == ("ACTIVE", None)
    assert move("pause") == ("PAUSED", None)
    assert move("stop", params={"cancel_running": True}) == ("STOPPED", None)
    refused = client.post(f"{AGENTS}/report/resume")
    assert (refused.status_code, refused.json()["code"]) == (409, "agent_stopped")


def test_the_status_tells_what_runs_what_waits_and_what_ticks_next(client: httpx.Client, create: Create) -> None:
    agent = create(schedule={"cron": "0 8 * * *"})
    first, second = (client.post(f"{AGENTS}/report/trigger").json()["id"] for _ in range(2))
    assert client.get(f"{AGENTS}/report/status").json() == {
        "id": agent["id"],
        "name": "report",
        "status": "ACTIVE",
        "note": None,
        "changed_at": "2026-11-20T12:00:00Z",
        "last_run_at": None,
        "next_run_at": "2026-11-21T08:00:00Z",
        "running": [{"execution_id": first, "attempt": 1, "since": "2026-11-20T12:00:00Z"}],
        "waiting": [second],
        "schedules": [
            {
                "trigger": "schedule",
                "next_tick_at": "2026-11-21T08:00:00Z",
                "last_tick_at": None,
                "armed_since": "2026-11-20T12:00:00Z",
            }
        ],
        "failures": 0,
    }


def test_a_task_is_an_agent_and_a_run_is_an_execution(client: httpx.Client) -> None:
    tasks = "/api/background/tasks"
    created = client.post(tasks, json={"name": "report", "flow": {"python": "a:b"}, "enabled": True})
    assert created.status_code == 201
    assert client.get(f"{AGENTS}/report").json() == created.json() == client.get(f"{tasks}/report").json()
    assert client.get(tasks).json() == client.get(AGENTS).json()
    assert client.post(f"{tasks}/report/pause").json()["status"] == "PAUSED"
    assert client.post(f"{tasks}/report/resume").json()["status"] == "ACTIVE"
    run = client.post(f"{AGENTS}/report/trigger").json()
    assert client.get(f"{tasks}/report/runs").json() == {"items": [run], "cursor": None}


def _at(value: object, path: str) -> object:
    for key in path.split("."):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value
