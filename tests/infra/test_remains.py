"""What `make destroy` lists as left behind."""

from datetime import UTC, datetime
from typing import Any

from infra.remains import remains


class Pages:
    """Answers a paginated call from a table."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers

    def get_paginator(self, operation: str) -> Any:
        answer = self._answers[operation]

        class Paginator:
            def paginate(self, **asked: Any) -> list[Any]:
                return [answer(**asked)]

        return Paginator()


def deleted(name: str, day: int) -> dict[str, Any]:
    return {"StackName": name, "StackId": f"{name}-{day}", "DeletionTime": datetime(2026, 11, day, tzinfo=UTC)}


def resource(kind: str, id_: str, status: str) -> dict[str, str]:
    return {"ResourceType": kind, "PhysicalResourceId": id_, "ResourceStatus": status}


def test_what_stays_is_listed_with_how_it_is_removed():
    resources = {
        "overnight-20": [
            resource("AWS::DynamoDB::GlobalTable", "overnight-Table", "DELETE_SKIPPED"),
            resource("AWS::S3::Bucket", "overnight-blobs", "DELETE_SKIPPED"),
            resource("AWS::Lambda::Function", "overnight-Api", "DELETE_COMPLETE"),
        ]
    }
    cloudformation = Pages(
        list_stacks=lambda **_: {
            "StackSummaries": [deleted("other", 21), deleted("overnight", 3), deleted("overnight", 20)]
        },
        list_stack_resources=lambda StackName: {"StackResourceSummaries": resources[StackName]},  # noqa: N803
    )
    ssm = Pages(get_parameters_by_path=lambda Path, **_: {"Parameters": [{"Name": f"{Path}/master-key"}]})  # noqa: N803
    table, bucket, key = remains("overnight", {"cloudformation": cloudformation, "ssm": ssm})
    assert "aws dynamodb delete-table --table-name overnight-Table" in table
    assert "boto3.resource('s3').Bucket('overnight-blobs').object_versions.delete()" in bucket
    assert bucket.endswith("&& aws s3 rb s3://overnight-blobs")
    assert "aws ssm delete-parameter --name /overnight/overnight/master-key" in key


def test_nothing_is_listed_where_nothing_was():
    clients = {
        "cloudformation": Pages(list_stacks=lambda **_: {"StackSummaries": []}),
        "ssm": Pages(get_parameters_by_path=lambda **_: {"Parameters": []}),
    }
    assert list(remains("overnight", clients)) == []
