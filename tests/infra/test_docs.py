"""docs/deploy.md and docs/costs.md say what the code says."""

from pathlib import Path

import pytest

from infra import costs, settings

DOCS = Path(__file__).parents[2] / "docs"


def test_every_switch_is_documented():
    assert settings.table() in (DOCS / "deploy.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("title", costs.TABLES)
def test_every_cost_is_worked_out(title):
    assert costs.table(costs.TABLES[title]()) in (DOCS / "costs.md").read_text(encoding="utf-8")


def test_the_idle_floor_counts_what_the_stack_has(stack):
    mappings = len(stack.resources("AWS::Lambda::EventSourceMapping"))
    metrics = sum(
        len([each for each in alarm.get("Metrics", []) if "MetricStat" in each]) or 1
        for alarm in stack.properties("AWS::CloudWatch::Alarm")
    )
    assert list(costs.idle()) == list(costs.idle(mappings=mappings, alarm_metrics=metrics))


def test_every_output_is_documented(stack):
    said = (DOCS / "deploy.md").read_text(encoding="utf-8")
    assert [name for name in stack.template["Outputs"] if f"`{name}`" not in said] == []


def test_the_metrics_of_our_own_are_as_many_as_is_said():
    from overnight.aws.observe import counters, timers  # noqa: PLC0415

    assert len(counters) + len(timers) == costs.METRICS
