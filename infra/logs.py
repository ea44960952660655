"""Log groups: explicit, so that they have a retention, and go with the stack."""

from typing import cast

import aws_cdk as cdk
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.settings import Settings

__all__ = ["log_group"]


def log_group(scope: Construct, id_: str, settings: Settings) -> logs.LogGroup:
    """A log group that keeps logs as long as the settings say."""
    group = logs.LogGroup(scope, id_, removal_policy=cdk.RemovalPolicy.DESTROY)
    cast("logs.CfnLogGroup", group.node.default_child).retention_in_days = settings.log_retention_days
    return group
