"""What an upsert says of a flow's own trigger nodes before it is made."""

import httpx
from tests.support.flow_documents import flow, node

AGENT = "/api/v1/background_agents/agent"
SCHEDULE = node("Sched-1", "ScheduleTrigger", {"cron_expression": "0 8 * * *", "timezone": "UTC"})
SLACK = node("Slack-1", "SlackTrigger", {"event_payload": ""}, display_name="Slack")
PERSON = node("Human-1", "HumanInput", display_name="Ask")


def _plan(client: httpx.Client, **document: object) -> dict[str, object]:
    answer = client.put(AGENT, params={"dry_run": "true"}, json=document)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_dry_run_shows_the_flows_own_triggers_and_what_will_not_work(client):
    plan = _plan(client, flow={"langflow": flow(SCHEDULE, SLACK, PERSON, edges=(("Human-1", "Sched-1"),))})
    (trigger,) = plan["of_flow"]
    assert (trigger["name"], trigger["cron"]) == ("Sched-1", "0 8 * * *")
    slack, person = plan["warnings"]
    assert slack.startswith("Slack (Slack-1) is fired by nothing here; let Slack's Events API post")
    assert person.startswith("Ask (Human-1) waits for a person's approval")
    assert client.get(AGENT).status_code == 404


def test_a_document_with_triggers_of_its_own_has_none_of_the_flow(client):
    plan = _plan(client, flow={"langflow": flow(SCHEDULE)}, triggers=[{"name": "own", "cron": "0 9 * * *"}])
    assert plan["of_flow"] == []
    assert plan["warnings"] == []


def test_an_agent_is_stored_with_the_triggers_of_its_flow_and_patched_with_another(client, create):
    created = create("agent", flow={"langflow": flow(SCHEDULE)})
    assert [trigger["name"] for trigger in created["triggers"]] == ["Sched-1"]
    other = node("Sched-2", "ScheduleTrigger", {"cron_expression": "0 9 * * *"})
    patched = client.patch(AGENT, json={"flow": {"langflow": flow(other)}}).json()
    assert [trigger["name"] for trigger in patched["triggers"]] == ["Sched-2"]


def test_what_is_wrong_on_a_node_is_answered_by_its_name(client):
    wrong = node("Sched-1", "ScheduleTrigger", {"cron_expression": "61 8 * * *"}, display_name="Schedule")
    answer = client.post("/api/v1/background_agents", json={"name": "agent", "flow": {"langflow": flow(wrong)}})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "flow.langflow"
    assert error["message"].startswith("Schedule (Sched-1): cron: ")
