"""The functions: one light one for each source of firings, the watchdog, `declare`, and the heavy runner.

Every function has a role of its own; what it may do stands in permissions.py.
"""

from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from infra import bundling
from infra.assets import code, image
from infra.logs import log_group
from infra.messaging import LIGHT_TIMEOUT, Messaging
from infra.permissions import CALLED_WITHOUT_QUEUE, TAKES, Permissions
from infra.scheduling import Scheduling
from infra.settings import Settings
from infra.storage import Storage

__all__ = ["Functions"]

ROOT = Path(__file__).parents[1]
RUNTIME = lambda_.Runtime.PYTHON_3_13
"""Not the newest: the one that the packaged bundles are tried on."""
AGENTS_FOLDER = "/var/task/agents"
"""Where the user's modules lie in the runner."""

LIGHT_MEMORY_MB = 512
DECLARE_TIMEOUT = cdk.Duration.minutes(5)

DESCRIPTIONS = {
    "api": "Answers the management API",
    "webhook": "Takes signed webhooks",
    "tick": "Fires the ticks of schedules",
    "events": "Brings events to the agents that subscribe",
    "watchdog": "Finds and carries on what a crash left",
    "declare": "Seeds and retires the agents that the stack declares",
}
FEED_THEMSELVES = frozenset({"tick", "events", "runner"})
"""They send messages that they are called with later, which Lambda would take for a runaway loop and stop: a line that
drains, a retry, an agent that follows agents. Our own bounds hold instead: attempts, queue limits, chain depth."""


class Functions(Construct):
    """All functions, by name, with roles and log groups, the queues that they take from, and the watchdog's minute."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        settings: Settings,
        storage: Storage,
        messaging: Messaging,
        scheduling: Scheduling,
        key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, id_)
        self._settings, self._storage, self._messaging, self._scheduling = settings, storage, messaging, scheduling
        self._key = key
        self._permissions = Permissions(settings, storage, messaging, scheduling, key)
        self.layer = lambda_.LayerVersion(
            self,
            "Layer",
            code=code(self, bundling.layer(settings)),
            compatible_runtimes=[RUNTIME],
            compatible_architectures=[_architecture(settings)],
            description="overnight, and what it imports",
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        self.by_name: dict[str, lambda_.Function] = {}
        for name in DESCRIPTIONS:
            self.by_name[name] = self._light(name)
        self.by_name["runner"] = self._runner()
        self.runner: lambda_.IFunction = self.by_name["runner"]
        if settings.runner_snapstart:
            self.runner = lambda_.Alias(
                self, "RunnerLive", alias_name="live", version=self.by_name["runner"].current_version
            )
        tick = self.by_name["tick"]
        for name in ("api", "watchdog", "declare"):
            self.by_name[name].add_environment("OVERNIGHT_TICK_ARN", tick.function_arn)
            self.by_name[name].add_environment("OVERNIGHT_SCHEDULER_ROLE_ARN", scheduling.role.role_arn)
        for called in (tick, self.by_name["watchdog"]):
            scheduling.role.add_to_policy(
                iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=[called.function_arn])
            )
        for name in CALLED_WITHOUT_QUEUE:
            self._keep_failures(name)
        self._take_from_queues()
        self._watch_every_minute()

    def may_read(self, flow: s3_assets.Asset) -> None:
        """Let `declare` read a flow that is uploaded with the stack."""
        arn = flow.bucket.arn_for_objects(flow.s3_object_key)
        self.by_name["declare"].add_to_role_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=[arn]))

    # What calls them

    def _take_from_queues(self) -> None:
        for name, queues in TAKES.items():
            function = self.runner if name == "runner" else self.by_name[name]
            for queue in queues:
                function.add_event_source_mapping(
                    queue.title(),
                    event_source_arn=self._messaging.sources[queue].queue_arn,
                    batch_size=1 if name == "runner" else 10,
                    max_concurrency=self._settings.runner_concurrency if name == "runner" else None,
                    report_batch_item_failures=True,
                )

    def _watch_every_minute(self) -> None:
        self._scheduling.call(
            "Watchdog",
            self.by_name["watchdog"],
            expression="rate(1 minute)",
            description="Finds and carries on what a crash left",
        )

    # Making them

    def _light(self, name: str) -> lambda_.Function:
        return lambda_.Function(
            self,
            name.title(),
            **self._common(name),
            description=DESCRIPTIONS[name],
            runtime=RUNTIME,
            handler="handler.handler",
            code=lambda_.Code.from_asset(str(ROOT / "functions" / name), exclude=["__pycache__", "*.pyc"]),
            layers=[self.layer],
            memory_size=LIGHT_MEMORY_MB,
            timeout=DECLARE_TIMEOUT if name == "declare" else LIGHT_TIMEOUT,
        )

    def _runner(self) -> lambda_.Function:
        settings = self._settings
        common = self._common("runner") | {
            "description": "Runs attempts of flows",
            "memory_size": settings.memory_mb,
            "timeout": cdk.Duration.seconds(settings.runner_timeout_seconds),
        }
        if settings.runner_package == "image":
            return lambda_.DockerImageFunction(self, "Runner", **common, code=image(bundling.runner(settings)))
        return lambda_.Function(
            self,
            "Runner",
            **common,
            runtime=RUNTIME,
            handler="handler.handler",
            code=code(self, bundling.runner(settings)),
            snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if settings.runner_snapstart else None,
        )

    def _common(self, name: str) -> dict[str, Any]:
        logs_of = log_group(self, f"{name.title()}Logs", self._settings)
        common: dict[str, Any] = {
            "role": self._role(name, logs_of),
            "architecture": _architecture(self._settings),
            "environment": self._environment(name),
            "environment_encryption": self._key,
            "log_group": logs_of,
            **_network(self, self._settings),
        }
        if name in FEED_THEMSELVES:
            common["recursive_loop"] = lambda_.RecursiveLoop.ALLOW
        return common

    def _keep_failures(self, name: str) -> None:
        """Scheduler's own retries end at the hand-over, Lambda's would come too late; the watchdog finds the rest."""
        lambda_.CfnEventInvokeConfig(
            self,
            f"{name.title()}Failures",
            function_name=self.by_name[name].function_name,
            qualifier="$LATEST",
            maximum_retry_attempts=0,
            destination_config=lambda_.CfnEventInvokeConfig.DestinationConfigProperty(
                on_failure=lambda_.CfnEventInvokeConfig.OnFailureProperty(
                    destination=self._messaging.failures.queue_arn
                )
            ),
        ).node.add_dependency(self.by_name[name])

    def _role(self, name: str, logs_of: logs.LogGroup) -> iam.Role:
        role = iam.Role(self, f"{name.title()}Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["logs:CreateLogStream", "logs:PutLogEvents"], resources=[logs_of.log_group_arn]
            )
        )
        for statement in self._permissions.of(name):
            role.add_to_policy(statement)
        if name == "runner":
            for number, arn in enumerate(self._settings.runner_policies):
                role.add_managed_policy(iam.ManagedPolicy.from_managed_policy_arn(self, f"RunnerPolicy{number}", arn))
        return role

    def _environment(self, name: str) -> dict[str, str]:
        storage, messaging = self._storage, self._messaging
        variables = {
            "OVERNIGHT_STACK": self._settings.name,
            "OVERNIGHT_TABLE": storage.table.table_name,
            "OVERNIGHT_BUCKET": storage.blobs.bucket_name,
            "OVERNIGHT_RUN_QUEUE": messaging.run.queue_url,
            "OVERNIGHT_RETRY_QUEUE": messaging.retry.queue_url,
            "OVERNIGHT_FIRE_QUEUE": messaging.fire.queue_url,
            "OVERNIGHT_BUS": messaging.bus.event_bus_name,
            "OVERNIGHT_DEAD_LETTERS": messaging.dead_letters.queue_url,
            "OVERNIGHT_TOPIC": messaging.notifications.topic_arn,
            "OVERNIGHT_SCHEDULE_GROUP": self._scheduling.runtime.ref,
        }
        if self._key:
            variables["OVERNIGHT_SECRETS_KEY"] = self._key.key_arn
        if name == "runner" and self._settings.folders:
            variables["OVERNIGHT_FOLDERS"] = AGENTS_FOLDER
        return variables


def _architecture(settings: Settings) -> lambda_.Architecture:
    return lambda_.Architecture.ARM_64 if settings.architecture == "arm64" else lambda_.Architecture.X86_64


def _network(scope: Construct, settings: Settings) -> dict[str, Any]:
    """The VPC, if there is to be one; nothing about it is looked up."""
    where = settings.vpc
    if where is None:
        return {}
    vpc = scope.node.try_find_child("Vpc") or ec2.Vpc.from_vpc_attributes(
        scope,
        "Vpc",
        vpc_id=where.vpc_id,
        availability_zones=list(where.availability_zones),
        private_subnet_ids=list(where.subnet_ids),
    )
    groups = [
        scope.node.try_find_child(id_) or ec2.SecurityGroup.from_security_group_id(scope, id_, id_, mutable=False)
        for id_ in where.security_group_ids
    ]
    return {"vpc": vpc, "security_groups": groups}
