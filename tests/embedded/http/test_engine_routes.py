"""Events, schedules, secrets, verify, health, schema, metrics: what is asked of the engine as a whole."""

from collections.abc import Callable
from itertools import cycle

import httpx
import pytest
from tests.embedded.http.engine import Engine

from overnight.client import Client

AGENTS = "/api/v1/background_agents"
Create = Callable[..., dict[str, object]]
ON_DATASET = [{"name": "new-data", "event": {"name": "dataset.*", "filter": "size > `0`"}}]


@pytest.mark.parametrize(
    ("url", "named"),
    [("/api/v1/events", {"name": "dataset.created"}), ("/api/background/triggers/dataset.created", {})],
)
def test_an_event_reaches_its_subscribers_once(
    client: httpx.Client, create: Create, url: str, named: dict[str, str]
) -> None:
    create("one", triggers=ON_DATASET)
    create("two", triggers=ON_DATASET)
    event = {**named, "id": "e-1", "data": {"size": 7}}
    first = client.post(url, json=event)
    again = client.post(url, json=event)
    assert (first.status_code, first.json()["duplicate"], first.json()["event_id"]) == (202, False, "e-1")
    assert len(first.json()["execution_ids"]) == 2
    assert (again.status_code, again.json()) == (200, {**first.json(), "duplicate": True})
    payload = client.get(f"/api/v1/executions/{first.json()['execution_ids'][0]}").json()["payload"]
    assert payload == {"id": "e-1", "name": "dataset.created", "data": {"size": 7}}


def test_schedules_are_listed_in_words_for_people(client: httpx.Client, create: Create) -> None:
    create("a", schedule={"cron": "0 8 * * 1-5", "timezone": "Europe/Berlin"})
    create(
        "b",
        enabled=False,
        triggers=[
            {"name": "often", "interval": {"hours": 1, "minutes": 30}},
            {"name": "once", "date": "2026-12-24T18:00:00+01:00"},
            {"name": "hook", "webhook": {}},
        ],
    )
    assert client.get("/api/v1/schedules").json() == {
        "items": [
            {
                "agent": "a",
                "trigger": "schedule",
                "kind": "cron",
                "expression": "cron 0 8 * * 1-5",
                "timezone": "Europe/Berlin",
                "next_tick_at": "2026-11-23T07:00:00Z",
                "status": "ACTIVE",
            },
            {
                "agent": "b",
                "trigger": "often",
                "kind": "interval",
                "expression": "every 1 hour 30 minutes",
                "timezone": "UTC",
                "next_tick_at": None,
                "status": "STOPPED",
            },
            {
                "agent": "b",
                "trigger": "once",
                "kind": "date",
                "expression": "once at 2026-12-24T17:00:00Z",
                "timezone": "UTC",
                "next_tick_at": None,
                "status": "STOPPED",
            },
        ],
        "cursor": None,
    }


def test_a_page_of_schedules_may_end_in_the_midst_of_an_agent(client: httpx.Client, create: Create) -> None:
    for name in "abcde":
        create(name, triggers=[{"name": f"t{n}", "interval": {"hours": n + 1}} for n in range(3)])
    create("f", triggers=ON_DATASET)
    expected = [f"{name}{n}" for name in "abcde" for n in range(3)]
    for limits in ((1,), (4,), (6,), (200,), (4, 1, 2)):
        seen: list[str] = []
        query: dict[str, object] = {}
        for limit in cycle(limits):
            page = client.get("/api/v1/schedules", params=query | {"limit": limit}).json()
            assert len(page["items"]) <= limit
            seen += [item["agent"] + item["trigger"][1:] for item in page["items"]]
            if page["cursor"] is None:
                break
            query["cursor"] = page["cursor"]
        assert seen == expected
    of_one = client.get("/api/v1/schedules", params={"agent": "b", "limit": 2}).json()
    rest = client.get("/api/v1/schedules", params={"agent": "b", "limit": 2, "cursor": of_one["cursor"]}).json()
    assert [item["trigger"] for item in of_one["items"] + rest["items"]] == ["t0", "t1", "t2"]
    assert rest["cursor"] is None


def test_a_listing_is_as_long_as_was_asked_for_however_few_agents_have_what_it_lists(
    client: httpx.Client, create: Create
) -> None:
    for name in "abcdefghij":
        create(name, triggers=[{"name": "t", "interval": {"hours": 1}}] if name in "aj" else ON_DATASET)
    page = client.get("/api/v1/schedules", params={"limit": 2}).json()
    assert ([item["agent"] for item in page["items"]], page["cursor"]) == (["a", "j"], None)
    assert client.get("/api/v1/webhooks").json() == {"items": [], "cursor": None}


def test_secrets_are_set_and_forgotten_and_never_shown(client: httpx.Client, engine: Engine) -> None:
    secrets = "/api/v1/secrets"
    assert client.put(f"{secrets}/openai", json={"value": "sk-123"}).status_code == 204
    assert client.put(f"{secrets}/another", json={"value": "x"}).status_code == 204
    assert client.get(secrets).json() == {"items": [{"name": "another"}, {"name": "openai"}]}
    assert engine.ports.secrets.resolve("secret:openai") == "sk-123"
    assert client.delete(f"{secrets}/openai").status_code == 204
    assert client.delete(f"{secrets}/openai").status_code == 404
    too_long = client.put(f"{secrets}/openai", json={"value": "é" * 3_000})
    assert too_long.json()["errors"] == [{"field": "value", "message": "may have at most 4,096 bytes in UTF-8"}]


def test_verify_proves_the_ledger(client: httpx.Client, engine: Engine, create: Create) -> None:
    create(schedule={"interval": {"hours": 1}})
    sound = client.get("/api/v1/verify", params={"since": "2026-11-20T00:00:00Z"}).json()
    assert (sound["ok"], sound["findings"], sound["agents"]) == (True, [], 1)
    engine.after(2 * 3_600)
    broken = client.get("/api/v1/verify", params={"agent": "report"}).json()
    assert not broken["ok"]
    hole = next(finding for finding in broken["findings"] if finding["kind"] == "hole")
    assert (hole["agent"], hole["trigger"], hole["at"]) == ("report", "schedule", "2026-11-20T13:00:00Z")


def test_verify_goes_page_by_page_and_the_client_through_all_of_them(
    client: httpx.Client, engine: Engine, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abcde":
        create(name, schedule={"interval": {"hours": 1}})
    engine.after(3 * 3_600)
    whole = client.get("/api/v1/verify").json()
    assert (whole["agents"], whole["cursor"]) == (5, None)
    monkeypatch.setattr("overnight.core.verify.walk.AGENTS", 2)
    page = client.get("/api/v1/verify").json()
    assert (page["agents"], len(page["findings"]) < len(whole["findings"])) == (2, True)
    with Client(str(client.base_url)) as walking:
        walked = walking.verify()
    for report in (walked, whole):
        report["findings"].sort(key=str)
    assert walked == whole
    assert client.get("/api/v1/verify", params={"cursor": "x"}).status_code == 422


def test_health_asks_the_store(client: httpx.Client, engine: Engine) -> None:
    assert client.get("/health").json()["status"] == "ok"
    engine.database.close()
    down = client.get("/health")
    assert (down.status_code, down.json()["code"]) == (503, "unavailable")
    assert int(down.headers["Retry-After"]) > 0


def test_metrics_are_those_of_the_registry(client: httpx.Client) -> None:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "overnight_things_total 3.0" in answer.text


def test_the_page_to_try_it_needs_nothing_but_this_server(client: httpx.Client) -> None:
    answer = client.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "//" not in answer.text.replace("http://www.w3.org/2000/svg", "")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
