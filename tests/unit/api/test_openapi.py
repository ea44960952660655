"""The OpenAPI document and the JSON Schema of agents.yaml say what is true, and always the same."""

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import jsonschema_rs
import pytest
from aws_lambda_powertools.event_handler import HttpResolverLocal

from overnight.api.app import mount
from overnight.api.documents import accept
from overnight.api.openapi import document
from overnight.api.schemas import schema
from overnight.cli.yaml_file import load

MISSION = {
    "/api/v1/background_agents": {"get", "post"},
    "/api/v1/background_agents/{agent}": {"get", "put", "patch", "delete"},
    "/api/v1/background_agents/{agent}/start": {"post"},
    "/api/v1/background_agents/{agent}/stop": {"post"},
    "/api/v1/background_agents/{agent}/pause": {"post"},
    "/api/v1/background_agents/{agent}/resume": {"post"},
    "/api/v1/background_agents/{agent}/trigger": {"post"},
    "/api/v1/background_agents/{agent}/status": {"get"},
    "/api/v1/background_agents/{agent}/backfill": {"post"},
    "/api/v1/background_agents/{agent}/executions": {"get"},
    "/api/v1/background_agents/{agent}/executions/{execution_id}": {"get"},
    "/api/v1/background_agents/{agent}/notifications": {"get"},
    "/api/v1/executions": {"get"},
    "/api/v1/executions/redrive": {"post"},
    "/api/v1/executions/{execution_id}": {"get"},
    "/api/v1/executions/{execution_id}/cancel": {"post"},
    "/api/v1/executions/{execution_id}/redrive": {"post"},
    "/api/v1/executions/{execution_id}/replay": {"post"},
    "/api/v1/executions/{execution_id}/logs": {"get"},
    "/api/v1/webhooks": {"get"},
    "/api/v1/webhooks/{hook_id}": {"get", "post"},
    "/api/v1/webhooks/{hook_id}/secret": {"get"},
    "/api/v1/webhooks/{hook_id}/rotate-secret": {"post"},
    "/api/v1/events": {"post"},
    "/api/v1/schedules": {"get"},
    "/api/v1/secrets": {"get"},
    "/api/v1/secrets/{name}": {"put", "delete"},
    "/api/v1/verify": {"get"},
    "/api/v1/schema/agents": {"get"},
    "/api/background/tasks": {"get", "post"},
    "/api/background/tasks/{agent}": {"get"},
    "/api/background/tasks/{agent}/pause": {"post"},
    "/api/background/tasks/{agent}/resume": {"post"},
    "/api/background/tasks/{agent}/runs": {"get"},
    "/api/background/triggers/{name}": {"post"},
    "/health": {"get"},
}
FRONT_DOOR = "post /api/v1/webhooks/{hook_id}"
"""Where what is not there is answered like what is refused."""
DOCUMENT = """
agents:
  - name: daily-report
    description: Sales of yesterday
    flow: flows/daily_report.json
    enabled: true
    schedule: {cron: "0 8 * * 1-5", timezone: Europe/Berlin}
    triggers:
      - {name: hourly, interval: {hours: 1}, start_at: "2026-12-01T00:00:00Z", jitter_seconds: 30}
      - {name: launch, date: "2026-12-24T18:00:00+01:00"}
      - {name: github, webhook: {signature: github}}
      - {name: new-data, event: {name: dataset.*, filter: "size > `0`", input: "{input_value: summary}"}}
    input: {input_value: "Report on yesterday", input_type: chat, output_type: chat, tweaks: {}, share_session: false}
    variables: {OPENAI_API_KEY: "secret:openai"}
    retries: {attempts: 3, backoff_seconds: 60}
    concurrency: {max_parallel: 1, on_overlap: queue, queue_limit: 100}
    timeout_seconds: 600
    start_deadline_seconds: 3600
    notify: {on: [failed, recovered], url: "https://example.com/hook"}
    retention_days: 30
"""
"""The one of semantics.md."""


def _document(*, token: bool = False) -> dict[str, Any]:
    resolver = mount(HttpResolverLocal(enable_validation=True), None)
    return document(resolver, token=token)


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    return _document()


def _operations(said: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, each) for path, item in said["paths"].items() for method, each in item.items()]


def test_it_has_every_route_of_the_mission_and_no_other(said: dict[str, Any]) -> None:
    assert {path: set(item) for path, item in said["paths"].items()} == MISSION


def test_every_operation_has_an_id_a_tag_and_its_answers(said: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in _operations(said)]
    assert len(set(ids)) == len(ids)
    tags = {tag["name"] for tag in said["tags"]}
    for path, method, operation in _operations(said):
        where = f"{method} {path}"
        assert set(operation["tags"]) <= tags, where
        statuses = set(operation["responses"])
        assert {"400", "403", "422", "500", "503"} <= statuses, where
        assert statuses & {"200", "201", "202", "204"}, where
        assert ("404" in statuses) >= ("{" in path and where != FRONT_DOOR), where
        assert ({"413", "415"} <= statuses) == ("requestBody" in operation), where


def test_every_reference_leads_somewhere_and_nothing_of_powertools_is_left(said: dict[str, Any]) -> None:
    text = json.dumps(said)
    for reference in {part.split('"')[0] for part in text.split('"$ref": "')[1:]}:
        at: Any = said
        for key in reference.removeprefix("#/").split("/"):
            at = at[key]
    assert "ValidationError" not in text


def test_a_token_is_asked_for_everywhere_but_for_health() -> None:
    said = _document(token=True)
    assert said["security"] == [{"bearer": []}]
    assert said["paths"]["/health"]["get"]["security"] == []
    for path, _, operation in _operations(said):
        assert ("401" in operation["responses"]) == (path != "/health")
    assert "security" not in _document()


def test_it_is_the_same_in_every_process() -> None:
    program = (
        "import json; from aws_lambda_powertools.event_handler import HttpResolverLocal;"
        "from overnight.api.app import mount; from overnight.api.openapi import document;"
        "print(json.dumps(document(mount(HttpResolverLocal(enable_validation=True), None), token=True)))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_its_examples_are_accepted(said: dict[str, Any]) -> None:
    body = said["paths"]["/api/v1/background_agents"]["post"]["requestBody"]["content"]["application/json"]
    blobs = SimpleNamespace(put=lambda _: "")
    for example in body["examples"].values():
        accept(SimpleNamespace(blobs=blobs), example["value"])


def test_the_document_of_semantics_md_is_valid_by_the_schema() -> None:
    validator = jsonschema_rs.validator_for(schema())
    assert not list(validator.iter_errors(load(DOCUMENT)[0]))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "no blanks"},
        {"flow": {}},
        {"colour": "blue"},
        {"schedule": {"cron": "0 8 * * *", "interval": {"hours": 1}}},
        {"triggers": [{"cron": "0 8 * * *"}]},
        {"variables": {"KEY": "sk-123"}},
        {"retries": {"attempts": 0}},
    ],
)
def test_what_is_wrong_is_wrong_by_the_schema(change: dict[str, Any]) -> None:
    validator = jsonschema_rs.validator_for(schema())
    agent = load(DOCUMENT)[0]["agents"][0] | change
    assert list(validator.iter_errors({"agents": [agent]}))
