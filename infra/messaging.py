"""What carries messages: queues to run, to retry, to fire, of events; where what fails lands; the bus; and a topic.

run, retry ──> runner      each message is tried until our code is done with it; only poison, which not even
fire ────────> tick        begins to be handled, ends in `dead_letters`: after MAX_RECEIVES, or at once where the
events ──────> events      function can tell. Calls without a queue (Scheduler's) that fail end in `failures`, and so
bus ─────────> events queue  does what the bus could not hand over.
watchdog ────> topic         The notifications of agents that name `sns`.
"""

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.settings import Settings

__all__ = ["LIGHT_TIMEOUT", "Messaging"]

MAX_RECEIVES = 50
"""Receives count throttled ones, too, so this is high: our own record, not the queue, declares an execution dead."""

LIGHT_TIMEOUT = cdk.Duration.seconds(20)
"""Of every function but the runner and `declare`."""
RETENTION = cdk.Duration.days(4)
DEAD_LETTER_RETENTION = cdk.Duration.days(14)
"""Counts from the original send, so it is longer than that of the queues before it."""


class Messaging(Construct):
    """Queues, all of them for TLS only, the bus, and the topic of notifications."""

    def __init__(self, scope: Construct, id_: str, settings: Settings, key: kms.IKey | None) -> None:
        super().__init__(scope, id_)
        self._key = key
        self.dead_letters = self._queue("DeadLetters", retention=DEAD_LETTER_RETENTION)
        self.failures = self._queue("Failures", retention=DEAD_LETTER_RETENTION)
        run = cdk.Duration.seconds(settings.runner_timeout_seconds + 30)
        light = cdk.Duration.seconds(6 * int(LIGHT_TIMEOUT.to_seconds()))
        self.run = self._queue("Run", visibility=run)
        self.retry = self._queue("Retry", visibility=run)
        self.fire = self._queue("Fire", visibility=light)
        self.events = self._queue("Events", visibility=light)
        self.bus = events.EventBus(self, "Bus", kms_key=key, description="Lifecycle events, and events for agents")
        events.Rule(
            self,
            "ToAgents",
            description="Every event on the bus is one that agents may subscribe to",
            event_bus=self.bus,
            event_pattern=events.EventPattern(account=[cdk.Stack.of(self).account]),
            targets=[targets.SqsQueue(self.events, dead_letter_queue=self.failures)],
        )
        for arn in settings.event_senders:
            self.events.add_to_resource_policy(
                iam.PolicyStatement(
                    principals=[iam.ServicePrincipal(f"{arn.split(':')[2]}.amazonaws.com")],
                    actions=["sqs:SendMessage"],
                    resources=[self.events.queue_arn],
                    conditions={"ArnEquals": {"aws:SourceArn": arn}},
                )
            )
        self.notifications = sns.Topic(self, "Notifications", master_key=key, enforce_ssl=True)
        if settings.notify_email:
            self.notifications.add_subscription(subscriptions.EmailSubscription(settings.notify_email))

    @property
    def queues(self) -> dict[str, sqs.Queue]:
        """Every queue that functions send to or take from, by what it is called."""
        return self.sources | {"dead_letters": self.dead_letters, "failures": self.failures}

    @property
    def sources(self) -> dict[str, sqs.Queue]:
        """The queues that functions take messages from, by what they are called."""
        return {"run": self.run, "retry": self.retry, "fire": self.fire, "events": self.events}

    def _queue(
        self, id_: str, *, visibility: cdk.Duration | None = None, retention: cdk.Duration = RETENTION
    ) -> sqs.Queue:
        return sqs.Queue(
            self,
            id_,
            encryption=sqs.QueueEncryption.KMS if self._key else sqs.QueueEncryption.SQS_MANAGED,
            encryption_master_key=self._key,
            enforce_ssl=True,
            visibility_timeout=visibility,
            retention_period=retention,
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=MAX_RECEIVES)
            if visibility
            else None,
        )
