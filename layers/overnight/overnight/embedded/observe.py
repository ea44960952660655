"""Every lifecycle event as a structured log line, and as counters and timers for Prometheus.

No agent or execution is a label: metrics stay few however many agents there are.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

__all__ = ["JsonLines", "Metrics", "log_to_stderr"]

LOGGER = logging.getLogger("overnight")

disable_created_metrics()  # type: ignore[no-untyped-call] # when a counter was made tells nobody anything

_WARNINGS = frozenset(
    {
        "agent.disarm_failed",
        "agent.error",
        "attempt.fenced",
        "attempt.lost",
        "event.filter_failed",
        "event.input_failed",
        "execution.dead_lettered",
        "execution.failed",
        "execution.refused",
        "execution.retry_scheduled",
        "notification.failed",
        "watchdog.failed",
        "webhook.refused",
        "webhook.secret_missing",
    }
)
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)


class Metrics:
    """The observer of the embedded engine."""

    def __init__(self) -> None:
        """With a registry of its own, so that two engines in one process don't mix."""
        self.registry = CollectorRegistry()
        events = Counter("overnight_lifecycle_events", "Lifecycle events, by name", ["event"], registry=self.registry)
        skipped = Counter("overnight_skipped", "Skipped firings, by reason", ["reason"], registry=self.registry)
        attempts = Histogram(
            "overnight_attempt_seconds",
            "How long final attempts took, by outcome",
            ["outcome"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._lateness = Histogram(
            "overnight_lateness_seconds",
            "From the nominal instant of a tick to the start of its first attempt",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._pickup = Histogram(
            "overnight_pickup_seconds",
            "From the record of an execution to the start of its first attempt",
            buckets=_SECONDS,
            registry=self.registry,
        )
        # What `labels` does to find a child takes longer than to count; there are few of them.
        self._events = cache(events.labels)
        self._skipped = cache(skipped.labels)
        self._attempts = cache(attempts.labels)
        self.running = Gauge("overnight_running_attempts", "Attempts that run now", registry=self.registry)

    def __call__(self, happened: str, /, **facts: Any) -> None:
        """Count it, time it, log it."""
        times = facts.get("count") or 1 if happened == "execution.skipped" else 1
        self._events(happened).inc(times)
        if happened == "execution.skipped":
            self._skipped(facts.get("reason") or "").inc(times)
        if (seconds := facts.get("lateness_seconds")) is not None:
            self._lateness.observe(seconds)
        if (seconds := facts.get("wait_seconds")) is not None:
            self._pickup.observe(seconds)
        if (seconds := facts.get("duration_seconds")) is not None:
            self._attempts(facts.get("outcome") or "").observe(seconds)
        level = logging.WARNING if happened in _WARNINGS else logging.INFO
        if LOGGER.isEnabledFor(level):
            known = {name: fact for name, fact in facts.items() if fact is not None}
            LOGGER.log(level, happened, extra={"facts": known})


_ACCESS = ("status", "bytes", "duration_seconds", "client", "request_id")
"""What the access log says of each request, besides its method and path."""


class JsonLines(logging.Formatter):
    """One JSON object a line: `at`, `level`, `event`, and the facts."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a line break."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"at": at, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= getattr(record, "facts", {})
        if record.name != LOGGER.name:
            line["logger"] = record.name
            line |= {name: getattr(record, name) for name in _ACCESS if hasattr(record, name)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=_plain, ensure_ascii=False)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.value if isinstance(value, Enum) else str(value)


def log_to_stderr(level: str = "INFO") -> None:
    """Write the log of this process as JSON lines to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    LOGGER.setLevel(level)
