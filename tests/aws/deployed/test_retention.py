"""What a deployed stack removes, and what it keeps."""

from datetime import timedelta

from tests.aws.harness.account import calling, shared_client
from tests.aws.harness.stack import Stack, statuses
from tests.support.aws import time_to_live

LARGE = {"text": "x" * 5_000}
FLOW = {"langflow": {"name": "Unused", "data": {"nodes": [], "edges": []}}}


def blobs(stack: Stack) -> set[str]:
    found = stack.account.client("s3").list_objects_v2(Bucket=stack.cloud.outputs["BlobsName"]).get("Contents", [])
    return {one["Key"] for one in found}


def pass_days(stack: Stack, days: int) -> None:
    """Days of which the watchdog sees two minutes, and in which DynamoDB deletes what has a time to live."""
    for _ in range(days):
        stack.advance((stack.now.replace(minute=40) + timedelta(days=1) - stack.now).total_seconds())
        with calling(stack.account.owner):
            time_to_live(stack.cloud.outputs["TableName"], stack.now, 1_000, shared_client("dynamodb"))
        stack.live(minutes=2)


def test_nothing_is_left_of_a_deleted_agent_and_all_of_one_that_lives(stack):
    stack.agent("gone", retention_days=7)
    stack.agent("stays", retention_days=90)
    stack.agent("flows", flow=FLOW, retention_days=7)
    for name in ("gone", "stays"):
        stack.stage.says(name, lambda _: LARGE)
        stack.client.trigger(name, payload=LARGE)
    stack.live(seconds=5)
    stack.client.edit_agent("flows", {"flow": {"python": "acts:run"}})
    (row,) = stack.rows("stays")
    assert len(blobs(stack)) == 5
    gone = stack.client.agent("gone")["id"]
    stack.client.delete_agent("gone")
    pass_days(stack, 6)
    assert len(blobs(stack)) == 5
    pass_days(stack, 12)
    assert statuses(stack.rows("stays")) == ["succeeded"]
    assert stack.client.execution(row["id"])["payload"] == LARGE
    kept = {key.split("/")[0] + "/" + key.split("/")[1][:32] for key in blobs(stack)}
    assert {key for key in kept if key.startswith("executions/")} == {f"executions/{row['id']}"}
    assert len(blobs(stack)) == 3
    stack.client.delete_agent("flows")
    pass_days(stack, 16)
    assert len(blobs(stack)) == 2
    items = stack.account.client("dynamodb").scan(TableName=stack.cloud.outputs["TableName"])["Items"]
    assert not [item for item in items if gone in str(item)]
    assert {agent["agent"] for agent in stack.heard("agent.forgotten")} == {"gone", "flows"}
    stack.check()
