"""DynamoDB on a bad day: throttled, contended, its answers lost."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.support import aws
from tests.support.faults import faulty, lost, refused, throttled, well

from overnight.agents import Agent, AgentDocument, AgentState, AgentStatus, Slot
from overnight.aws.dynamodb import DynamoStore, Table
from overnight.aws.dynamodb.table import Condition, Refused
from overnight.core.due import look_at
from overnight.errors import Invalid, Unavailable
from overnight.executions import Execution, Firing, FiringKind, Status
from overnight.ports import Admission, Change, Revision, Transition

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DOCUMENT = AgentDocument.model_validate({"name": "daily", "flow": {"python": "reports:run"}})
FIRING = Firing(agent_id="a", kind=FiringKind.MANUAL, dedupe_key="key:1")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)


@pytest.fixture
def table():
    return aws.make_table(aws.fresh("table"))


def store(table, *faults):
    client = faulty("dynamodb", faults)
    return DynamoStore(Table(lambda: client, table), look_at, lambda: NOW)


def create(store):
    agent = Agent(id="a", document=DOCUMENT, created_at=NOW, updated_at=NOW)
    store.create_agent(Change(agent, Transition(AgentState(agent_id="a", status=AgentStatus.ACTIVE))))


def execution():
    return Execution(
        id=FIRING.execution_id,
        agent_id="a",
        agent="daily",
        status=Status.PENDING,
        kind=FIRING.kind,
        dedupe_key=FIRING.dedupe_key,
        agent_version=1,
        created_at=NOW,
    )


def admit(store):
    def decide(agent, state):
        slot = Slot(attempt=1, since=NOW, look_at=NOW + timedelta(minutes=1))
        return Admission(execution(), Transition(state.model_copy(update={"running": {FIRING.execution_id: slot}})))

    return store.admit(FIRING, decide)


def revise(store):
    return store.revise(FIRING.execution_id, lambda row: Revision(row.model_copy(update={"attempt": row.attempt + 1})))


def transition(store):
    note = {"failures": 1}
    return store.transition(
        "a", lambda agent, state: Transition(state.model_copy(update=note)) if not state.failures else None
    )


@pytest.mark.parametrize("verb", [admit, revise, transition])
@pytest.mark.parametrize("calls_before", range(4))
def test_an_answer_that_is_lost_is_no_answer_of_somebody_else(table, verb, calls_before):
    """Botocore repeats the call, and the condition of a write that has worked no longer holds."""
    sound = store(table)
    create(sound)
    if verb is not admit:
        admit(sound)
    broken = store(table, *[well()] * calls_before, lost())
    result = verb(broken)
    assert result is not None
    if verb is admit:
        assert not result.duplicate
    _, state = sound.read("a")
    assert state.running.keys() == {FIRING.execution_id}
    assert sound.execution(FIRING.execution_id).attempt == (verb is revise)
    assert state.failures == (verb is transition)


def test_what_is_throttled_is_tried_again(table):
    sound = store(table)
    create(sound)
    broken = store(table, throttled(), throttled(), throttled())
    assert broken.read("a")[0].name == "daily"


def test_what_stays_throttled_is_unavailable_and_says_so(table):
    broken = store(table, *[throttled()] * 30)
    with pytest.raises(Unavailable, match="DynamoDB: ThrottlingException: Rate exceeded"):
        broken.read("a")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (refused("ResourceNotFoundException", "Requested resource not found"), "ResourceNotFoundException"),
        (refused("AccessDeniedException", "not authorized"), "AccessDeniedException: not authorized"),
    ],
)
def test_what_aws_refuses_is_told_in_its_own_words(table, fault, says):
    with pytest.raises(Unavailable, match=says):
        store(table, fault).healthy()


def test_a_write_to_what_a_transaction_has_just_now_is_tried_again(table):
    conflict = refused("TransactionConflictException", "Transaction is ongoing for the item")
    client = faulty("dynamodb", [conflict, conflict])
    on = Table(lambda: client, table)
    on.put({"pk": "a", "sk": "b", "n": 1})
    assert on.get(("a", "b")) == {"pk": "a", "sk": "b", "n": 1}


def test_a_refused_write_tells_what_is_there(table):
    on = Table(lambda: aws.client("dynamodb"), table)
    on.put({"pk": "a", "sk": "b", "n": 1})
    with pytest.raises(Refused) as refusal:
        on.put({"pk": "a", "sk": "b", "n": 2}, Condition("attribute_not_exists(#pk)"))
    assert refusal.value.found == {"pk": "a", "sk": "b", "n": 1}


def test_what_is_too_large_for_an_item_is_invalid(table):
    on = Table(lambda: aws.client("dynamodb"), table)
    with pytest.raises(Invalid, match="400 KB"):
        on.put({"pk": "a", "sk": "b", "text": "x" * 410_000})


def test_many_are_read_a_hundred_at_a_time_and_what_is_left_over_again(table, monkeypatch):
    on = Table(lambda: aws.client("dynamodb"), table)
    keys = [("many", f"{n:03}") for n in range(150)]
    for pk, sk in keys:
        on.put({"pk": pk, "sk": sk})
    client, asked = aws.client("dynamodb"), []

    class Halves:
        """Answers for half of the keys, as DynamoDB may."""

        def batch_get_item(self, RequestItems):  # noqa: N803 - boto3's
            ((name, wanted),) = RequestItems.items()
            asked.append(len(wanted["Keys"]))
            half = (len(wanted["Keys"]) + 1) // 2
            answer = client.batch_get_item(RequestItems={name: wanted | {"Keys": wanted["Keys"][:half]}})
            left = wanted["Keys"][half:]
            return answer | {"UnprocessedKeys": {name: wanted | {"Keys": left}} if left else {}}

    assert set(Table(Halves, table).get_each(keys)) == set(keys)
    assert max(asked) == 100

    class Nothing(Halves):
        def batch_get_item(self, RequestItems):  # noqa: N803
            return {"Responses": {}, "UnprocessedKeys": RequestItems}

    with pytest.raises(Unavailable, match="throttling"):
        Table(Nothing, table).get_each(keys)


def test_a_partition_of_many_pages_is_read_whole(table):
    on = Table(lambda: aws.client("dynamodb"), table)
    for n in range(8):
        on.put({"pk": "long", "sk": f"{n}", "text": "x" * 300_000})
    assert [item["sk"] for item in on.query("long")] == list("01234567")
    assert [item["sk"] for item in on.query("long", low="2", high="5", newest_first=True)] == list("5432")


def test_an_agent_that_is_too_large_is_invalid(table):
    large = {"tweaks": {f"Prompt-{n}": {"template": "x" * 1_000} for n in range(450)}}
    agent = Agent(
        id="a",
        document=AgentDocument.model_validate(DOCUMENT.model_dump() | {"input": large}),
        created_at=NOW,
        updated_at=NOW,
    )
    with pytest.raises(Invalid, match="400 KB"):
        store(table).create_agent(Change(agent, Transition(AgentState(agent_id="a"))))


def test_a_process_remembers_so_many_agents_and_no_more(table, monkeypatch):
    monkeypatch.setattr("overnight.aws.dynamodb.gates.REMEMBERED", 3)
    monkeypatch.setattr("overnight.aws.dynamodb.agents.REMEMBERED", 3)
    on = store(table)
    for n in range(10):
        document = DOCUMENT.model_copy(update={"name": f"agent-{n}"})
        agent = Agent(id=f"a{n}", document=document, created_at=NOW, updated_at=NOW)
        on.create_agent(Change(agent, Transition(AgentState(agent_id=agent.id))))
        assert on.agent_version(agent.id, 1) == agent
    assert len(on._gates._agents) <= 3
    assert on._agents._version.cache_info().currsize <= 3
