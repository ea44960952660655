"""What the embedded engine tells: a flow of its schedule, and /metrics of what runs."""

from datetime import UTC, datetime
from pathlib import Path

from overnight.agents import Agent, AgentDocument
from overnight.embedded.observe import Metrics
from overnight.embedded.wiring import Settings, open_engine
from overnight.executions import Execution, FiringKind, Status
from overnight.flows.requests import called
from overnight.ports import RunRequest

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)


def test_a_flow_is_told_the_schedule_that_fired_it():
    document = AgentDocument.model_validate(
        {
            "name": "report",
            "flow": {"python": "reports:daily"},
            "triggers": [{"name": "workdays", "cron": "0 8 * * 1-5", "timezone": "Europe/Lisbon"}],
        }
    )
    execution = Execution(
        id="0" * 32,
        agent_id="a",
        agent="report",
        status=Status.RUNNING,
        kind=FiringKind.SCHEDULE,
        dedupe_key="tick:workdays:2026-11-20T08:00:00Z",
        trigger="workdays",
        agent_version=1,
        created_at=NOW,
    )
    request = RunRequest(
        execution=execution,
        agent=Agent(id="a", document=document, created_at=NOW, updated_at=NOW),
        flow_json=None,
        input={},
        variables={},
        api_key=None,
        payload=None,
        session_id="s",
        timeout_seconds=1,
    )

    firing = called(request).firing

    assert (firing.cron, firing.timezone) == ("0 8 * * 1-5", "Europe/Lisbon")


def test_metrics_count_the_attempts_that_run(tmp_path: Path):
    engine = open_engine(Settings(data=tmp_path, workers=1))
    try:
        assert engine.registry.get_sample_value("overnight_running_attempts") == 0
        engine._slots._attempts["0" * 32] = 1
        assert engine.registry.get_sample_value("overnight_running_attempts") == 1
        engine._slots._attempts.clear()
    finally:
        engine.close()


def test_metrics_time_how_late_ticks_are_and_how_long_attempts_take():
    metrics = Metrics()
    metrics("execution.started", lateness_seconds=2.5, wait_seconds=0.5)
    metrics("execution.started", lateness_seconds=None, wait_seconds=1.5)
    metrics("execution.succeeded", outcome="succeeded", duration_seconds=4.0)
    sums = {
        "overnight_lateness_seconds": (1, 2.5),
        "overnight_pickup_seconds": (2, 2.0),
        "overnight_attempt_seconds": (1, 4.0),
    }
    for name, (count, total) in sums.items():
        labels = {"outcome": "succeeded"} if name == "overnight_attempt_seconds" else {}
        found = [metrics.registry.get_sample_value(f"{name}_{what}", labels) for what in ("count", "sum")]
        assert found == [count, total], name


def test_metrics_count_each_tick_of_a_range_that_was_skipped_and_say_why():
    metrics = Metrics()
    metrics("execution.skipped", reason="missed", count=101)
    metrics("execution.skipped", reason="overlap", count=1)
    metrics("execution.refused", code="line_full")
    found = [
        metrics.registry.get_sample_value("overnight_skipped_total", {"reason": why}) for why in ("missed", "overlap")
    ]
    assert found == [101, 1]
    counted = [
        metrics.registry.get_sample_value("overnight_lifecycle_events_total", {"event": event})
        for event in ("execution.skipped", "execution.refused")
    ]
    assert counted == [102, 1]
