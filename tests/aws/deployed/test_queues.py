"""What SQS does to messages: lines drain, batches fail in part, poison is put aside, and everything may come twice."""

import json
from random import Random

import pytest
from tests.aws.harness.stack import Stack, statuses
from tests.aws.harness.stage import fails, held, takes

pytestmark = pytest.mark.timeout(600)


def records(stack: Stack, queue: str) -> list[dict[str, object]]:
    return [json.loads(body) for body in stack.account.bodies(stack.queue(queue))]


def url_of(stack: Stack, queue: str) -> str:
    return stack.cloud.one("AWS::SQS::Queue", f"Messaging{queue}").made.ref


def receives(stack: Stack, queue: str) -> list[int]:
    return [message.approximate_receive_count for message in stack.account.queue(stack.queue(queue))._messages]


def test_a_line_drains(stack):
    stack.agent(concurrency={"max_parallel": 2})
    for _ in range(20):
        stack.client.trigger("agent")
    stack.live(seconds=30)
    assert statuses(stack.rows()) == ["succeeded"] * 20
    stack.check()


@pytest.mark.slow
def test_a_line_of_two_hundred_drains_with_lambdas_loop_detection_on_watch(stack):
    stack.agent(concurrency={"queue_limit": 250})
    for _ in range(200):
        stack.client.trigger("agent")
    stack.live(seconds=50)
    assert statuses(stack.rows()) == ["succeeded"] * 200
    assert len(stack.stage.played) == 200
    stack.check()


def test_without_leave_to_feed_itself_lambda_would_stop_the_runner(stack):
    stack.function("runner").recursive_loop = "Terminate"
    stack.agent()
    for _ in range(20):
        stack.client.trigger("agent")
    with pytest.raises(AssertionError, match="Lambda takes runner for a runaway loop"):
        stack.live(seconds=30)


def test_no_more_attempts_run_at_once_than_lambda_is_told(stacks):
    stack = stacks(runner_concurrency=2)
    stack.deploy()
    stack.agent(concurrency={"max_parallel": None})
    stack.stage.always_says("agent", takes(20))
    for _ in range(5):
        stack.client.trigger("agent")
    stack.live(seconds=10)
    assert len(stack.stage.waiting) == 2
    stack.live(seconds=60)
    assert statuses(stack.rows()) == ["succeeded"] * 5
    stack.check()


def test_what_fails_in_a_batch_comes_again_alone(stack):
    for name in "abc":
        schedule = {"interval": {"seconds": 20}, "start_at": "2026-03-02T08:03:20Z", "end_at": "2026-03-02T08:03:20Z"}
        stack.agent(name, schedule=schedule)
    stack.live(minutes=3)
    poison = {"MessageBody": "poison", "DelaySeconds": 20}
    stack.account.client("sqs").send_message(QueueUrl=url_of(stack, "Fire"), **poison)
    stack.live(seconds=30)
    assert [len(event["Records"]) for name, event in stack.pollers.delivered if name == "tick"] == [4]
    assert stack.account.bodies(stack.queue("Fire")) == ["poison"]
    stack.live(minutes=5)
    assert receives(stack, "Fire") == [3]
    assert [len(event["Records"]) for name, event in stack.pollers.delivered if name == "tick"] == [4, 1, 1]
    assert {name: statuses(stack.rows(name)) for name in "abc"} == {name: ["succeeded"] for name in "abc"}
    stack.check()


def test_an_event_that_cannot_be_read_is_put_aside_at_once(stack):
    stack.agent(triggers=[{"name": "on", "event": {"name": "x"}}], concurrency={"max_parallel": None})
    for body in ('{"name": "x", "id": "1"}', "poison", '{"name": "x", "id": "2"}'):
        stack.account.client("sqs").send_message(QueueUrl=url_of(stack, "Events"), MessageBody=body)
    stack.live(seconds=10)
    assert statuses(stack.rows()) == ["succeeded"] * 2
    assert stack.account.bodies(stack.queue("DeadLetters")) == ["poison"]
    assert stack.account.bodies(stack.queue("Events")) == []
    stack.check()


@pytest.mark.slow
@pytest.mark.parametrize("queue", ["Run", "Retry", "Fire"])
def test_poison_is_put_aside_and_keeps_nothing_from_running(stack, queue):
    stack.account.client("sqs").send_message(QueueUrl=url_of(stack, queue), MessageBody="poison")
    begin = f"{stack.now:%Y-%m-%dT%H:%M}:30Z"
    stack.agent(
        triggers=[
            {"name": "often", "interval": {"minutes": 20}, "start_at": begin, "jitter_seconds": 5},
            {"name": "on", "event": {"name": "x"}},
        ],
        retries={"attempts": 2, "backoff_seconds": 1},
    )
    stack.stage.says("agent", fails())
    stack.put_on_events_queue({"name": "x", "id": "1"})
    visible = 90 if queue in {"Run", "Retry"} else 120
    stack.live(minutes=50 * visible / 60 + 3)
    assert stack.account.bodies(stack.queue("DeadLetters")) == ["poison"]
    assert stack.account.bodies(stack.queue(queue)) == []
    rows = stack.rows()
    assert set(statuses(rows)) == {"succeeded"}
    assert len(rows) == 1 + 1 + (50 * visible // 60 + 2) // 20
    stack.check()


@pytest.mark.parametrize("seed", [1, *[pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8)]])
def test_everything_may_come_twice_and_in_any_order_and_runs_once(stack, seed):
    stack.scheduler.twice = stack.pollers.twice = True
    stack.pollers.disorder = Random(seed)
    stack.agent("often", schedule={"interval": {"seconds": 20}}, concurrency={"max_parallel": 2})
    retries = {"attempts": 3, "backoff_seconds": 1, "jitter": "none"}
    stack.agent("flaky", schedule={"interval": {"minutes": 1}}, retries=retries)
    for name in ("a", "b"):
        stack.agent(name, triggers=[{"name": "on", "event": {"name": "x"}}], concurrency={"max_parallel": 1})
    stack.stage.says("flaky", fails(), fails())
    for number in range(4):
        stack.put_on_events_queue({"name": "x", "id": f"e{number}"})
    stack.live(minutes=3)
    for name in ("often", "flaky"):
        stack.client.stop(name)
    stack.come_to_rest()

    runs = [(context.execution_id, context.attempt) for context in stack.stage.played]
    assert len(runs) == len(set(runs)), "an attempt has run twice"
    ticks = [row["nominal"] for row in stack.rows("often")]
    assert len(ticks) == len(set(ticks))
    assert len(ticks) >= 6
    assert statuses(stack.rows("a")) == statuses(stack.rows("b")) == ["succeeded"] * 4
    assert statuses(stack.rows("flaky"))[0] == "succeeded"
    stack.check()


def test_a_call_that_nobody_waits_for_and_that_fails_is_kept_and_the_watchdog_goes_on(stack):
    """Scheduler calls with what is no alarm; the function's error goes to the queue that the template names."""
    api = stack.account.client("scheduler")
    stack.agent(schedule={"cron": "1 8 * * *"})
    (schedule,) = [each for each in stack.account.schedules() if each.group_name.endswith("-runtime")]
    said = api.get_schedule(GroupName=schedule.group_name, Name=schedule.name)
    kept = {name: said[name] for name in ("GroupName", "Name", "ScheduleExpression", "FlexibleTimeWindow")}
    api.update_schedule(**kept, State="ENABLED", Target=said["Target"] | {"Input": '{"agent_id": "?"}'})
    stack.live(minutes=5)
    (failure,) = records(stack, "Failures")
    assert failure["requestPayload"] == {"agent_id": "?"}
    assert statuses(stack.rows()) == ["succeeded"]
    stack.check()


def test_an_attempt_that_takes_too_long_is_timed_out_and_its_process_ends(stack):
    stack.agent(timeout_seconds=1, retries={"attempts": 2, "backoff_seconds": 1, "jitter": "none"})
    stack.stage.says("agent", takes(30))
    stack.client.trigger("agent")
    stack.beat()
    (delivery,) = stack.pollers.under
    delivery.invocation.join(20)
    stack.live(minutes=3)
    (row,) = stack.rows()
    attempts = stack.client.execution(row["id"])["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["timed_out", "succeeded"]
    assert stack.account.bodies(stack.queue("Run")) == []
    stack.check()


@pytest.mark.slow
def test_a_running_attempt_that_is_cancelled_is_given_up_and_its_process_ends(stack):
    stack.agent()
    stack.stage.says("agent", held)
    for _ in range(2):
        stack.client.trigger("agent")
    stack.beat()
    (delivery,) = stack.pollers.under
    stack.client.cancel(stack.rows()[0]["id"])
    delivery.invocation.join(60)  # it looks every 15 s, by the machine's time
    stack.live(minutes=4)
    assert statuses(stack.rows()) == ["cancelled (requested)", "succeeded"]
    assert len(stack.stage.played) == 2
    assert stack.account.bodies(stack.queue("Run")) == []
    stack.check()
