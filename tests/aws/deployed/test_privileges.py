"""Least privilege, exactly: a role allows what its function calls; nothing is missing, nothing in vain.

That nothing is missing, every test here shows: a call that the role does not allow is refused, as on AWS, and fails the
test. What is in vain shows only when every function has done everything that it can do: so agents of all kinds go
through all that may happen to them, with crashes that others must mend.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.aws.deployed.test_crashes import SCENARIOS, played
from tests.aws.deployed.test_firings import Sender
from tests.aws.harness.cloudformation import RolledBack
from tests.aws.harness.functions import Crash
from tests.aws.harness.iam import Need, Statement, statements
from tests.aws.harness.stack import ACTS, Stack
from tests.aws.harness.stage import fails, held

from overnight.aws.scheduler import schedule_name
from overnight.client import ApiError

pytestmark = pytest.mark.timeout(1_800)

FLOW = Path(__file__).parents[3] / "examples" / "flows" / "hello.json"
LARGE = "x" * 20_000

ON_BEHALF = {
    "logs:CreateLogStream": "Lambda writes what a function prints",
    "logs:PutLogEvents": "Lambda writes what a function prints",
    "sqs:GetQueueAttributes": "Lambda's poller looks at the queue",
    "sqs:ChangeMessageVisibility": "Lambda's poller puts off what is throttled",
}
"""What services do in a function's role, by themselves."""

Used = set[tuple[str, Need]]


@pytest.fixture(scope="module")
def tour(tmp_path_factory) -> Iterator[tuple[Stack, Used]]:
    """A stack, and what its functions called while everything happened that can."""
    used: Used = set()
    for name in ("retry", "pause"):
        for crash_after in range(4):  # 0 is not at all
            before = Stack()
            try:
                played(before, SCENARIOS[name], crash_after, asks_again=False)
                used |= calls(before)
            finally:
                before.close()
    stack = Stack()
    for act in (declare, manage, receive, gather, overlap, miss, repair, tidy):
        act(stack, tmp_path_factory.mktemp("agents"))
        stack.check()
    yield stack, used | calls(stack)
    stack.close()


def calls(stack: Stack) -> Used:
    """What the functions called, the same in any account."""
    return {
        (function, Need(need.action, need.resource.replace(stack.account.id, "ACCOUNT")))
        for function, need in stack.world.used
    }


def write(folder: Path, agents: dict[str, Any]) -> str:
    path = folder / f"{len(list(folder.iterdir()))}.yaml"
    documents = [{"name": name, "flow": ACTS} | fields for name, fields in agents.items()]
    path.write_text(yaml.safe_dump({"agents": documents}), encoding="utf-8")
    return str(path)


def declare(stack: Stack, folder: Path) -> None:
    """Deploy agents of the stack, change them, fail to, retire them."""
    hello = {"flow": str(FLOW), "schedule": {"cron": "0 0 * * *"}}
    events = {"triggers": [{"name": "on", "event": {"name": "x"}}, {"name": "hook", "webhook": {}}]}
    stack.deploy(agents=write(folder, {"hello": hello, "pulse": {"schedule": {"interval": {"minutes": 5}}}}))
    stack.agent("night", schedule={"cron": "30 * * * *"})
    stack.live(minutes=6)
    stack.stage.says("pulse", held)
    stack.client.trigger("pulse")
    stack.client.trigger("pulse")
    stack.beat()
    with suppress(RolledBack):
        stack.deploy(agents=write(folder, {"hello": hello | events, "pulse": events, "night": {}}))
    wide = {"concurrency": {"max_parallel": 5}, "schedule": {"interval": {"minutes": 5}}}
    stack.deploy(agents=write(folder, {"hello": hello | events, "pulse": wide}))
    stack.live(minutes=5)
    stack.client.start("hello")
    with between(stack, "declare", lambda: stack.client.stop("pulse")):
        stack.advance(minutes=6)
        stack.deploy(agents=write(folder, {"hello": hello, "pulse": wide | {"schedule": {"interval": {"minutes": 7}}}}))
    larger = {"triggers": [{"name": "on", "event": {"name": "x", "batch": {"size": 9, "window_seconds": 600}}}]}
    stack.deploy(agents=write(folder, {"hello": hello, "pulse": wide, "collects": larger}))
    stack.put_on_events_queue({"name": "x", "id": "gathered", "data": {"text": LARGE}})
    stack.live(seconds=5)
    smaller = {"triggers": [{"name": "on", "event": {"name": "x", "batch": {"size": 8, "window_seconds": 600}}}]}
    with between(stack, "declare", lambda: stack.client.stop("collects")):
        stack.deploy(agents=write(folder, {"hello": hello, "pulse": wide, "collects": smaller}))
    stack.client.start("pulse")
    stack.stage.says("pulse", *[held] * 6)
    for _ in range(7):
        stack.client.trigger("pulse")
    stack.beat()
    stack.deploy(agents=write(folder, {"hello": hello}))
    stack.destroy()
    stack.deploy(agents=write(folder, {}), import_existing=True)
    leave_a_piece(stack)
    stack.deploy(agents=write(folder, {}), architecture="x86_64")  # another release: all is armed anew
    stack.client.delete_agent("night")


def leave_a_piece(stack: Stack) -> None:
    """One schedule more than an agent needs now, as another release may have armed it."""
    (schedule,) = [each for each in stack.account.schedules() if each.group_name.endswith("-runtime")]
    scheduler = stack.account.client("scheduler")
    said = scheduler.get_schedule(GroupName=schedule.group_name, Name=schedule.name)
    kept = {key: said[key] for key in ("GroupName", "ScheduleExpression", "FlexibleTimeWindow", "Target")}
    scheduler.create_schedule(**kept | {"Name": f"{schedule.name[:-1]}9"})


@contextmanager
def between(stack: Stack, function: str, act: Callable[[], object]) -> Iterator[None]:
    """Do something right after a function has inserted an execution, and before it has moved the agent's state."""
    done: list[str] = []

    def watch(one: str, call: str) -> None:
        if one == function and call.startswith("dynamodb.PutItem EXEC#") and not done:
            done.append(call)
            act()

    with stack.watched(watch):
        yield
    assert done, f"{function} inserts nothing"


def crash_in(wanted: str, function: str, call: str) -> None:
    if function == wanted:
        raise Crash(f"{function}: {call}")


def manage(stack: Stack, _: Path) -> None:
    """Everything that the API offers."""
    api = stack.client
    stack.agent(
        "a", schedule={"cron": "0 * * * *"}, retries={"attempts": 1}, triggers=[{"name": "hook", "webhook": {}}]
    )
    stack.agent("b", description=LARGE[:2_000], flow={"langflow": yaml.safe_load(FLOW.read_text(encoding="utf-8"))})
    stack.stage.says("a", fails(LARGE), fails(), lambda _: LARGE, lambda _: {"text": LARGE, "more": LARGE})
    for _ in range(4):
        api.trigger("a", input_value=LARGE)
        stack.live(seconds=2)
    rows = stack.rows("a")
    for row in rows:
        api.execution(row["id"])
        api.logs(row["id"])
    api.redrive(rows[0]["id"])
    stack.live(seconds=2)
    api.redrive_all(agent="a")
    api.set_secret("name", "value")
    api.secrets()
    api.delete_secret("name")
    (hook,) = (each["hook_id"] for each in api.webhooks(agent="a")["items"])
    api.webhook_secret(hook)
    api.rotate_webhook_secret(hook)
    api.edit_agent("a", {"triggers": [{"name": "other", "cron": "5 * * * *"}]})
    for verb in (api.pause, api.resume, api.stop, api.start):
        verb("a")
    stack.live(minutes=2)
    api.notifications("a")
    api.schedules()
    api.health()
    api.backfill("a", since="2026-03-02T00:00:00Z", until=stack.now.isoformat())
    api.send_event("large", data={"text": LARGE})
    api.edit_agent("a", {"triggers": [{"name": "other", "cron": "6 * * * *"}]})
    unknown = {"name": "c", "flow": {"langflow": "0" * 64}}
    with pytest.raises(ApiError):
        api.create_agent(unknown)
    with between(stack, "api", lambda: api.stop("a")), suppress(ApiError):
        api.trigger("a")
    api.verify()
    api.trigger("b")
    stack.live(seconds=2)
    api.delete_agent("a")
    api.delete_agent("b")
    stack.agent("variable", variables={"TOKEN": "secret:token"})
    api.set_secret("token", "value")
    api.trigger("variable")
    stack.live(seconds=2)
    api.delete_agent("variable")


def receive(stack: Stack, _: Path) -> None:
    """Webhooks with secrets of every origin, small and large, paused, full and rotated."""
    stack.client.set_secret("supplied", "whsec_c3VwcGxpZWQ=")
    made, supplied = {"name": "made", "webhook": {"rate_limit_per_minute": 100}}, {"secret": "secret:supplied"}
    agent = stack.agent("hooked", triggers=[made, {"name": "supplied", "webhook": supplied}])
    for trigger in ("made", "supplied"):
        sender = Sender(stack, agent, trigger)
        for body in (b'{"n": 1}', f'"{LARGE}"'.encode()):
            assert sender.post(body, sender.signed(body, f"{trigger}-{len(body)}")).status_code == 202
    stack.live(seconds=5)
    sender = Sender(stack, agent, "made")
    with between(stack, "webhook", lambda: stack.client.stop("hooked")):
        assert sender.post(b"{}", sender.signed(b"{}", "raced")).status_code == 409


def gather(stack: Stack, _: Path) -> None:
    """Events in every form, gathered and not, small and large; followers of executions."""
    batch = {"name": "x.*", "batch": {"size": 2, "window_seconds": 30}}
    stack.agent("gathers", triggers=[{"name": "on", "event": batch}, {"name": "hook", "webhook": {}}])
    stack.agent("quiet", triggers=[{"name": "on", "event": {"name": "x.*", "debounce": {"delay_seconds": 5}}}])
    stack.agent("follows", triggers=[{"name": "on", "event": {"name": "overnight.execution.*"}}])
    for number in range(5):
        stack.put_on_events_queue({"name": "x.new", "id": f"q{number}", "data": {"text": LARGE}})
        stack.client.send_event("x.old", data={"text": LARGE})
        stack.live(seconds=20)
    stack.account.client("sqs").send_message(QueueUrl=stack.cloud.outputs["EventsQueueUrl"], MessageBody="poison")
    stack.live(minutes=2)
    stack.agent("raced", triggers=[{"name": "on", "event": {"name": "z"}}])
    stack.put_on_events_queue({"name": "z", "id": "raced"})
    with between(stack, "events", lambda: stack.client.stop("raced")):
        stack.live(seconds=1)
    for closes in ("runner", "tick", "watchdog"):
        gathered = {"name": "g", "batch": {"size": 9, "window_seconds": 5}}
        stack.agent("closed", triggers=[{"name": "on", "event": gathered}])
        stack.client.send_event("g", data={"text": LARGE}, event_id=closes)
        with suppress(AssertionError), between(stack, closes, lambda: stack.client.stop("closed")):
            if closes == "watchdog":
                stack.advance(minutes=2)
                stack.scheduler.invoke(stack.function("watchdog"), {})
            stack.live(seconds=20)
        stack.client.delete_agent("closed")
    trips = [{"name": "on", "event": {"name": "t", "batch": {"size": 9, "window_seconds": 5}}}]
    stack.agent("trips", triggers=trips, pause_after_failures=1, retries={"attempts": 1})
    stack.stage.says("trips", fails())
    stack.put_on_events_queue({"name": "t", "id": "trips", "data": {"text": LARGE}})
    stack.pollers.poll("events")
    stack.client.trigger("trips")
    stack.advance(seconds=30)
    with between(stack, "runner", lambda: stack.client.stop("trips")):  # what it disables, it closes
        stack.pollers.poll("runner")
    stack.client.delete_agent("trips")
    stack.agent("late", triggers=[{"name": "on", "event": {"name": "l", "batch": {"size": 9, "window_seconds": 5}}}])
    for number in range(2):  # the second one comes when the first ones should have been closed already
        stack.put_on_events_queue({"name": "l", "id": f"l{number}", "data": {"text": LARGE}})
        stack.pollers.poll("events")
        stack.advance(seconds=30)
    stack.live(seconds=30)
    stack.client.delete_agent("late")
    for crash in ("tick", "events", "api"):  # what these leave, the watchdog closes
        with stack.watched(lambda function, call, crash=crash: crash_in(crash, function, call)), suppress(ApiError):
            stack.put_on_events_queue({"name": "x.new", "id": f"lost-{crash}", "data": {"text": LARGE}})
            stack.live(seconds=5)
            stack.client.send_event("x.old", data={"text": LARGE}, event_id=f"lost-api-{crash}")
            stack.live(seconds=60)
        stack.live(minutes=3)
    for name in ("follows", "gathers", "quiet", "raced"):
        stack.client.delete_agent(name)


def overlap(stack: Stack, _: Path) -> None:
    """Every source of firings meets every overlap policy."""
    for policy in ("queue_one", "cancel_running", "skip", "queue"):
        triggers = [
            {"name": "often", "interval": {"seconds": 20}},
            {"name": "on", "event": {"name": "y"}},
            {"name": "hook", "webhook": {}},
        ]
        fields = {"concurrency": {"on_overlap": policy, "queue_limit": 1}, "start_deadline_seconds": 30}
        agent = stack.agent("busy", triggers=triggers, **fields)
        stack.stage.says("busy", held)
        sender = Sender(stack, agent, "hook")
        for number in range(6):
            stack.put_on_events_queue({"name": "y", "id": f"{policy}{number}"})
            with suppress(ApiError):
                stack.client.trigger("busy")
            sender.post(b"{}", sender.signed(b"{}", f"{policy}{number}"))
            stack.live(seconds=15)
        if stack.stage.waiting:
            stack.kill("busy")
        stack.live(minutes=4)
        stack.client.delete_agent("busy")
        stack.stage.script.clear()


def miss(stack: Stack, _: Path) -> None:
    """Ticks are missed, and caught up with, by the tick function and by the watchdog; one schedule is a stray."""
    for policy in ("coalesce", "skip", "all"):
        stack.agent(policy, schedule={"cron": "*/10 * * * *", "catch_up": policy})
    stack.advance(hours=20)
    stack.live(minutes=12)
    for policy in ("coalesce", "skip", "all"):
        stack.client.delete_agent(policy)
    stack.agent("raced", schedule={"cron": "* * * * *"})
    with between(stack, "tick", lambda: stack.client.stop("raced")):
        stack.live(minutes=2)
    stack.client.start("raced")
    stack.advance(minutes=3)
    with between(stack, "watchdog", lambda: stack.client.stop("raced")):
        stack.scheduler.invoke(stack.function("watchdog"), {})
    stack.client.delete_agent("raced")


def repair(stack: Stack, _: Path) -> None:
    """Alarms that are lost, orders that nobody carried out, calls that fail, notifications."""
    notify = {"on": ["failed", "recovered"], "url": "https://example.com/hook"}
    agent = stack.agent("told", schedule={"cron": "*/5 * * * *"}, notify=notify, retries={"attempts": 1})
    stack.agent("topical", notify={"on": ["failed"], "url": "sns"}, retries={"attempts": 1})
    stack.stage.says("told", fails())
    stack.stage.says("topical", fails())
    stack.client.trigger("told")
    stack.client.trigger("topical")
    scheduler = stack.account.client("scheduler")
    (schedule,) = [each for each in stack.account.schedules() if agent["id"] in each.target.get("Input", "")]
    kept = scheduler.get_schedule(GroupName=schedule.group_name, Name=schedule.name)
    scheduler.delete_schedule(GroupName=schedule.group_name, Name=schedule.name)
    stack.live(minutes=12)
    stray = {key: kept[key] for key in ("GroupName", "ScheduleExpression", "FlexibleTimeWindow", "Target")}
    said = stray["Target"]["Input"].replace(agent["id"], "0" * 32)
    name = schedule_name("0" * 32, "schedule", 0)
    scheduler.create_schedule(**stray | {"Name": name, "Target": stray["Target"] | {"Input": said}})
    bad = stray["Target"] | {"Input": "{}"}
    scheduler.create_schedule(**stray | {"Name": "bad", "Target": bad})
    stack.live(minutes=6)
    scheduler.delete_schedule(GroupName=schedule.group_name, Name="bad")
    for function in ("watchdog", "declare"):
        with stack.watched(lambda one, call, function=function: crash_in(function, one, call)):
            stack.client.trigger("told")
            stack.function("runner").processes.clear()
            stack.advance(minutes=3)
            stack.scheduler.invoke(stack.function(function), "no request")
    stack.live(minutes=4)


def tidy(stack: Stack, _: Path) -> None:
    """An agent whose retention has passed; blobs that nobody needs."""
    owner, digest = "0" * 32, sha256(b"").hexdigest()
    bucket, table = stack.cloud.outputs["BlobsName"], stack.cloud.outputs["TableName"]
    for key in (f"executions/{owner}/{digest}", f"flows/{digest}"):
        stack.account.client("s3").put_object(Bucket=bucket, Key=key, Body=b"")
    place = {"pk": {"S": "STACK"}, "sk": {"S": "SWEEP"}}
    stack.account.client("dynamodb").delete_item(TableName=table, Key=place)
    for agent in stack.client.agents()["items"]:
        stack.client.delete_agent(agent["id"])
    stack.advance(days=40)
    stack.live(hours=1)


FUNCTIONS = ("api", "webhook", "tick", "events", "runner", "watchdog", "declare")


def policy(stack: Stack, function: str) -> list[Statement]:
    role = stack.function(function).role.rsplit("/", 1)[1]
    return [
        statement
        for kept in stack.cloud.of("AWS::IAM::Policy").values()
        if role in kept.properties["Roles"]
        for statement in statements(kept.properties["PolicyDocument"])
    ]


def in_vain(stack: Stack, used: Used, function: str) -> list[str]:
    """What the role allows, and what nobody does."""
    mine = [need for name, need in used if name == function]
    found = []
    for statement in policy(stack, function):
        for action in statement.actions:
            for resource in statement.resources:
                one = Statement("Allow", (action,), (resource.replace(stack.account.id, "ACCOUNT"),), {})
                if action not in ON_BEHALF and not any(one.matches(need) for need in mine):
                    found.append(f"{action} {resource.rsplit(':', 1)[-1]}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_role_allows_nothing_in_vain(tour, function):
    stack, used = tour
    assert in_vain(stack, used, function) == []


def test_the_bus_may_put_events_into_their_queue_and_nobody_else_may(stack):
    rule = stack.cloud.one("AWS::Events::Rule").made.attributes["Arn"]
    queue = stack.queue("Events")
    policy = next(
        kept.properties["PolicyDocument"]["Statement"]
        for kept in stack.cloud.of("AWS::SQS::QueuePolicy").values()
        if queue in str(kept.properties["PolicyDocument"])
    )
    (sends,) = [each for each in policy if each["Effect"] == "Allow"]
    assert sends["Principal"] == {"Service": "events.amazonaws.com"}
    assert sends["Condition"]["ArnEquals"] == {"aws:SourceArn": rule}
    assert "sqs:SendMessage" in sends["Action"]
    assert sends["Resource"] == queue


def test_scheduler_takes_its_role_for_the_stacks_own_groups_alone(stack):
    (role,) = {schedule.target["RoleArn"] for schedule in stack.account.schedules()}
    trusted = stack.cloud.one("AWS::IAM::Role", "SchedulingRole").properties["AssumeRolePolicyDocument"]["Statement"]
    groups = [kept.made.attributes["Arn"] for kept in stack.cloud.of("AWS::Scheduler::ScheduleGroup").values()]
    assert stack.cloud.one("AWS::IAM::Role", "SchedulingRole").made.attributes["Arn"] == role
    assert [each["Principal"] for each in trusted] == [{"Service": "scheduler.amazonaws.com"}]
    assert trusted[0]["Condition"]["StringEquals"] == {
        "aws:SourceAccount": stack.account.id,
        "aws:SourceArn": groups,
    }


def test_what_a_role_does_not_allow_is_refused_here_too(stacks):
    """Else all the tests would show nothing."""
    stack = stacks()
    stack.deploy()
    stack.agent()
    role = stack.function("api").role.rsplit("/", 1)[1]
    (own,) = [kept for kept in stack.cloud.of("AWS::IAM::Policy").values() if role in kept.properties["Roles"]]
    own.properties["PolicyDocument"]["Statement"] = [
        each for each in own.properties["PolicyDocument"]["Statement"] if "sqs:SendMessage" not in str(each["Action"])
    ]
    with pytest.raises(ApiError):
        stack.client.trigger("agent")
    assert {need.action for _, need in stack.world.refused} == {"sqs:SendMessage"}
    stack.world.refused.clear()
