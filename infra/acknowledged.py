"""What cdk-nag finds, and why it is right all the same; a test holds that nothing else is found."""

from collections.abc import Mapping

import aws_cdk as cdk
from constructs import IConstruct

from infra.api import Api
from infra.functions import Functions
from infra.messaging import Messaging
from infra.scheduling import Scheduling
from infra.settings import Settings
from infra.storage import Storage
from overnight.aws.s3 import EXECUTIONS, FLOWS

__all__ = ["acknowledge"]


def acknowledge(
    settings: Settings,
    storage: Storage,
    messaging: Messaging,
    scheduling: Scheduling,
    functions: Functions,
    api: Api,
) -> None:
    """Acknowledge each finding where it is, with its reason."""
    stack = cdk.Stack.of(storage)

    def arn(service: str, rest: str) -> str:
        partition, region, account = (_shown(stack, part) for part in (stack.partition, stack.region, stack.account))
        return f"arn:{partition}:{service}:{region}:{account}:{rest}"

    _tell(
        storage.blobs,
        {"S1": "Blobs are read by the stack's own functions only; CloudTrail's data events tell who must know more."},
    )
    _tell(messaging.failures, {"SQS3": "It is where failures end: the on-failure destination of asynchronous calls."})
    _tell(
        functions,
        {
            "L1": "Python 3.13 is what the packaged bundles are tried on; AWS supports it until June 2029.",
            _wildcard(f"<{_id(storage.table)}.Arn>/index/*"): "Every index of the one table, to be queried.",
            **{
                _wildcard(f"<{_id(storage.blobs)}.Arn>/{prefix}*"): "Blobs are named by what nobody knows before."
                for prefix in (EXECUTIONS, FLOWS)
            },
            _wildcard(arn("scheduler", f"schedule/{scheduling.runtime.name}/*")): (
                "Runtime agents come and go, and with them the schedules of this one group."
            ),
            _wildcard("*"): "scheduler:ListSchedules and EC2's network interfaces take no narrower resource.",
            _wildcard(arn("ssm", f"parameter/overnight/{settings.name}/secrets/*")): (
                "Secrets are named by users, below the stack's own path."
            ),
        }
        | {_wildcard(arn): "The operator allowed these by context." for arn in settings.readable_secrets if "*" in arn},
    )
    _annotated(functions)
    _tell(
        api,
        {
            "APIG1": "Where access logs are switched off (api_logs), the functions' own logs remain.",
            "APIG2": "Requests are validated by the function, by the same models as on every engine, and better told.",
            "APIG3": "A web ACL costs more than all the rest of an idle stack; it can be attached from outside.",
            "APIG6": "Execution logs hold headers and bodies, and so secrets; access logs are written, without these.",
            "COG4": "The management API takes IAM signatures, webhooks those of their senders.",
            "APIG4": "No authorizer sees the bytes that a webhook's signature is over; its function verifies it.",
            "IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs]": (
                "It is the policy that API Gateway's documentation asks for, and the role the account's."
            ),
            _wildcard(arn("execute-api", f"<{_id(api.management)}>/prod/GET/*")): "Every path, but only to be read.",
            _wildcard(arn("execute-api", f"<{_id(api.management)}>/prod/*/*")): "An operator may call every path.",
        },
    )


def _annotated(functions: Functions) -> None:
    """What CDK itself warns of, where the settings call for it."""
    notes = cdk.Annotations.of(functions)
    notes.acknowledge_warning("@aws-cdk/aws-ec2:noSubnetRouteTableId", "Nothing here asks for a route table.")
    notes.acknowledge_warning("@aws-cdk/aws-lambda:snapStartRequirePublish", "Every event source names the alias.")


def _tell(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    for rule, reason in reasons.items():
        cdk.Validations.of(construct).acknowledge(
            cdk.Acknowledgment(id=f"AwsSolutions::AwsSolutions-{rule}", reason=reason)
        )


def _wildcard(resource: str) -> str:
    return f"IAM5[Resource::{resource}]"


def _shown(stack: cdk.Stack, value: str) -> str:
    """As cdk-nag writes what only CloudFormation knows: `<AWS::Region>`."""
    resolved = stack.resolve(value)
    return resolved if isinstance(resolved, str) else f"<{resolved['Ref']}>"


def _id(construct: IConstruct) -> str:
    child = construct.node.default_child
    assert isinstance(child, cdk.CfnElement)  # noqa: S101 - for the type checker
    return str(cdk.Stack.of(child).resolve(child.logical_id))
