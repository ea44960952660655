"""The store on DynamoDB: each verb an ordered series of conditional writes, any of which may be the last.

    admit       the row, then the state, in which it has its place          (admissions)
    transition  the state                                                   (gates)
    revise      the row, with the attempt that ended                        (executions)
    readmit     row and state: one transaction
    change      agent, state, name, subscriptions, armed periods: one transaction

Nothing here sends: what a verb wants sent comes back as unsent.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from overnight.agents import Agent, AgentState, AgentStatus, ArmedPeriod
from overnight.aws.dynamodb.admissions import Admissions
from overnight.aws.dynamodb.agents import FIRST_DAY, Agents
from overnight.aws.dynamodb.deliveries import Deliveries
from overnight.aws.dynamodb.due import Due
from overnight.aws.dynamodb.events import Events
from overnight.aws.dynamodb.executions import Executions
from overnight.aws.dynamodb.gates import Gates, LookAt, Stale
from overnight.aws.dynamodb.hooks import Hooks
from overnight.aws.dynamodb.ledger import Ledger
from overnight.aws.dynamodb.listing import Listing
from overnight.aws.dynamodb.schema import BY_OWNER
from overnight.aws.dynamodb.table import Refused, Table
from overnight.aws.dynamodb.tries import tries
from overnight.aws.dynamodb.uses import Uses
from overnight.executions import Attempt, Event, Execution, Firing, Message, Pending, Stretch, Tick
from overnight.ports import (
    Admitted,
    Change,
    Decide,
    Delivery,
    DueAgent,
    DueExecution,
    ExecutionFilter,
    Having,
    Hook,
    Page,
    Revision,
    Transition,
)

__all__ = ["DynamoStore"]

T = TypeVar("T")


class DynamoStore:
    """Agents, states, executions and what hangs on them, in one DynamoDB table.

    Args:
        table: the table.
        look_at: when the watchdog should look at an agent.
        now: the clock, for what has expired though DynamoDB has not deleted it yet.
    """

    def __init__(self, table: Table, look_at: LookAt, now: Callable[[], datetime]) -> None:
        self._table = table
        self._gates = Gates(table, look_at)
        self._executions = Executions(table, now)
        self._admissions = Admissions(self._gates, self._executions)
        self._hooks = Hooks(table)
        self._agents = Agents(table, self._gates, self._hooks)
        self._listing = Listing(table, self._executions, now)
        self._ledger = Ledger(table, self._executions)
        self._due = Due(table, self._gates, self._executions)
        self._events = Events(table, now)
        self._deliveries = Deliveries(table)
        self._uses = Uses(table, now)

    # Agents

    def create_agent(self, change: Change) -> None:
        """Store a new agent. Raises AgentExists."""
        self._agents.create(change)

    def change_agent(
        self, agent_id: str, change: Callable[[Agent, AgentState], Change | None]
    ) -> tuple[Change, tuple[Message, ...]] | None:
        """Move an agent, its state and its armed periods as one."""
        return self._agents.change(agent_id, change)

    def agent(self, ref: str) -> Agent:
        """The agent of that id or name; a deleted one by its id only."""
        return self._agents.get(ref)

    def agent_version(self, agent_id: str, version: int) -> Agent:
        """The agent as it was at that version."""
        return self._agents.version(agent_id, version)

    def read(self, ref: str) -> tuple[Agent, AgentState]:
        """The agent of that id or name with its state, consistent."""
        gate = self._gates.find(ref)
        return gate.agent, gate.state

    def agents(
        self,
        *,
        status: AgentStatus | None = None,
        having: Having | None = None,
        cursor: str | None = None,
        limit: int = 100,
        deleted: bool = False,
    ) -> Page[tuple[Agent, AgentState]]:
        """Agents by name; with `deleted`, all of them, by id."""
        if deleted:
            return self._agents.page_with_deleted(cursor, limit)
        return self._agents.page(status, having, cursor, limit)

    def states(self, agent_ids: Iterable[str]) -> Mapping[str, AgentState]:
        """The states of these agents, as far as they are there, by id."""
        return self._gates.states(agent_ids)

    def periods(self, agent_ids: Sequence[str], since: datetime, until: datetime) -> Sequence[ArmedPeriod]:
        """The armed periods of these agents that touch [since, until): one agent's together, by trigger and time."""
        return self._agents.periods(agent_ids, since, until)

    def forget_agent(self, agent_id: str) -> bool:
        """Remove what is left of a deleted agent, a part of it where that is much; False while it has executions."""
        executions = self._table.query(f"EXECS#{agent_id}", index=BY_OWNER, limit=1)
        return next(executions, None) is None and self._agents.forget(agent_id)

    # The three ways to write, and the one that spans two

    def admit(self, firing: Firing, decide: Decide) -> Admitted | None:
        """Insert the execution that `decide` makes of the firing, and move the state."""
        return self._admissions.admit(firing, decide)

    def admit_named(self, ref: str, asked: Callable[[str], tuple[Firing, Decide]]) -> Admitted | None:
        """`admit` for the agent of that id or name."""
        return self.admit(*asked(self.agent(ref).id))

    def transition(
        self, agent_id: str, move: Callable[[Agent, AgentState], Transition | None]
    ) -> tuple[Transition, tuple[Message, ...]] | None:
        """Move an agent's state."""
        gate = self._gates.recent(agent_id)
        if gate is not None:
            # A write proves that a guess was right; a refusal, an error or nothing to do proves nothing.
            try:
                guess = move(gate.agent, gate.state)
                if guess is not None and guess.state is not gate.state:
                    return Transition(self._gates.move(gate, guess.state).state, guess.sends), guess.sends
                gate = None
            except Stale as stale:
                gate = stale.gate
            except Exception:  # noqa: BLE001
                gate = None
        gate = gate or self._gates.read(agent_id)
        for _ in tries(f"agent {agent_id}"):
            moved = move(gate.agent, gate.state)
            if moved is None:
                return None
            if moved.state is gate.state:
                return moved, moved.sends
            try:
                return Transition(self._gates.move(gate, moved.state).state, moved.sends), moved.sends
            except Stale as stale:
                gate = stale.gate
        raise AssertionError  # tries end by raising

    def revise(
        self, execution_id: str, move: Callable[[Execution], Revision | None], *, known: Execution | None = None
    ) -> tuple[Revision, tuple[Message, ...]] | None:
        """Move an execution; `known` may spare a read when it is still what is stored."""
        return self._executions.revise(execution_id, move, known)

    def readmit(
        self, execution_id: str, move: Callable[[Agent, AgentState, Execution], tuple[Revision, Transition] | None]
    ) -> tuple[Revision, Transition, tuple[Message, ...]] | None:
        """Move an execution and its agent's state as one."""
        for _ in tries(f"execution {execution_id}"):
            execution = self._executions.get(execution_id)
            gate = self._gates.read(execution.agent_id)
            moved = move(gate.agent, gate.state, execution)
            if moved is None:
                return None
            revision, transition = moved
            try:
                if transition.state is gate.state:
                    revision = self._executions.write(execution, revision)
                else:
                    after, update = self._executions.writing(execution, revision)
                    state = self._gates.move_with(gate, transition.state, update).state
                    self._executions.written(execution, after)
                    revision = Revision(after, revision.attempt, revision.sends)
                    transition = Transition(state, transition.sends)
            except (Stale, Refused):
                continue
            return revision, transition, (*revision.sends, *transition.sends)
        raise AssertionError  # tries end by raising

    def together(
        self,
        work: Callable[[], T],
        *,
        agents: Iterable[str] = (),  # noqa: ARG002 - nothing is locked
        executions: Iterable[str] = (),  # noqa: ARG002
    ) -> T:
        """Several verbs, one after another: each is durable by itself."""
        return work()

    # Executions

    def execution(self, execution_id: str) -> Execution:
        """The execution of that id."""
        return self._executions.get(execution_id)

    def each_execution(self, execution_ids: Iterable[str]) -> Mapping[str, Execution]:
        """The executions of these ids, as far as they are there, by id."""
        return {execution.id: execution for execution in self._executions.each(list(execution_ids))}

    def executions(self, where: ExecutionFilter, *, cursor: str | None = None, limit: int = 50) -> Page[Execution]:
        """Executions, newest first; a page may be short, and even empty, while its cursor goes on."""
        return self._listing.page(where, cursor, limit)

    def unfinished(self, *, cursor: str | None = None, limit: int = 500) -> Page[Execution]:
        """Executions that are not terminal."""
        return self._listing.unfinished(cursor, limit)

    def attempts(self, execution_id: str) -> Sequence[Attempt]:
        """The attempts that have ended, by number."""
        return self._executions.attempts(execution_id)

    def ticks(self, agent_id: str, trigger: str, since: datetime, until: datetime) -> Iterable[Tick]:
        """The ledger of a trigger: records that touch [since, until], ordered by nominal instant."""
        return self._ledger.ticks(agent_id, trigger, since, until)

    def ledgers(self, stretches: Iterable[Stretch]) -> Mapping[Stretch, Sequence[Tick]]:
        """What `ticks` gives of each of these, one after the other."""
        return {stretch: tuple(self._ledger.ticks(*stretch)) for stretch in stretches}

    # What the watchdog reads

    def due_agents(self, now: datetime, limit: int) -> Sequence[DueAgent]:
        """Agents whose state is due for a look, the longest due first."""
        return self._due.agents(now, limit)

    def due_executions(self, now: datetime, limit: int) -> Sequence[DueExecution]:
        """Executions whose own due time has passed, the longest due first."""
        return self._due.executions(now, limit)

    def put_off(self, agent_id: str, until: datetime) -> None:
        """Let the watchdog leave this agent alone until then, or until its state is written."""
        self._gates.put_off(agent_id, until)

    # Events

    def put_event(self, event: Event) -> bool:
        """Keep an event until it is fanned out; False if one of that id was kept before."""
        return self._events.put(event)

    def event(self, event_id: str) -> Pending | None:
        """The event of that id, as far as it has come."""
        return self._events.get(event_id)

    def pending_events(self, now: datetime, limit: int) -> Sequence[Pending]:
        """Events that are not fanned out yet and not put off, the longest due first."""
        return self._events.pending(now, limit)

    def put_off_event(self, pending: Pending, until: datetime) -> None:
        """Keep how far an event has come, and that it is due again then."""
        self._events.put_off(pending, until)

    def event_done(self, event_id: str) -> None:
        """The event has reached every subscriber."""
        self._events.done(event_id)

    def subscribers(self, names: Iterable[str], *, after: str | None = None, limit: int = 100) -> tuple[str, ...]:
        """The agents that subscribe to any of these names, by id."""
        return self._agents.subscribers(names, after, limit)

    # Webhooks

    def hook(self, hook_id: str) -> Hook | None:
        """The webhook of that id, if there ever was one."""
        return self._hooks.get(hook_id)

    def rekey(self, hook_id: str, change: Callable[[Hook], Hook]) -> Hook:
        """Change which secrets of a webhook are live. Raises HookNotFound."""
        return self._hooks.rekey(hook_id, change)

    # Notifications

    def put_delivery(self, delivery: Delivery) -> None:
        """Keep a delivery, or overwrite it; a new one of an id that exists is ignored while `tries` is 0."""
        self._deliveries.put(delivery)

    def due_deliveries(self, now: datetime, limit: int) -> Sequence[Delivery]:
        """Deliveries whose time has come, the longest due first."""
        return self._deliveries.due(now, limit)

    def deliveries(self, agent_id: str, limit: int = 50) -> Sequence[Delivery]:
        """An agent's deliveries, newest first."""
        return self._deliveries.of_agent(agent_id, limit)

    # Housekeeping

    def prune(self, now: datetime, limit: int) -> int:  # noqa: ARG002 - the port's
        """Nothing is left to do: DynamoDB deletes what has a time to live, and until then nobody sees it."""
        return 0

    def used_blobs(self, names: Sequence[str]) -> set[str]:
        """Those of these blobs that an execution refers to, or an agent in any of its versions."""
        return self._uses.used(names)

    def healthy(self) -> None:
        """Raises Unavailable when the table does not answer."""
        self._table.get(FIRST_DAY)
