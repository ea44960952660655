"""The agent document: what it leaves out has the default of semantics.md, and what is beyond a bound is refused."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from overnight.agents import AgentDocument

TRIGGERS = {
    "cron": {"name": "t", "cron": "0 8 * * *"},
    "interval": {"name": "t", "interval": {"hours": 1}},
    "webhook": {"name": "t", "webhook": {}},
    "batch": {"name": "t", "event": {"name": "x", "batch": {"size": 2, "window_seconds": 60}}},
    "debounce": {"name": "t", "event": {"name": "x", "debounce": {"delay_seconds": 10}}},
}
COUNTS = {"attempts", "factor", "max_parallel", "queue_limit", "pause_after_failures", "size", "rate_limit_per_minute"}
CALENDAR = {"month", "day", "day_of_week", "hour", "minute"}
LENGTHS = {"weeks", "days", "hours", "minutes", "seconds"}


def document(trigger: str | None = None, **fields: Any) -> AgentDocument:
    triggers = [TRIGGERS[trigger]] if trigger else []
    return AgentDocument.model_validate({"name": "a", "flow": {"python": "m:f"}, "triggers": triggers} | fields)


def at(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value[int(key)] if key.isdecimal() else value[key]
    return value


@pytest.mark.parametrize(
    ("trigger", "path", "default"),
    [
        (None, "enabled", False),
        (None, "input", {"share_session": False, "input_type": "chat", "output_type": "chat", "tweaks": {},
                         "input_value": None, "session_id": None}),
        (None, "concurrency", {"max_parallel": 1, "on_overlap": "queue", "queue_limit": 100}),
        (None, "retries", {"attempts": 3, "backoff_seconds": 60, "backoff": "exponential", "factor": 2,
                           "max_backoff_seconds": 3_600, "jitter": "full"}),
        (None, "timeout_seconds", 600),
        (None, "start_deadline_seconds", None),
        (None, "pause_after_failures", None),
        (None, "notify", None),
        (None, "retention_days", 30),
        ("cron", "triggers.0.timezone", "UTC"),
        ("cron", "triggers.0.catch_up", "coalesce"),
        ("interval", "triggers.0.catch_up_window_seconds", 86_400),
        ("interval", "triggers.0.jitter_seconds", 0),
        ("webhook", "triggers.0.webhook.signature", "standard-webhooks"),
        ("debounce", "triggers.0.event.debounce.edge", "trailing"),
    ],
)  # fmt: skip
def test_what_a_document_leaves_out_has_its_default(trigger: str | None, path: str, default: object):
    assert at(document(trigger).model_dump(mode="json"), path) == default


DAY = 86_400


@pytest.mark.parametrize(
    ("trigger", "path", "least", "most", "beyond"),
    [
        (None, "concurrency.max_parallel", 1, 100, (0, 101)),
        (None, "concurrency.queue_limit", 1, 1_000, (0, 1_001)),
        (None, "retries.attempts", 1, 100, (0, 101)),
        (None, "retries.backoff_seconds", 0, DAY, (-1, DAY + 1)),
        (None, "retries.factor", 1, 10, (0.9, 11)),
        (None, "retries.max_backoff_seconds", 0, 7 * DAY, (-1, 7 * DAY + 1)),
        (None, "timeout_seconds", 0.1, 7 * DAY, (0, 7 * DAY + 1)),
        (None, "start_deadline_seconds", 0.1, 30 * DAY, (0, 30 * DAY + 1)),
        (None, "pause_after_failures", 1, 1_000, (0, 1_001)),
        (None, "retention_days", 7, 3_650, (6, 3_651)),
        ("cron", "triggers.0.jitter_seconds", 0, DAY, (-1, DAY + 1)),
        ("cron", "triggers.0.catch_up_window_seconds", 0, 366 * DAY, (-1, 366 * DAY + 1)),
        ("interval", "triggers.0.interval.seconds", 1, 10_000_000, (-3_600,)),
        ("webhook", "triggers.0.webhook.rate_limit_per_minute", 1, 100_000, (0, 100_001)),
        ("batch", "triggers.0.event.batch.size", 1, 100, (0, 101)),
        ("batch", "triggers.0.event.batch.window_seconds", 0.1, DAY, (0, DAY + 1)),
        ("debounce", "triggers.0.event.debounce.delay_seconds", 0.1, DAY, (0, DAY + 1)),
        ("debounce", "triggers.0.event.debounce.max_delay_seconds", 10, 7 * DAY, (9, 7 * DAY + 1)),
    ],
)
def test_what_is_beyond_a_bound_is_refused(
    trigger: str | None, path: str, least: float, most: float, beyond: tuple[float, ...]
):
    def given(value: float) -> AgentDocument:
        dumped = document(trigger).model_dump(mode="json")
        where, _, field = path.rpartition(".")
        (at(dumped, where) if where else dumped)[field] = value
        return AgentDocument.model_validate(dumped)

    for value in (least, most):
        assert at(given(value).model_dump(mode="json"), path) == value
    for value in beyond:
        with pytest.raises(ValidationError):
            given(value)


def test_a_document_may_have_thirty_triggers():
    triggers = [{"name": f"t{number}", "interval": {"hours": 1}} for number in range(31)]
    assert len(document(triggers=triggers[:30]).triggers) == 30
    with pytest.raises(ValidationError):
        document(triggers=triggers)


def numbers(schema: Any) -> Iterator[str]:
    """The names of all fields that are numbers."""
    if isinstance(schema, list):
        for part in schema:
            yield from numbers(part)
    if isinstance(schema, dict):
        for name, field in schema.get("properties", {}).items():
            kinds = {field.get("type"), *(part.get("type") for part in field.get("anyOf", []))}
            if kinds & {"integer", "number"}:
                yield name
        for part in schema.values():
            yield from numbers(part)


def test_every_duration_says_its_unit():
    found = set(numbers(AgentDocument.model_json_schema()))
    assert found >= COUNTS | LENGTHS
    assert [name for name in found - COUNTS - LENGTHS - CALENDAR if not re.search("_(seconds|days)$", name)] == []
