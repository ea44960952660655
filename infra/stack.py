"""The stack: one construct for each concern, in the order in which they need each other."""

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.acknowledged import acknowledge
from infra.api import Api
from infra.bundling import layer
from infra.declared import Declared
from infra.functions import Functions
from infra.messaging import Messaging
from infra.observability import Observability
from infra.scheduling import Scheduling
from infra.settings import Settings
from infra.storage import Storage
from overnight.aws.cloudformation import DEPLOYMENT

__all__ = ["OvernightStack"]


class OvernightStack(cdk.Stack):
    """Overnight in an AWS account."""

    def __init__(self, scope: Construct, settings: Settings, **options: Any) -> None:
        super().__init__(
            scope,
            settings.name,
            description="Overnight: keeps AI agents working when nobody is watching",
            tags=dict(settings.tags),
            **options,
        )
        key = kms.Key.from_key_arn(self, "Key", settings.kms_key_arn) if settings.kms_key_arn else None
        storage = Storage(self, "Storage", settings, key)
        messaging = Messaging(self, "Messaging", settings, key)
        scheduling = Scheduling(self, "Scheduling", settings)
        functions = Functions(self, "Functions", settings, storage, messaging, scheduling, key)
        api = Api(self, "Api", settings, functions, messaging)
        Observability(self, "Observability", settings, functions, messaging, key)
        self._prepare(settings, functions, scheduling)
        Declared(self, "Declared", settings, functions, scheduling)
        if settings.permissions_boundary:
            _bound(self, settings.permissions_boundary)
        self._tell(api, messaging, storage)
        acknowledge(settings, storage, messaging, scheduling, functions, api)

    def _prepare(self, settings: Settings, functions: Functions, scheduling: Scheduling) -> None:
        """The master key, and what every deployment arms anew."""
        declare = functions.by_name["declare"]
        deployment = cdk.CustomResource(
            self,
            "Deployment",
            resource_type=DEPLOYMENT,
            service_token=declare.function_arn,
            properties={
                "Release": layer(settings).digest,
                "Tick": functions.by_name["tick"].function_arn,
                "Role": scheduling.role.role_arn,
                "Group": scheduling.runtime.ref,
            },
            service_timeout=declare.timeout,
        )
        deployment.node.add_dependency(functions)

    def _tell(self, api: Api, messaging: Messaging, storage: Storage) -> None:
        outputs = {
            "ApiUrl": (api.management.url, "The management API, which `overnight --stack` finds by this"),
            "WebhooksUrl": (f"{api.webhooks.url}api/v1/webhooks/", "Where webhooks are sent, each to its id"),
            "EventsQueueUrl": (messaging.events.queue_url, "Where events may be sent by SQS"),
            "BusName": (messaging.bus.event_bus_name, "Where events may be put, and where lifecycle events come out"),
            "NotificationsTopicArn": (messaging.notifications.topic_arn, "Where agents tell that name `sns`"),
            "DeadLettersUrl": (messaging.dead_letters.queue_url, "Messages that could not be handled"),
            "FailuresUrl": (messaging.failures.queue_url, "Calls without a queue that failed"),
            "ReaderPolicyArn": (api.reader.managed_policy_arn, "Lets people read"),
            "OperatorPolicyArn": (api.operator.managed_policy_arn, "Lets people do everything"),
            "TableName": (storage.table.table_name, "What is kept"),
            "BlobsName": (storage.blobs.bucket_name, "What is kept and large"),
        }
        for name, (value, description) in outputs.items():
            cdk.CfnOutput(self, name, value=value, description=description)


def _bound(stack: cdk.Stack, boundary: str) -> None:
    policy = (
        iam.ManagedPolicy.from_managed_policy_arn(stack, "Boundary", boundary)
        if boundary.startswith("arn:")
        else iam.ManagedPolicy.from_managed_policy_name(stack, "Boundary", boundary)
    )
    iam.PermissionsBoundary.of(stack).apply(policy)
