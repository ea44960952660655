"""Every lifecycle event as a structured log line, and as metrics in CloudWatch's embedded format.

Each metric costs money for each set of dimensions, so metrics are few, and their one dimension is the stack: no agent
and no execution ever is one.
"""

from collections.abc import Callable
from datetime import datetime
from enum import Enum
from functools import wraps
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

__all__ = ["NAMESPACE", "Observation", "counters", "timers"]

NAMESPACE = "Overnight"
"""Of the metrics; their one dimension is `service`, the stack's name."""

counters = {
    "execution.succeeded": "ExecutionsSucceeded",
    "execution.failed": "ExecutionsFailed",
    "execution.skipped": "ExecutionsSkipped",
    "execution.refused": "FiringsRefused",
    "execution.retry_scheduled": "RetriesScheduled",
    "attempt.lost": "AttemptsLost",
    "watchdog.failed": "WatchdogFailures",
}
"""The metric that counts each of these lifecycle events."""

timers = {"lateness_seconds": "Lateness", "duration_seconds": "AttemptDuration"}
"""The metric, in seconds, for each of these facts."""

_WARNINGS = frozenset(
    {
        "agent.disarm_failed",
        "agent.error",
        "attempt.fenced",
        "attempt.lost",
        "event.filter_failed",
        "event.input_failed",
        "event.unreadable",
        "execution.dead_lettered",
        "execution.failed",
        "execution.refused",
        "execution.retry_scheduled",
        "notification.failed",
        "watchdog.failed",
    }
)

Handler = Callable[[Any, LambdaContext], Any]


class Observation:
    """The observer of a function on AWS."""

    def __init__(self, service: str) -> None:
        """For the stack of that name."""
        self.logger = Logger(service=service)
        self.metrics = EphemeralMetrics(namespace=NAMESPACE, service=service)

    def __call__(self, happened: str, /, **facts: Any) -> None:
        """Log it, count it, time it."""
        known = {name: _plain(fact) for name, fact in facts.items() if fact is not None}
        log = self.logger.warning if happened in _WARNINGS else self.logger.info
        log(happened, extra=known)
        if happened in counters:
            times = facts.get("count") or 1 if happened == "execution.skipped" else 1
            self.metrics.add_metric(counters[happened], MetricUnit.Count, times)
        for fact, metric in timers.items():
            if (seconds := facts.get(fact)) is not None:
                self.metrics.add_metric(metric, MetricUnit.Seconds, seconds)

    def flush(self) -> None:
        """Write out the metrics, if there are any."""
        if self.metrics.metric_set:
            self.metrics.flush_metrics()

    def handler(self, correlation_id_path: str | None = None) -> Callable[[Handler], Handler]:
        """A decorator for a function's handler: its log lines say which invocation they are of, its metrics go out."""

        def decorate(handle: Handler) -> Handler:
            logged: Handler = self.logger.inject_lambda_context(
                handle, correlation_id_path=correlation_id_path, clear_state=True
            )

            @wraps(handle)
            def observed(event: Any, context: LambdaContext) -> Any:
                try:
                    return logged(event, context)
                finally:
                    self.flush()

            return observed

        return decorate


def _plain(fact: Any) -> Any:
    if isinstance(fact, datetime):
        return fact.isoformat()
    return fact.value if isinstance(fact, Enum) else fact
