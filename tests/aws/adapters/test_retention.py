"""What the watchdog removes on AWS: what is left of deleted agents, and blobs that nobody needs any more."""

import moto.s3.models
import pytest
from tests.aws.adapters.conftest import Invocation
from tests.support import aws

from overnight.agents import AgentDocument, LangflowFlow
from overnight.aws import s3
from overnight.aws.dynamodb import agents, schema
from overnight.aws.engine import SWEEP_MINUTE, SWEEP_SECONDS
from overnight.aws.s3 import Swept
from overnight.core import declare, fire, lifecycle
from overnight.core.payloads import opened
from overnight.core.replay import replay
from overnight.errors import AgentNotFound

HOOK = {"name": "hook", "webhook": {}}
DAILY = {"name": "daily", "cron": "0 9 * * *"}


def items(stack) -> list[str]:
    """What the table holds of agents."""
    found = aws.client("dynamodb").scan(TableName=stack.name)["Items"]
    return sorted(item[schema.PK]["S"] for item in found if item[schema.PK]["S"] != "STACK")


def retired(stack, **fields):
    """An agent that was edited, then deleted, whose retention has passed."""
    agent = stack.agent(triggers=[HOOK, DAILY], retention_days=7, **fields)
    ports = stack.open().ports
    for text in ("second", "third"):
        edited = agent.document.model_copy(update={"description": text, "triggers": (agent.document.triggers[0],)})
        lifecycle.edit(ports, agent.id, edited)
    lifecycle.delete(ports, agent.id)
    stack.pass_(days=7, minutes=1)
    return agent


def test_nothing_is_left_of_a_deleted_agent_after_its_retention(stack):
    agent = retired(stack)
    assert len(items(stack)) == 6
    assert stack.open().watch(Invocation()) == 1
    assert items(stack) == []
    assert stack.open().watch(Invocation()) == 0
    with pytest.raises(AgentNotFound):
        stack.open().ports.store.agent(agent.id)


def test_nothing_of_it_goes_before(stack):
    retired(stack)
    stack.pass_(minutes=-2)
    assert stack.open().watch(Invocation()) == 0
    assert len(items(stack)) == 6


def test_what_is_much_goes_in_parts(stack, monkeypatch):
    monkeypatch.setattr(agents, "FORGOTTEN_AT_ONCE", 2)
    retired(stack)
    left = [len(items(stack))]
    while stack.open().watch(Invocation()):
        left.append(len(items(stack)))
        assert stack.open().ports.store.agents(deleted=True).items == ()
    assert left == [6, 3, 1, 0]


def test_an_agent_that_is_taken_up_again_meanwhile_stays(stack):
    agent = retired(stack)
    store = stack.open().ports.store
    table, revived = store._agents._table, []

    class Racing:
        def __getattr__(self, verb):
            return getattr(table, verb)

        def delete(self, key, condition=None):
            if not revived:
                revived.append(declare.seed(stack.open().ports, agent.id, agent.document))
            table.delete(key, condition)

    store._agents._table = Racing()
    assert not store.forget_agent(agent.id)
    assert store.read(agent.id)[1].status == "ACTIVE"
    assert store.hook(next(key for key in items(stack) if key.startswith("HOOK#")).removeprefix("HOOK#"))


def test_an_agent_may_come_back_by_the_id_of_one_that_is_half_forgotten(stack, monkeypatch):
    monkeypatch.setattr(agents, "FORGOTTEN_AT_ONCE", 1)
    agent = retired(stack)
    stack.open().watch(Invocation())
    document = AgentDocument.model_validate({"name": "anew", "flow": {"python": "a:b"}})
    back, state = declare.seed(stack.open().ports, agent.id, document)
    assert (back.version, state.schedules) == (1, {})
    assert items(stack) == [f"AGENT#{agent.id}", f"AGENT#{agent.id}", "NAMES"]


def test_a_schedule_that_could_not_be_disarmed_goes_with_its_agent(stack):
    agent = stack.agent(triggers=[DAILY], retention_days=7)
    (kept,) = stack.schedules()
    lifecycle.delete(stack.open().ports, agent.id)
    copied = ("Name", "GroupName", "ScheduleExpression", "FlexibleTimeWindow", "Target")
    aws.client("scheduler").create_schedule(**{key: kept[key] for key in copied})
    stack.pass_(days=8)
    stack.open().watch(Invocation())
    assert stack.schedules() == []


# Blobs


LARGE = "x" * 5_000
OWNERLESS = b'{"data":{"edges":[],"nodes":[]}}'


def blobs(stack) -> set[str]:
    """The names of the blobs in the bucket, versions that are not current left out."""
    found = aws.client("s3").list_objects_v2(Bucket=stack.name).get("Contents", [])
    return {one["Key"].partition("/")[2] for one in found}


def sweep(stack, days=7) -> int:
    """Let that many days pass, and the watchdog do what it does once a week."""
    stack.pass_(days=days, hours=1)
    stack.at = stack.at.replace(minute=SWEEP_MINUTE)
    aws.time_to_live(stack.name, stack.at, 1_000)
    return stack.open().watch(Invocation())


def carried_out(stack, payload):
    """An execution that has run, and printed; its row."""
    admitted = fire.trigger(stack.open().ports, "agent", payload=payload)
    for message in stack.messages():
        stack.open_runner().run(message, Invocation())
    return stack.open().ports.store.execution(admitted.execution.id)


def test_what_an_execution_was_given_gave_and_printed_goes_with_it(stack):
    stack.agent(flow={"python": "tests.support.lambdas:prints"}, retention_days=7)
    row = carried_out(stack, {"text": LARGE})
    kept = {row.payload.blob, row.output.blob, row.first.log}
    assert blobs(stack) == kept
    assert all(name.startswith(row.id) for name in kept)
    assert sweep(stack, days=6) == 0
    assert blobs(stack) == kept
    assert sweep(stack) == 3
    assert blobs(stack) == set()


def test_what_an_execution_that_waits_was_given_stays_however_long(stack):
    stack.agent(retention_days=7)
    fire.trigger(stack.open().ports, "agent", payload={"text": LARGE})
    for _ in range(5):
        stack.bodies("run")
        sweep(stack)
    assert len(blobs(stack)) == 1


def test_what_is_replayed_has_a_blob_of_its_own(stack):
    stack.agent(retention_days=7)
    first = carried_out(stack, {"text": LARGE})
    stack.pass_(days=5)
    again = replay(stack.open().ports, first.id).execution
    sweep(stack, days=1)
    assert len(blobs(stack)) == 2
    stack.bodies("run")
    sweep(stack)
    assert blobs(stack) == {again.payload.blob}
    assert opened(stack.open().ports.blobs, again.payload) == {"text": LARGE}


def test_a_flow_stays_until_its_last_agent_is_forgotten_in_every_version(stack):
    ports = stack.open().ports
    first, second, nobodys = (ports.blobs.put(content) for content in (b"first", b"second", b"nobody's"))
    agent = stack.agent(flow={"langflow": first}, retention_days=10)
    document = agent.document.model_copy(update={"flow": LangflowFlow(langflow=second)})
    lifecycle.edit(ports, agent.id, document)
    assert blobs(stack) == {first, second, nobodys}
    assert sweep(stack) == 1
    assert blobs(stack) == {first, second}
    lifecycle.delete(ports, agent.id)
    sweep(stack)
    assert blobs(stack) == {first, second}
    sweep(stack)
    assert blobs(stack) == set()


def test_what_is_put_again_while_it_is_swept_stays(stack):
    ports = stack.open().ports
    digest = ports.blobs.put(OWNERLESS)
    ports.blobs.put(OWNERLESS)
    stack.pass_(days=2)

    def used(names):
        ports.blobs.put(OWNERLESS)  # somebody is about to refer to it
        return ()

    assert ports.blobs.sweep(stack.at, used) == Swept(1, None)
    assert ports.blobs.get(digest) == OWNERLESS


def test_what_was_put_today_stays_and_so_does_what_is_not_ours(stack):
    digest = stack.open().ports.blobs.put(OWNERLESS)
    aws.client("s3").put_object(Bucket=stack.name, Key="flows/notes.txt", Body=b"mine")
    stack.at = stack.at.replace(hour=23, minute=SWEEP_MINUTE)
    assert stack.open().watch(Invocation()) == 0
    assert blobs(stack) == {digest, "notes.txt"}
    assert sweep(stack) == 1
    assert blobs(stack) == {"notes.txt"}


@pytest.fixture
def paged(monkeypatch):
    """Pages of four. moto leaves out the first key after a marker whose own is gone; this does as S3 does."""
    monkeypatch.setattr(s3, "PAGE", 4)
    every = moto.s3.models.S3Backend.list_object_versions

    def page(backend, bucket_name, key_marker=None, max_keys=1_000, **_):
        versions, prefixes, markers, *_ = every(backend, bucket_name, max_keys=None)
        rest = [version for version in versions if version.name > (key_marker or "")]
        return rest[:max_keys], prefixes, markers, rest[max_keys - 1].name if rest[max_keys:] else None, None

    monkeypatch.setattr(moto.s3.models.S3Backend, "list_object_versions", page)


@pytest.mark.usefixtures("paged")
def test_a_sweep_that_runs_out_of_time_is_carried_on_an_hour_later(stack):
    for number in range(10):
        stack.open().ports.blobs.put(str(number).encode())
    stack.pass_(days=1, hours=1)
    stack.at = stack.at.replace(minute=SWEEP_MINUTE)
    left = []
    for _ in range(4):
        invocation = Invocation(SWEEP_SECONDS + 1)
        delete = stack.open().ports.blobs.sweep
        engine = stack.open()

        def step(*given, invocation=invocation, delete=delete):
            invocation.seconds = SWEEP_SECONDS - 1
            return delete(*given)

        engine._sweep._blobs.sweep = step
        engine.watch(invocation)
        left.append(len(blobs(stack)))
        stack.pass_(hours=1)
    assert left == [6, 2, 0, 0]


def test_an_hour_with_nothing_to_sweep_costs_a_read(stack):
    sweep(stack)
    stack.pass_(hours=1)
    stack.meter.read()
    stack.open().watch(Invocation())
    swept = stack.meter.read().calls
    stack.pass_(minutes=1)
    stack.open().watch(Invocation())
    assert swept - stack.meter.read().calls == {"dynamodb.get_item": 1}
