"""Who is woken, and why: alarms on what failed, on what waits, and on the watchdog's silence.

Each alarm says in its description what it means; docs/deploy.md says what to do. Metrics of our own are few, as each
costs; none has an agent or an execution as a dimension.
"""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.functions import Functions
from infra.messaging import Messaging
from infra.settings import Settings
from overnight.aws.observe import NAMESPACE, counters

__all__ = ["Observability"]

FIVE_MINUTES = cdk.Duration.minutes(5)
WAITS_TOO_LONG = {"run": 900, "retry": 900, "fire": 120, "events": 300}
"""Seconds that the oldest message of a queue may wait; the retry queue's begin when they are due."""


class Observability(Construct):
    """Alarms and the topic that they go to; without `alarms`, nothing."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        settings: Settings,
        functions: Functions,
        messaging: Messaging,
        key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, id_)
        self.topic: sns.Topic | None = None
        self._settings = settings
        if not settings.alarms:
            return
        self.topic = sns.Topic(self, "Alarms", master_key=key, enforce_ssl=True)
        if settings.alarm_email:
            self.topic.add_subscription(subscriptions.EmailSubscription(settings.alarm_email))
        self._failed()
        self._silent(functions.by_name["watchdog"])
        self._lost("Poison", messaging.dead_letters, "A message that no function could begin to handle was given up")
        self._lost(
            "Failures",
            messaging.failures,
            "A call of Scheduler or CloudFormation failed, or the bus could not hand over an event",
        )
        for name, queue in messaging.sources.items():
            self._waits(name, queue)
        for name, function in functions.by_name.items():
            self._errors(name, function)
        self._throttles(functions)

    def _failed(self) -> None:
        failed = cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=counters["execution.failed"],
            dimensions_map={"service": self._settings.name},
            statistic="Sum",
            period=FIVE_MINUTES,
        )
        self._alarm("Failed", failed, 1, "Executions failed for good: overnight executions list --status failed")

    def _silent(self, watchdog: lambda_.IFunction) -> None:
        rounds = cloudwatch.MathExpression(
            expression="rounds - failed",
            using_metrics={
                "rounds": watchdog.metric_invocations(period=FIVE_MINUTES),
                "failed": watchdog.metric_errors(period=FIVE_MINUTES),
            },
            period=FIVE_MINUTES,
            label="rounds of the watchdog",
        )
        self._alarm(
            "WatchdogSilent",
            rounds,
            1,
            "The watchdog makes no rounds: what a crash leaves is not carried on",
            comparison=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            missing=cloudwatch.TreatMissingData.BREACHING,
        )

    def _lost(self, id_: str, queue: sqs.IQueue, description: str) -> None:
        waiting = queue.metric_approximate_number_of_messages_visible(period=FIVE_MINUTES, statistic="Maximum")
        self._alarm(id_, waiting, 1, description)

    def _waits(self, name: str, queue: sqs.IQueue) -> None:
        oldest = queue.metric_approximate_age_of_oldest_message(period=FIVE_MINUTES, statistic="Maximum")
        limit = WAITS_TOO_LONG[name]
        self._alarm(f"{name.title()}Waits", oldest, limit, f"A message in the {name} queue waits longer than {limit} s")

    def _errors(self, name: str, function: lambda_.IFunction) -> None:
        errors = function.metric_errors(period=FIVE_MINUTES)
        self._alarm(f"{name.title()}Errors", errors, 1, f"The function {name} ended with errors: see its log")

    def _throttles(self, functions: Functions) -> None:
        throttles = cloudwatch.MathExpression(
            expression="SUM(METRICS())",
            using_metrics={
                name: function.metric_throttles(period=FIVE_MINUTES) for name, function in functions.by_name.items()
            },
            period=FIVE_MINUTES,
            label="throttled calls",
        )
        self._alarm("Throttles", throttles, 1, "Lambda throttled calls: the account's concurrency is used up")

    def _alarm(
        self,
        id_: str,
        metric: cloudwatch.IMetric,
        threshold: float,
        description: str,
        *,
        comparison: cloudwatch.ComparisonOperator = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
    ) -> None:
        alarm = cloudwatch.Alarm(
            self,
            id_,
            metric=metric,
            threshold=threshold,
            evaluation_periods=1,
            comparison_operator=comparison,
            treat_missing_data=missing,
            alarm_description=description,
        )
        if self.topic:
            alarm.add_alarm_action(actions.SnsAction(self.topic))
