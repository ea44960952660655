"""Identity and access as far as the stack uses it: which actions a call takes, on what, and whether a policy allows it.

https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

__all__ = ["Need", "Statement", "allows", "needs", "statements"]


@dataclass(frozen=True, order=True)
class Need:
    """An action on a resource that a call takes."""

    action: str
    resource: str


@dataclass(frozen=True)
class Statement:
    """One statement of a policy, its lists spelled out."""

    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: Mapping[str, Any]

    def matches(self, need: Need) -> bool:
        """Whether it speaks of this."""
        return any(fnmatchcase(need.action, each) for each in self.actions) and any(
            fnmatchcase(need.resource, each) for each in self.resources
        )


def statements(document: Mapping[str, Any]) -> Iterator[Statement]:
    """The statements of a policy document whose values are resolved."""
    for each in _list(document["Statement"]):
        yield Statement(
            each["Effect"],
            tuple(_list(each["Action"])),
            tuple(_list(each.get("Resource", "*"))),
            each.get("Condition", {}),
        )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def allows(policy: Iterable[Statement], need: Need) -> bool:
    """Whether the statements allow it: one allows, none denies."""
    found = [statement for statement in policy if statement.matches(need)]
    return any(each.effect == "Allow" for each in found) and not any(each.effect == "Deny" for each in found)


_TRANSACTED = {
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
}
_SEVERAL_AT_ONCE = {"SendMessageBatch": "SendMessage", "DeleteMessageBatch": "DeleteMessage"}


def needs(service: str, operation: str, params: Mapping[str, Any], account: str, region: str) -> Iterator[Need]:  # noqa: C901, PLR0912 - a table
    """What a call with these parameters takes. Raises NotImplementedError for a service that is not known here."""

    def arn(resource: str, *, of: str = service) -> str:
        return f"arn:aws:{of}:{region}:{account}:{resource}"

    match service:
        case "dynamodb" if operation == "TransactWriteItems":
            for item in params["TransactItems"]:
                for kind, request in item.items():
                    yield Need(_TRANSACTED[kind], arn(f"table/{request['TableName']}"))
        case "dynamodb" if operation == "BatchGetItem":
            for table in params["RequestItems"]:
                yield Need("dynamodb:BatchGetItem", arn(f"table/{table}"))
        case "dynamodb":
            index = f"/index/{params['IndexName']}" if "IndexName" in params else ""
            yield Need(f"dynamodb:{operation}", arn(f"table/{params['TableName']}{index}"))
        case "sqs":
            queue = params["QueueUrl"].rsplit("/", 1)[1]
            yield Need(f"sqs:{_SEVERAL_AT_ONCE.get(operation, operation)}", arn(queue))
        case "s3" if operation == "DeleteObjects":
            for one in params["Delete"]["Objects"]:
                action = "DeleteObjectVersion" if "VersionId" in one else "DeleteObject"
                yield Need(f"s3:{action}", f"arn:aws:s3:::{params['Bucket']}/{one['Key']}")
        case "s3" if operation == "ListObjectVersions":
            yield Need("s3:ListBucketVersions", f"arn:aws:s3:::{params['Bucket']}")
        case "s3":
            action = {"HeadObject": "GetObject", "ListObjectsV2": "ListBucket"}.get(operation, operation)
            key = "" if action == "ListBucket" else f"/{params['Key']}"
            yield Need(f"s3:{action}", f"arn:aws:s3:::{params['Bucket']}{key}")
        case "events":
            for bus in {entry["EventBusName"] for entry in params["Entries"]}:
                yield Need(f"events:{operation}", arn(f"event-bus/{bus}"))
        case "scheduler" if operation == "ListSchedules":
            yield Need("scheduler:ListSchedules", "*")
        case "scheduler":
            yield Need(f"scheduler:{operation}", arn(f"schedule/{params['GroupName']}/{params['Name']}"))
            if "Target" in params:
                yield Need("iam:PassRole", params["Target"]["RoleArn"])
        case "ssm" if operation == "GetParametersByPath":
            yield Need("ssm:GetParametersByPath", arn(f"parameter{params['Path']}"))
        case "ssm":
            yield Need(f"ssm:{operation}", arn(f"parameter{params['Name']}"))
        case "sns":
            yield Need(f"sns:{operation}", params["TopicArn"])
        case "secretsmanager":
            secret = params["SecretId"]
            yield Need(f"secretsmanager:{operation}", secret if secret.startswith("arn:") else arn(f"secret:{secret}"))
        case _:
            raise NotImplementedError(f"the harness does not know what {service}:{operation} takes")
