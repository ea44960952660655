"""What the core needs of the world, all of it: the ports, which adapters fill.

The store has three ways to write, each atomic, each given a pure function of what is stored, which may be called again
when somebody else wrote in between:

    admit       insert an execution, and move the agent's state with it
    transition  move an agent's state
    revise      move one execution

and two that span more, `readmit` and `change_agent`. A function raises to refuse, and then nothing is written; it
returns None where nothing is to be done.

What a verb's function wants sent is sent by the store where queue and store share a transaction (SQL), and handed back
as `unsent` where they don't (DynamoDB and SQS): the caller sends it. A send that a crash loses, the watchdog repeats.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from pydantic import JsonValue

from overnight.agents import Agent, AgentState, AgentStatus, ArmedPeriod
from overnight.executions import (
    Attempt,
    AttemptOutcome,
    Event,
    Execution,
    Failure,
    Firing,
    FiringKind,
    Message,
    Pending,
    Reason,
    Status,
    Stretch,
    Tick,
    Usage,
)

__all__ = [
    "Admission",
    "Admitted",
    "AlarmClock",
    "BlobStore",
    "Change",
    "Courier",
    "Decide",
    "Delivery",
    "DueAgent",
    "DueExecution",
    "EventBus",
    "ExecutionFilter",
    "FlowRunner",
    "Having",
    "Hook",
    "Observer",
    "Page",
    "Ports",
    "Revision",
    "RunReport",
    "RunRequest",
    "SecretStore",
    "Store",
    "Transition",
    "WorkQueue",
]

T = TypeVar("T")


Having = Literal["schedule", "webhook"]
"""Kinds of triggers by which agents are looked for."""


class Page(NamedTuple, Generic[T]):
    """One page of a listing; `cursor` asks for the next, None at the end."""

    items: tuple[T, ...]
    cursor: str | None = None


class Transition(NamedTuple):
    """What an agent's state becomes, and what is to be sent once that is durable."""

    state: AgentState
    sends: tuple[Message, ...] = ()


class Admission(NamedTuple):
    """What a firing becomes: an execution, and what it does to its agent's state."""

    execution: Execution
    transition: Transition


Decide = Callable[[Agent, AgentState], Admission | None]
"""What a firing becomes, asked within the gate; None for nothing."""


class Admitted(NamedTuple):
    """What became of a firing: the execution, whether it was there before, and what is still to be sent."""

    execution: Execution
    duplicate: bool = False
    state: AgentState | None = None
    unsent: tuple[Message, ...] = ()


class Revision(NamedTuple):
    """What an execution becomes; an attempt that ended; and what is to be sent once that is durable."""

    execution: Execution
    attempt: Attempt | None = None
    sends: tuple[Message, ...] = ()


class Change(NamedTuple):
    """What an agent becomes: definition, state, armed periods opened or closed."""

    agent: Agent
    transition: Transition
    periods: tuple[ArmedPeriod, ...] = ()


class ExecutionFilter(NamedTuple):
    """Which executions to list; None means any. Times are of creation, UTC, `since` inclusive, `until` exclusive.

    A reason is that of what was skipped or cancelled.
    """

    agent_id: str | None = None
    statuses: tuple[Status, ...] = ()
    kinds: tuple[FiringKind, ...] = ()
    trigger: str | None = None
    reason: Reason | None = None
    since: datetime | None = None
    until: datetime | None = None


class DueAgent(NamedTuple):
    """An agent whose state says: look now."""

    agent_id: str


class DueExecution(NamedTuple):
    """An execution whose own due time has come."""

    execution_id: str
    agent_id: str


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook's address: whose trigger it is, and which of the secrets that are made for it are live.

    The secret of `version` is the present one; the one before it is accepted until `previous_until` (UTC).
    """

    id: str
    agent_id: str
    trigger: str
    version: int = 1
    previous_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notification on its way to a URL: a deterministic id, the body as it is signed, and how often it was tried."""

    id: str
    agent_id: str
    execution_id: str
    url: str
    body: str
    created_at: datetime
    due: datetime | None
    tries: int = 0
    status: str = "pending"  # pending, delivered, failed
    error: str | None = None


class Store(Protocol):
    """Agents, their states, executions and what hangs on them. Every write is durable when the call returns."""

    # Agents

    def create_agent(self, change: Change) -> None:
        """Store a new agent. Raises AgentExists when the name is taken."""

    def change_agent(
        self, agent_id: str, change: Callable[[Agent, AgentState], Change | None]
    ) -> tuple[Change, tuple[Message, ...]] | None:
        """Move an agent, its state and its armed periods as one; what is unsent comes back with it.

        A change of the version keeps the former definition; `deleted_at` frees the name. Raises AgentNotFound;
        AgentExists for a rename to a taken name.
        """

    def agent(self, ref: str) -> Agent:
        """The agent of that id or name; a deleted one by its id only. Raises AgentNotFound."""

    def agent_version(self, agent_id: str, version: int) -> Agent:
        """The agent as it was at that version. Raises AgentNotFound."""

    def read(self, ref: str) -> tuple[Agent, AgentState]:
        """The agent of that id or name with its state, consistent. Raises AgentNotFound."""

    def agents(
        self,
        *,
        status: AgentStatus | None = None,
        having: Having | None = None,
        cursor: str | None = None,
        limit: int = 100,
        deleted: bool = False,
    ) -> Page[tuple[Agent, AgentState]]:
        """Agents by name, of a status, with triggers of a kind; with `deleted` all, the deleted ones too, by id.

        A page may be short, and even empty, while its cursor goes on.
        """

    def states(self, agent_ids: Iterable[str]) -> Mapping[str, AgentState]:
        """The states of these agents, as far as they are there, by id."""

    def periods(self, agent_ids: Sequence[str], since: datetime, until: datetime) -> Sequence[ArmedPeriod]:
        """The armed periods of these agents that touch [since, until): one agent's together, by trigger and time."""

    def forget_agent(self, agent_id: str) -> bool:
        """Remove what is left of a deleted agent; False, and nothing happens, while it has executions, or lives.

        Where that is much, a store may do it in parts: the agent is gone at once, and its id stays due until all is.
        """

    # The three ways to write

    def admit(self, firing: Firing, decide: Decide) -> Admitted | None:
        """Insert the execution that `decide` makes of the firing, and move the state.

        The insert is the dedupe: where the execution is there already, it is returned as a duplicate, and the state is
        left alone but for a cursor that lags behind. An execution that the state gathers (its id is new among
        `gathered[…].ids`, or it counts there) is inserted in the same write as that state, or not at all.
        Raises AgentNotFound, and whatever `decide` raises.
        """

    def admit_named(self, ref: str, asked: Callable[[str], tuple[Firing, Decide]]) -> Admitted | None:
        """`admit` for the agent of that id or name; `asked` is given the id, or that of one that had the name."""

    def transition(
        self, agent_id: str, move: Callable[[Agent, AgentState], Transition | None]
    ) -> tuple[Transition, tuple[Message, ...]] | None:
        """Move an agent's state; what is unsent comes back with it. Raises AgentNotFound."""

    def revise(
        self, execution_id: str, move: Callable[[Execution], Revision | None], *, known: Execution | None = None
    ) -> tuple[Revision, tuple[Message, ...]] | None:
        """Move an execution; `known` may spare a read when it is still what is stored. Raises ExecutionNotFound."""

    def readmit(
        self, execution_id: str, move: Callable[[Agent, AgentState, Execution], tuple[Revision, Transition] | None]
    ) -> tuple[Revision, Transition, tuple[Message, ...]] | None:
        """Move an execution and its agent's state as one: from a due time of its own to a slot or the line, or back."""

    def together(self, work: Callable[[], T], *, agents: Iterable[str] = (), executions: Iterable[str] = ()) -> T:
        """Several verbs as one write where the store can do that (SQL), one after another where it can't (DynamoDB).

        The work may be called again, and nothing in it may take long. `agents` and `executions` are the ids of those
        that it may move: a store that locks them locks them first, all agents in one order.
        """

    # Executions

    def execution(self, execution_id: str) -> Execution:
        """The execution of that id. Raises ExecutionNotFound."""

    def each_execution(self, execution_ids: Iterable[str]) -> Mapping[str, Execution]:
        """The executions of these ids, as far as they are there, by id."""

    def executions(self, where: ExecutionFilter, *, cursor: str | None = None, limit: int = 50) -> Page[Execution]:
        """Executions, newest first; a page may be short, and even empty, while its cursor goes on."""

    def unfinished(self, *, cursor: str | None = None, limit: int = 500) -> Page[Execution]:
        """Executions that are not terminal, in any order (for `verify`)."""

    def attempts(self, execution_id: str) -> Sequence[Attempt]:
        """The attempts that have ended, by number."""

    def ticks(self, agent_id: str, trigger: str, since: datetime, until: datetime) -> Iterable[Tick]:
        """The ledger of a trigger: records that touch [since, until], ordered by nominal instant."""

    def ledgers(self, stretches: Iterable[Stretch]) -> Mapping[Stretch, Sequence[Tick]]:
        """What `ticks` gives of each of these; those that are empty may be left out."""

    # What the watchdog reads: hints, always read again before anything is done

    def due_agents(self, now: datetime, limit: int) -> Sequence[DueAgent]:
        """Agents whose state is due for a look, the longest due first."""

    def due_executions(self, now: datetime, limit: int) -> Sequence[DueExecution]:
        """Executions whose own due time has passed, the longest due first."""

    def put_off(self, agent_id: str, until: datetime) -> None:
        """Let the watchdog leave this agent alone until then, because looking at it raised."""

    # Events: made durable first, then fanned out

    def put_event(self, event: Event) -> bool:
        """Keep an event until it is fanned out; False if one of that id was kept before. It is kept 7 days for that."""

    def event(self, event_id: str) -> Pending | None:
        """The event of that id, as far as it has come; None if none was kept, or longer ago than that."""

    def pending_events(self, now: datetime, limit: int) -> Sequence[Pending]:
        """Events that are not fanned out yet and not put off, the longest due first."""

    def put_off_event(self, pending: Pending, until: datetime) -> None:
        """Keep how far an event has come, and that it is due again then; nothing happens to one that is done."""

    def event_done(self, event_id: str) -> None:
        """The event has reached every subscriber."""

    def subscribers(self, names: Iterable[str], *, after: str | None = None, limit: int = 100) -> tuple[str, ...]:
        """The agents that subscribe to any of these names (exact, or prefixes such as `dataset.*`), by id.

        At most `limit` of them, each once; those whose ids come after `after`.
        """

    # Webhooks

    def hook(self, hook_id: str) -> Hook | None:
        """The webhook of that id, if there ever was one.

        `create_agent` and `change_agent` keep one for each webhook trigger, in the same write; what is kept is never
        overwritten, and stays until the agent is forgotten: a trigger that comes back comes back with its version.
        """

    def rekey(self, hook_id: str, change: Callable[[Hook], Hook]) -> Hook:
        """Change which secrets of a webhook are live; the webhook as it is then. Raises HookNotFound."""

    # Notifications

    def put_delivery(self, delivery: Delivery) -> None:
        """Keep a delivery, or overwrite it; a new one of an id that exists is ignored while `tries` is 0."""

    def due_deliveries(self, now: datetime, limit: int) -> Sequence[Delivery]:
        """Deliveries whose time has come, the longest due first."""

    def deliveries(self, agent_id: str, limit: int = 50) -> Sequence[Delivery]:
        """An agent's deliveries, newest first."""

    # Housekeeping

    def prune(self, now: datetime, limit: int) -> int:
        """Remove what its retention has passed: terminal executions with their attempts, events, deliveries."""

    def healthy(self) -> None:
        """Raises Unavailable when the store does not answer."""


class WorkQueue(Protocol):
    """Carries messages to whoever runs them, at least once."""

    def send(self, messages: Sequence[Message]) -> None:
        """Send; a message with a `due` is not received before then."""

    def receive(self, limit: int, now: datetime) -> Sequence[Message]:
        """Take up to `limit` messages that are due; each comes again unless it is done with."""

    def done(self, message: Message) -> None:
        """The message was carried out, or is of no use any more."""


class AlarmClock(Protocol):
    """Calls `tick` for each nominal instant of each armed schedule: at least once, never early."""

    def arm(self, agent: Agent, trigger: str, state: AgentState) -> None:
        """Arm (or re-arm) a schedule as its agent's state says; idempotent. Raises Unavailable, Invalid."""

    def disarm(self, agent_id: str, trigger: str) -> None:
        """Disarm a schedule, if it is armed; idempotent. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """An attempt to run: the execution with its pinned agent, what it is given, and by when it must have ended."""

    execution: Execution
    agent: Agent
    flow_json: str | None
    input: Mapping[str, JsonValue]
    variables: Mapping[str, str] = field(repr=False)
    api_key: str | None = field(repr=False)
    payload: JsonValue
    session_id: str
    timeout_seconds: float


class RunReport(NamedTuple):
    """How an attempt ended. `asked_to_stop` ends are `cancelled` or `interrupted`."""

    outcome: AttemptOutcome
    text: str | None = None
    outputs: Mapping[str, JsonValue] = {}
    usage: Usage | None = None
    failure: Failure | None = None
    log: str | None = None


class FlowRunner(Protocol):
    """Runs one attempt."""

    def run(self, request: RunRequest) -> RunReport:
        """Run it to its end, whatever that is; never raises for what the flow does."""

    def cancel(self, execution_id: str) -> None:
        """End the attempt at once, if it runs here; `run` then reports `cancelled`."""


class SecretStore(Protocol):
    """Keeps secrets, and resolves references to them."""

    def resolve(self, reference: str) -> str:
        """The value behind `secret:name`, `env:NAME`, …  Raises NotFound with how to set it."""

    def set(self, name: str, value: str) -> None:
        """Keep a secret of the engine's own store."""

    def names(self) -> Sequence[str]:
        """The names of the engine's own secrets."""

    def delete(self, name: str) -> None:
        """Forget one. Raises NotFound."""

    def derive(self, purpose: str) -> bytes:
        """A 32-byte key for that purpose, derived from the deployment's master key; the same each time."""


class BlobStore(Protocol):
    """Keeps bytes by their SHA-256.

    Whoever refers to a blob puts it first, also where it is there already: what was put a moment ago is never removed.
    """

    def put(self, content: bytes, owner: str | None = None) -> str:
        """Keep it, durably; the name by which it is got.

        Args:
            content: the bytes.
            owner: the execution that alone refers to it. Without one it may be referred to by many, as flows are, and
                its name is its digest (hex).
        """

    def get(self, name: str) -> bytes:
        """The bytes. Raises NotFound."""


class EventBus(Protocol):
    """Where lifecycle events go, for agents that follow agents and for others."""

    def publish(self, event: Event) -> None:
        """Publish, durably, at least once; the event's id is the same each time."""


class Courier(Protocol):
    """Posts notifications."""

    def check(self, url: str) -> None:
        """Raises Invalid (`notify.url`) for what it never can post to, such as a topic where there is none."""

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer. Raises Unavailable when there is none, Invalid when the address is refused."""


class Observer(Protocol):
    """Learns of every lifecycle event: logs it, counts it."""

    def __call__(self, happened: str, /, **facts: Any) -> None:
        """For example `execution.started`, with `agent`, `execution_id`, `attempt`, `lateness_seconds`."""


@dataclass(frozen=True, slots=True)
class Ports:
    """All the ports, as `wiring` has filled them."""

    store: Store
    clock: AlarmClock
    queue: WorkQueue
    runner: FlowRunner
    secrets: SecretStore
    blobs: BlobStore
    bus: EventBus
    courier: Courier
    observe: Observer
    now: Callable[[], datetime]
    chance: Callable[[], float]
    new_id: Callable[[], str]
    lease_seconds: float = 20.0
    worker: str = "worker"
