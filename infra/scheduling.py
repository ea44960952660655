"""What calls at the right time: two groups of EventBridge schedules, and the one role that all of them use."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from infra.settings import Settings

__all__ = ["Scheduling"]

RETRY_SECONDS = 300
"""For how long Scheduler tries to hand over a call: as long as a tick is on time. Later, the watchdog has fired it."""
RETRIES = 30


class Scheduling(Construct):
    """The group of the schedules that the stack declares, that of those the API arms, and Scheduler's role.

    Both groups go with the stack; without their targets, schedules would only fail.
    """

    def __init__(self, scope: Construct, id_: str, settings: Settings) -> None:
        super().__init__(scope, id_)
        self.declared = self._group("Declared", f"{settings.name}-declared")
        self.runtime = self._group("Runtime", f"{settings.name}-runtime")
        self.role = iam.Role(
            self,
            "Role",
            description="EventBridge Scheduler, calling the functions of this stack for the schedules of its groups",
            assumed_by=iam.ServicePrincipal(
                "scheduler.amazonaws.com",
                conditions={
                    "StringEquals": {
                        "aws:SourceAccount": cdk.Stack.of(self).account,
                        "aws:SourceArn": [self.declared.attr_arn, self.runtime.attr_arn],
                    }
                },
            ),
        )

    def _group(self, id_: str, name: str) -> scheduler.CfnScheduleGroup:
        group = scheduler.CfnScheduleGroup(self, id_, name=name)
        group.apply_removal_policy(cdk.RemovalPolicy.DESTROY)
        return group

    def call(
        self,
        id_: str,
        function: lambda_.IFunction,
        *,
        expression: str,
        description: str,
        timezone: str = "UTC",
        name: str | None = None,
        given: str | None = None,
    ) -> scheduler.CfnSchedule:
        """A schedule that belongs to the stack: when, whom, and what it is given (JSON)."""
        return scheduler.CfnSchedule(
            self,
            id_,
            name=name,
            group_name=self.declared.ref,
            description=description,
            schedule_expression=expression,
            schedule_expression_timezone=timezone,
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn=function.function_arn,
                role_arn=self.role.role_arn,
                input=given,
                retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                    maximum_event_age_in_seconds=RETRY_SECONDS, maximum_retry_attempts=RETRIES
                ),
            ),
        )

    def schedules_in(self, group: scheduler.CfnScheduleGroup) -> str:
        """The ARN of every schedule in a group."""
        return cdk.Stack.of(self).format_arn(service="scheduler", resource="schedule", resource_name=f"{group.name}/*")
