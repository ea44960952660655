"""What each function may do: every action spelled out, on resources of the stack alone.

The suite records the calls that handlers make, and compares them with this: nothing is missing, nothing in vain. What
services do on a function's behalf stands apart, with reasons.
"""

from collections.abc import Iterator, Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms

from infra.messaging import Messaging
from infra.scheduling import Scheduling
from infra.settings import Settings
from infra.storage import Storage
from overnight.aws.s3 import EXECUTIONS, FLOWS
from overnight.aws.secrets import MASTER_KEY

__all__ = ["Permissions"]

ITEMS = (
    "dynamodb:ConditionCheckItem",  # with the next: to take an insert back, where an agent was stopped in between
    "dynamodb:DeleteItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
)
"""What every function does with the table. Whoever fires takes an insert back; and all fire: a runner that disables its
agent, and a deployment that changes one, close what it has gathered."""
READ_MANY = frozenset({"api", "declare", "watchdog"})
"""Who reads pages of items."""
READ_INDEXES = frozenset({"api", "watchdog"})
"""Who looks for things by anything but their key."""
READ, WRITE, REMOVE = "s3:GetObject", "s3:PutObject", "s3:DeleteObjectVersion"
BLOBS: dict[str, dict[str, tuple[str, ...]]] = {
    "api": {EXECUTIONS: (READ, WRITE), FLOWS: (READ, WRITE)},
    "webhook": {EXECUTIONS: (WRITE,)},
    "tick": {EXECUTIONS: (READ, WRITE)},
    "events": {EXECUTIONS: (READ, WRITE)},
    "runner": {EXECUTIONS: (READ, WRITE), FLOWS: (READ,)},
    "watchdog": {EXECUTIONS: (READ, REMOVE, WRITE), FLOWS: (REMOVE,)},
    "declare": {EXECUTIONS: (READ, WRITE), FLOWS: (WRITE,)},
}
"""What a function does with blobs, by what their keys begin with. Whoever closes a batch reads the events in it."""
SECRETS = "secrets/*"

SENDS = {
    "api": ("run", "retry", "fire"),
    "webhook": ("run",),
    "tick": ("run", "fire"),
    "events": ("run", "fire", "dead_letters"),
    "runner": ("run", "retry"),
    "watchdog": ("run", "retry", "fire"),
    "declare": ("run",),
}
"""Which queues a function sends to: what gathers events is closed over the fire queue."""
TAKES = {"tick": ("fire",), "events": ("events",), "runner": ("run", "retry")}
"""Which queues Lambda polls for it, in its role."""
CALLED_WITHOUT_QUEUE = ("declare", "tick", "watchdog")
"""Scheduler and CloudFormation call them and don't wait; what fails there, Lambda puts into a queue, in their role."""
ARMS = frozenset({"api", "watchdog", "declare"})
"""Who arms schedules, and so hands the Scheduler its role."""
PARAMETERS: dict[str, dict[str, tuple[str, ...]]] = {
    "api": {
        MASTER_KEY: ("ssm:GetParameter",),
        SECRETS: ("ssm:DeleteParameter", "ssm:PutParameter"),
        "secrets": ("ssm:GetParametersByPath",),
    },
    "webhook": {MASTER_KEY: ("ssm:GetParameter",), SECRETS: ("ssm:GetParameter",)},
    "runner": {SECRETS: ("ssm:GetParameter",)},
    "watchdog": {MASTER_KEY: ("ssm:GetParameter",)},
    "declare": {MASTER_KEY: ("ssm:PutParameter",)},
}
"""What a function does with parameters, by their path below the stack's."""


class Permissions:
    """The statements of each function's role."""

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        messaging: Messaging,
        scheduling: Scheduling,
        key: kms.IKey | None,
    ) -> None:
        self._settings, self._storage, self._messaging, self._scheduling = settings, storage, messaging, scheduling
        self._key = key

    def of(self, name: str) -> Iterator[iam.PolicyStatement]:
        """Each statement of a function's role."""
        table = self._storage.table
        queues = self._messaging.queues
        yield _allow([*(["dynamodb:BatchGetItem"] if name in READ_MANY else []), *ITEMS], table.table_arn)
        if name in READ_INDEXES:
            yield _allow(["dynamodb:Query"], f"{table.table_arn}/index/*")
        yield from self._blobs(name)
        yield _allow(["events:PutEvents"], self._messaging.bus.event_bus_arn)
        failures = [self._messaging.failures] if name in CALLED_WITHOUT_QUEUE else []
        sends = [*(queues[queue] for queue in SENDS[name]), *failures]
        yield _allow(["sqs:SendMessage"], *(queue.queue_arn for queue in sends))
        if name in TAKES:
            poll = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
            yield _allow(poll, *(queues[queue].queue_arn for queue in TAKES[name]))
        if name == "watchdog":
            yield _allow(["sns:Publish"], self._messaging.notifications.topic_arn)
        yield from self._scheduler(name)
        parameters = PARAMETERS.get(name, {})
        for path, actions in parameters.items():
            yield _allow(actions, self._parameter(path))
        if name == "runner":
            yield from self._elsewhere()
        if self._key:
            encrypt = ["kms:Encrypt"] if any("ssm:PutParameter" in each for each in parameters.values()) else []
            yield _allow(["kms:Decrypt", *encrypt, "kms:GenerateDataKey"], self._key.key_arn)
        if self._settings.vpc:
            yield _allow(
                [
                    "ec2:AssignPrivateIpAddresses",
                    "ec2:CreateNetworkInterface",
                    "ec2:DeleteNetworkInterface",
                    "ec2:DescribeNetworkInterfaces",
                    "ec2:DescribeSubnets",
                    "ec2:UnassignPrivateIpAddresses",
                ],
                "*",  # Lambda makes the interfaces, and asks for it so
            )

    def _blobs(self, name: str) -> Iterator[iam.PolicyStatement]:
        bucket = self._storage.blobs
        for prefix, actions in BLOBS[name].items():
            yield _allow(actions, bucket.arn_for_objects(f"{prefix}*"))
        if name == "watchdog":
            yield _allow(["s3:ListBucketVersions"], bucket.bucket_arn)
        if name == "api":  # else a digest that was never sent is refused by S3, and not said to be missing
            yield _allow(["s3:ListBucket"], bucket.bucket_arn)

    def _scheduler(self, name: str) -> Iterator[iam.PolicyStatement]:
        runtime = self._scheduling.schedules_in(self._scheduling.runtime)
        if name in ARMS or name == "tick":
            yield _allow(["scheduler:DeleteSchedule"], runtime)
            yield _allow(["scheduler:ListSchedules"], "*")  # IAM knows no narrower resource for it
        if name in ARMS:
            yield _allow(["scheduler:CreateSchedule", "scheduler:UpdateSchedule"], runtime)
            yield iam.PolicyStatement(
                actions=["iam:PassRole"],
                resources=[self._scheduling.role.role_arn],
                conditions={"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}},
            )

    def _elsewhere(self) -> Iterator[iam.PolicyStatement]:
        """What variables refer to outside the stack, as far as the operator allows."""
        allowed = self._settings.readable_secrets
        if parameters := [arn for arn in allowed if ":ssm:" in arn]:
            yield _allow(["ssm:GetParameter"], *parameters)
        if secrets := [arn for arn in allowed if ":secretsmanager:" in arn]:
            yield _allow(["secretsmanager:GetSecretValue"], *secrets)

    def _parameter(self, path: str) -> str:
        return cdk.Stack.of(self._storage).format_arn(
            service="ssm", resource="parameter", resource_name=f"overnight/{self._settings.name}/{path}"
        )


def _allow(actions: Sequence[str], *resources: str) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=list(actions), resources=list(resources))
