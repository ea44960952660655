"""What each function does with what comes: Scheduler's calls, messages, events, the minute of the watchdog."""

import json
from datetime import UTC, datetime, timedelta

from tests.aws.adapters.conftest import Invocation
from tests.support import lambdas

from overnight.aws.messages import Alarm, Fire, held
from overnight.aws.observe import Observation
from overnight.core import fire, lifecycle, run
from overnight.core.verify import verify
from overnight.executions import Message
from overnight.ports import ExecutionFilter


def rows(stack):
    return sorted(stack.open().ports.store.executions(ExecutionFilter()).items, key=lambda row: row.created_at)


def statuses(stack):
    return [row.status for row in rows(stack)]


def alarm(stack, scheduled, n=0):
    """Scheduler's call by its n-th schedule, for that minute."""
    told = stack.schedules()[n]["Target"]["Input"].replace("<aws.scheduler.scheduled-time>", scheduled.isoformat())
    return Alarm.model_validate_json(told)


def carry_out(stack, *kinds, invocation=None):
    for kind in kinds or ("run", "retry"):
        for message in stack.messages(kind):
            stack.open_runner().run(message, invocation or Invocation())


# tick


def test_a_tick_is_fired_in_its_minute_and_runs(stack):
    agent = stack.agent(triggers=[{"name": "daily", "cron": "0 9 * * *"}])
    stack.at = datetime(2026, 3, 2, 9, 0, 20, tzinfo=UTC)
    for _ in range(2):  # Scheduler calls at least once
        stack.open().ring(alarm(stack, stack.at))
    (row,) = rows(stack)
    assert (row.kind, row.trigger, row.nominal) == ("schedule", "daily", datetime(2026, 3, 2, 9, tzinfo=UTC))
    carry_out(stack)
    assert statuses(stack) == ["succeeded"]
    assert stack.open().ports.store.read(agent.id)[1].next_run_at == datetime(2026, 3, 3, 9, tzinfo=UTC)


def test_a_call_for_no_tick_is_dropped_without_a_look_at_the_table(stack):
    stack.agent(triggers=[{"name": "friday", "cron": "0 9 13 * 5"}])
    stack.at = datetime(2026, 3, 3, 9, tzinfo=UTC)
    ringing = alarm(stack, stack.at)
    stack.meter.read()
    stack.open().ring(ringing)
    assert stack.meter.read().calls == {}
    assert rows(stack) == []


def test_a_call_for_an_agent_that_is_gone_is_dropped(stack):
    stack.open().ring(Alarm(agent_id="ghost", trigger="daily", scheduled=stack.at))
    assert rows(stack) == []


def test_a_declared_agent_that_is_paused_drops_the_calls_of_its_schedules(stack):
    agent = stack.agent(triggers=[{"name": "daily", "cron": "0 9 * * *"}])
    lifecycle.pause(stack.open().ports, agent.id)
    stack.at = datetime(2026, 3, 2, 9, 0, 20, tzinfo=UTC)
    stack.open().ring(Alarm(agent_id=agent.id, trigger="daily", scheduled=stack.at))
    assert rows(stack) == []


def test_ticks_within_a_minute_come_over_the_fire_queue_a_minute_ahead_at_their_seconds(stack):
    stack.at = datetime(2026, 3, 2, 8, 0, 30, tzinfo=UTC)
    stack.agent(triggers=[{"name": "often", "interval": {"seconds": 20}, "start_at": "2026-03-01T00:00:00Z"}])
    minute = datetime(2026, 3, 2, 9, tzinfo=UTC)
    stack.at = minute + timedelta(seconds=10.5)
    stack.open().ring(alarm(stack, stack.at))
    came = {}
    for _ in range(110):
        for body in stack.bodies("fire"):
            came[Fire.model_validate_json(body).nominal] = stack.at
        stack.pass_(seconds=1)
    nominal = [minute + timedelta(seconds=seconds) for seconds in (60, 80, 100)]
    assert sorted(came) == nominal
    assert all(timedelta(0) <= came[tick] - tick < timedelta(seconds=2) for tick in nominal)


def test_a_tick_with_jitter_is_held_back_until_its_time(stack):
    agent = stack.agent(triggers=[{"name": "daily", "cron": "0 9 * * *", "jitter_seconds": 1_800}])
    stack.at = datetime(2026, 3, 2, 9, 0, 5, tzinfo=UTC)
    stack.open().ring(alarm(stack, stack.at))
    assert rows(stack) == []
    for _ in range(30):
        stack.pass_(minutes=1)
        for body in stack.bodies("fire"):
            stack.open().fire(Fire.model_validate_json(body))
    (row,) = rows(stack)
    assert row.nominal == datetime(2026, 3, 2, 9, tzinfo=UTC)
    at = stack.open().ports.store.read(agent.id)[1].schedules["daily"]
    assert at.cursor == row.nominal


def test_a_fire_that_comes_early_is_sent_on(stack):
    stack.agent(triggers=[{"name": "daily", "cron": "0 9 * * *"}])
    due = stack.at + timedelta(minutes=30)
    stack.open().fire(Fire(agent_id="a", trigger="daily", nominal=due, due=due))
    stack.pass_(minutes=15)
    (body,) = stack.bodies("fire")
    assert Fire.model_validate_json(body).due == due


# runner


def test_an_attempt_holds_its_lease_until_lambda_must_have_ended_it(stack):
    agent = stack.agent(flow={"python": "tests.support.lambdas:remember"}, timeout_seconds=3_600)
    id_ = fire.trigger(stack.open().ports, agent.id).execution.id
    (message,) = stack.messages()
    engine = stack.open_runner()
    leases = []
    revise = engine.ports.store.revise

    def watched(*args, **kwargs):
        revised = revise(*args, **kwargs)
        leases.append(revised[0].execution.lease)
        return revised

    engine.ports.store.revise = watched
    engine.run(message, Invocation(seconds=100, request_id="r1"))
    assert leases[0].worker == "lambda:r1"
    assert leases[0].until == stack.at + timedelta(seconds=110)
    assert stack.open().ports.store.execution(id_).status == "succeeded"


def test_a_message_that_comes_again_runs_nothing(stack):
    lambdas.run.clear()
    agent = stack.agent(flow={"python": "tests.support.lambdas:remember"})
    id_ = fire.trigger(stack.open().ports, agent.id).execution.id
    (message,) = stack.messages()
    engine = stack.open_runner()
    for _ in range(3):
        engine.run(message, Invocation())
    stack.open_runner().run(Message(kind="run", execution_id="0" * 32, agent_id="ghost", attempt=1), Invocation())
    assert lambdas.run == [id_]
    assert statuses(stack) == ["succeeded"]


def test_what_has_no_time_left_is_put_back_uncharged(stack):
    agent = stack.agent()
    id_ = fire.trigger(stack.open().ports, agent.id).execution.id
    carry_out(stack, "run", invocation=Invocation(seconds=4))
    row = stack.open().ports.store.execution(id_)
    assert (row.status, row.attempt, row.tries) == ("retrying", 1, 0)
    carry_out(stack, "retry")
    assert statuses(stack) == ["succeeded"]


def test_an_attempt_that_takes_too_long_is_recorded_and_then_its_process_ends(stack):
    lambdas.go_on.clear()
    agent = stack.agent(flow={"python": "tests.support.lambdas:hangs"}, timeout_seconds=0.2, retries={"attempts": 1})
    fire.trigger(stack.open().ports, agent.id)
    carry_out(stack)
    (row,) = rows(stack)
    assert (row.status, row.failure.type) == ("failed", "TimedOut")
    assert "timeout_seconds" in row.failure.message
    assert stack.ended == [1]
    assert stack.open().ports.store.read(agent.id)[1].running == {}
    lambdas.go_on.set()


def test_an_attempt_is_ended_before_lambda_would_and_says_which_setting_that_is(stack):
    lambdas.go_on.clear()
    agent = stack.agent(flow={"python": "tests.support.lambdas:hangs"}, retries={"attempts": 1})
    fire.trigger(stack.open().ports, agent.id)
    carry_out(stack, invocation=Invocation(seconds=5.2))
    (row,) = rows(stack)
    assert (row.status, row.failure.type) == ("failed", "TimedOut")
    assert "runner_timeout_seconds" in row.failure.message
    assert stack.ended == [1]
    lambdas.go_on.set()


def test_a_cancelled_attempt_ends_with_its_process_and_its_slot_is_free(stack, monkeypatch):
    monkeypatch.setattr("overnight.aws.runner.CANCEL_SECONDS", 0.05)
    lambdas.go_on.clear()
    agent = stack.agent(flow={"python": "tests.support.lambdas:hangs"})
    id_ = fire.trigger(stack.open().ports, agent.id).execution.id
    (message,) = stack.messages()
    engine = stack.open_runner()
    monkeypatch.setattr(lambdas, "begun", lambda: run.cancel(stack.open().ports, id_))
    engine.run(message, Invocation())
    assert statuses(stack) == ["cancelled"]
    assert stack.ended == [1]
    assert stack.open().ports.store.read(agent.id)[1].running == {}
    lambdas.go_on.set()


def test_a_retry_comes_over_the_retry_queue_and_one_that_is_due_much_later_by_the_watchdog(stack):
    agent = stack.agent(
        flow={"python": "tests.support.lambdas:second_time"},
        retries={"attempts": 2, "backoff_seconds": 1_200, "jitter": "none", "backoff": "fixed"},
    )
    fire.trigger(stack.open().ports, agent.id)
    carry_out(stack)
    assert statuses(stack) == ["retrying"]
    stack.pass_(seconds=1_100)
    stack.open().watch(Invocation(60))
    assert stack.messages("retry") == []
    stack.pass_(seconds=160)
    stack.open().watch(Invocation(60))
    carry_out(stack, "retry")
    assert statuses(stack) == ["succeeded"]


# batches


def test_a_batch_is_closed_by_its_message_or_by_the_watchdog(stack):
    for window in (60, 1_800):
        batch = {"size": 10, "window_seconds": window}
        stack.agent(f"batch-{window}", triggers=[{"name": "on", "event": {"name": f"w{window}", "batch": batch}}])
        for n in range(3):
            take(stack, id=f"{window}-{n}", name=f"w{window}", data=n)
    stack.pass_(seconds=61)
    for body in stack.bodies("fire"):
        stack.open().fire(held.validate_json(body))
    carry_out(stack)
    ran = [row for row in rows(stack) if row.status == "succeeded"]
    assert [row.agent for row in ran] == ["batch-60"]
    stack.pass_(seconds=1_800)
    stack.open().watch(Invocation(60))
    carry_out(stack)
    assert [row.agent for row in rows(stack) if row.status == "succeeded"] == ["batch-60", "batch-1800"]


def test_a_batch_whose_message_was_lost_is_closed_by_the_watchdog(stack):
    batch = {"size": 10, "window_seconds": 60}
    stack.agent(triggers=[{"name": "on", "event": {"name": "x", "batch": batch}}])
    for n in range(3):
        take(stack, id=f"e{n}", name="x", data=n)
    stack.pass_(seconds=61)
    assert len(stack.bodies("fire")) == 1
    stack.pass_(seconds=30)
    stack.open().watch(Invocation(60))
    carry_out(stack)
    assert sorted(statuses(stack)) == ["skipped", "skipped", "skipped", "succeeded"]


# events


def take(stack, **event: object) -> tuple[str, ...]:
    """What a message of the events queue comes to."""
    return stack.open().take(json.dumps(event), "message")


def test_an_event_that_comes_twice_reaches_everybody_once(stack):
    for name in "abc":
        stack.agent(name, triggers=[{"name": "on", "event": {"name": "dataset.*"}}])
    assert len(take(stack, id="e", name="dataset.created", data=1)) == 3
    take(stack, id="e", name="dataset.created", data=1)
    take(stack, id="e", name="dataset.created", data=2)
    assert len(rows(stack)) == 3
    carry_out(stack)
    assert statuses(stack) == ["succeeded"] * 3


def test_an_event_of_our_own_that_nobody_follows_leaves_nothing_behind(stack):
    own = {"id": "e", "name": "overnight.execution.succeeded"}
    assert take(stack, **own) == ()
    assert stack.open().ports.store.event("e") is None
    stack.agent(triggers=[{"name": "on", "event": {"name": "overnight.execution.*"}}])
    assert len(take(stack, **own)) == 1


def test_an_event_that_a_full_line_keeps_out_stays_until_there_is_room(stack):
    agent = stack.agent(triggers=[{"name": "on", "event": {"name": "x"}}], concurrency={"queue_limit": 1})
    for n in range(3):
        take(stack, id=f"e{n}", name="x")
    assert len(rows(stack)) == 2
    for _ in range(4):
        carry_out(stack)
        stack.pass_(minutes=2)
        stack.open().watch(Invocation(60))
    carry_out(stack)
    assert statuses(stack) == ["succeeded"] * 3
    assert stack.open().ports.store.read(agent.id)[1].line == ()


# watchdog


def test_the_watchdog_sends_again_what_was_lost_and_verify_finds_nothing(stack):
    agent = stack.agent(triggers=[{"name": "daily", "cron": "0 9 * * *"}])
    stack.at = datetime(2026, 3, 2, 9, 0, 5, tzinfo=UTC)
    stack.open().ring(alarm(stack, stack.at))
    assert len(stack.messages()) == 1  # and lost
    stack.pass_(minutes=3)
    assert stack.open().watch(Invocation(60)) > 0
    carry_out(stack)
    assert statuses(stack) == ["succeeded"]
    store = stack.open().ports.store
    assert verify(store, stack.at, stack.at - timedelta(hours=3), stack.at).ok
    stack.at = datetime(2026, 3, 3, 9, 5, tzinfo=UTC)  # Scheduler does not call at all
    stack.open().watch(Invocation(60))
    carry_out(stack)
    assert statuses(stack) == ["succeeded"] * 2
    assert store.agent(agent.id).name == "agent"


def test_the_watchdog_begins_nothing_that_it_has_no_time_for(stack):
    agent = stack.agent()
    fire.trigger(stack.open().ports, agent.id)
    stack.messages()
    stack.pass_(minutes=5)
    assert stack.open().watch(Invocation(4)) == 0
    assert stack.messages() == []
    assert stack.open().watch(Invocation(6)) > 0
    assert len(stack.messages()) == 1


# declare


def test_every_deployment_has_the_same_master_key(stack):
    stack.open().ensure_master_key()
    key = stack.open().ports.secrets.derive("hooks")
    stack.open().ensure_master_key()
    assert stack.open().ports.secrets.derive("hooks") == key


def test_logs_and_metrics_name_no_agent_as_a_dimension(stack, capsys):
    agent = stack.agent()
    fire.trigger(stack.open().ports, agent.id)
    engine = stack.open_runner()

    @engine.observation.handler()
    def handle(event, context):
        for message in stack.messages():
            engine.run(message, Invocation())

    class Context(Invocation):
        function_name = "runner"
        memory_limit_in_mb = 512
        invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:runner"

    handle({}, Context())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    metrics = [line for line in lines if "_aws" in line]
    assert metrics
    for line in metrics:
        for metric in line["_aws"]["CloudWatchMetrics"]:
            assert metric["Dimensions"] == [["service"]]
            assert metric["Namespace"] == "Overnight"


def test_lateness_durations_skipped_ticks_and_refusals_are_metrics(capsys):
    observe = Observation("metrics alone")  # a service's logger keeps the stream that it was made with
    observe("execution.started", lateness_seconds=2.5)
    observe("execution.succeeded", duration_seconds=4.0)
    observe("execution.skipped", reason="missed", count=101)
    observe("execution.refused", code="line_full")
    observe.flush()
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {name: found[name] for name in found if name not in {"_aws", "service"}} == {
        "Lateness": [2.5],
        "AttemptDuration": [4.0],
        "ExecutionsSucceeded": [1.0],
        "ExecutionsSkipped": [101.0],
        "FiringsRefused": [1.0],
    }
