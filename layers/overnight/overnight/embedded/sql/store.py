"""The store: each verb one transaction, in which the state is locked first, then the execution, then the queue."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import bindparam, literal, select

from overnight.agents import Agent, AgentState, AgentStatus, ArmedPeriod
from overnight.embedded.sql.agents import Agents
from overnight.embedded.sql.database import Database, Needs, Transaction
from overnight.embedded.sql.deliveries import Deliveries
from overnight.embedded.sql.events import Events
from overnight.embedded.sql.executions import Executions
from overnight.embedded.sql.gates import Gate, Gates, LookAt
from overnight.embedded.sql.hooks import Hooks
from overnight.embedded.sql.instants import to_us
from overnight.embedded.sql.queue import SqlWorkQueue
from overnight.embedded.sql.schema import DUE, states
from overnight.embedded.sql.statement import Statement
from overnight.embedded.sql.uses import Uses
from overnight.errors import AgentNotFound
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

__all__ = ["SqlStore"]

T = TypeVar("T")

_DUE_AGENTS = Statement(
    select(states.c.agent_id)
    .where(DUE, states.c.due <= bindparam("now"))
    .order_by(states.c.due)
    .limit(bindparam("most"))
)
_ONE = Statement(select(literal(1)))


class _Another(Exception):
    """The agent that was thought to have a name has it no more."""


class SqlStore:
    """Agents, states, executions and what hangs on them, on an SQL database.

    Args:
        database: where the tables are.
        queue: the work queue in the same database; what verbs send goes with their commit, so nothing is `unsent`.
        look_at: when the watchdog should look at an agent.
        now: the clock, for how long an event is kept.
    """

    def __init__(self, database: Database, queue: SqlWorkQueue, look_at: LookAt, now: Callable[[], datetime]) -> None:
        self._database = database
        self._queue = queue
        self._gates = Gates(look_at)
        self._hooks = Hooks(database)
        self._uses = Uses(database)
        self._agents = Agents(database, self._gates, self._hooks, self._uses)
        self._executions = Executions(database, self._uses)
        self._events = Events(database, now)
        self._deliveries = Deliveries(database)
        if database.shared:
            database.prefetch = self._prefetch

    # Agents

    def create_agent(self, change: Change) -> None:
        """Store a new agent. Raises AgentExists."""

        def work(transaction: Transaction) -> None:
            self._agents.insert(transaction, change.agent, change.transition.state)
            self._agents.put_periods(transaction, change.periods)
            self._queue.put(transaction, change.transition.sends)

        self._database.write(work)

    def change_agent(
        self, agent_id: str, change: Callable[[Agent, AgentState], Change | None]
    ) -> tuple[Change, tuple[Message, ...]] | None:
        """Move an agent, its state and its armed periods as one."""

        def work(transaction: Transaction) -> tuple[Change, tuple[Message, ...]] | None:
            gate = self._gates.lock(transaction, agent_id)
            changed = change(gate.agent, gate.state)
            if changed is None:
                return None
            state = self._agents.update(transaction, gate, changed.agent, changed.transition.state)
            self._agents.put_periods(transaction, changed.periods)
            self._queue.put(transaction, changed.transition.sends)
            return Change(changed.agent, Transition(state, changed.transition.sends), changed.periods), ()

        return self._database.write(work)

    def agent(self, ref: str) -> Agent:
        """The agent of that id or name; a deleted one by its id only."""
        return self._agents.get(ref)

    def agent_version(self, agent_id: str, version: int) -> Agent:
        """The agent as it was at that version."""
        return self._agents.version(agent_id, version)

    def read(self, ref: str) -> tuple[Agent, AgentState]:
        """The agent of that id or name with its state, consistent."""
        gate = self._database.read(lambda reading: self._gates.read(reading, ref))
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
        ids = tuple(agent_ids)
        return self._database.read(lambda reading: self._gates.states(reading, ids))

    def periods(self, agent_ids: Sequence[str], since: datetime, until: datetime) -> Sequence[ArmedPeriod]:
        """The armed periods of these agents that touch [since, until): one agent's together, by trigger and time."""
        return self._agents.periods(agent_ids, since, until)

    def forget_agent(self, agent_id: str) -> bool:
        """Remove what is left of a deleted agent; False while it has executions, or lives."""

        def work(transaction: Transaction) -> bool:
            has_executions = self._executions.any_of(transaction, agent_id)
            return not has_executions and self._agents.forget(transaction, agent_id)

        return self._database.write(work)

    # The three ways to write, and the one that spans two

    def admit(self, firing: Firing, decide: Decide) -> Admitted | None:
        """Insert the execution that `decide` makes of the firing, and move the state."""
        return self._admit(firing, decide, firing.agent_id)

    def admit_named(self, ref: str, asked: Callable[[str], tuple[Firing, Decide]]) -> Admitted | None:
        """`admit` for the agent of that id or name: the one it was when last looked for, if it still is."""
        while True:
            try:
                return self._admit(*asked(self._agents.id_of(ref)), ref)
            except _Another:
                self._agents.id_of.cache_clear()

    def _admit(self, firing: Firing, decide: Decide, ref: str) -> Admitted | None:
        def work(transaction: Transaction) -> Admitted | None:
            try:
                gate = self._gates.lock(transaction, firing.agent_id)
            except AgentNotFound:
                if ref != firing.agent_id:
                    raise _Another from None
                raise
            if not gate.agent.answers_to(ref):
                raise _Another
            try:
                admission = decide(gate.agent, gate.state)
            except Exception:
                # What was accepted once is never refused afterwards: a sender that repeats itself gets its execution.
                first = self._executions.find(transaction, firing.execution_id)
                if first is None:
                    raise
                return Admitted(first, duplicate=True, state=gate.state)
            if admission is None:
                first = self._executions.find(transaction, firing.execution_id)
                return None if first is None else Admitted(first, duplicate=True, state=gate.state)
            if not self._executions.insert(transaction, admission.execution):
                first = self._executions.get(transaction, admission.execution.id)
                state = self._gates.move(transaction, gate, _caught_up(gate, firing, admission.transition.state))
                return Admitted(first, duplicate=True, state=state)
            state = self._gates.move(transaction, gate, admission.transition.state)
            self._queue.put(transaction, admission.transition.sends)
            return Admitted(admission.execution, state=state)

        needs = Needs(agents=frozenset({firing.agent_id}), sought=frozenset({firing.execution_id}))
        return self._database.write(work, needs)

    def transition(
        self, agent_id: str, move: Callable[[Agent, AgentState], Transition | None]
    ) -> tuple[Transition, tuple[Message, ...]] | None:
        """Move an agent's state."""

        def work(transaction: Transaction) -> tuple[Transition, tuple[Message, ...]] | None:
            gate = self._gates.lock(transaction, agent_id)
            moved = move(gate.agent, gate.state)
            if moved is None:
                return None
            return self._move(transaction, gate, moved), ()

        return self._database.write(work, Needs(agents=frozenset({agent_id})))

    def revise(
        self,
        execution_id: str,
        move: Callable[[Execution], Revision | None],
        *,
        known: Execution | None = None,  # noqa: ARG002
    ) -> tuple[Revision, tuple[Message, ...]] | None:
        """Move an execution."""

        def work(transaction: Transaction) -> tuple[Revision, tuple[Message, ...]] | None:
            execution = self._executions.lock(transaction, execution_id)
            revision = move(execution)
            return None if revision is None else (self._revise(transaction, execution, revision), ())

        return self._database.write(work, Needs(moved=frozenset({execution_id})))

    def together(self, work: Callable[[], T], *, agents: Iterable[str] = (), executions: Iterable[str] = ()) -> T:
        """Several verbs as one transaction."""
        needs = Needs(agents=frozenset(agents), moved=frozenset(executions))
        return self._database.together(work, needs)

    def _prefetch(self, transaction: Transaction, needs: Needs, *, wait: bool) -> Needs:
        """Lock what is needed, and remember it. Who waits locks agents alone, in their order; verbs do the rest."""
        asked = {}
        following = self._agents.following if needs.moved and not wait else None
        if needs.agents:
            asked["agents"] = self._gates.locking(needs.agents, wait=wait)
        if not wait:
            if needs.sought:
                asked["sought"] = self._executions.seeking(needs.sought)
            if needs.moved:
                asked["moved"] = self._executions.locking(needs.moved)
            if following:
                asked["followed"] = following.asked()
            if needs.taken:
                asked["taken"] = self._queue.taking(needs.taken)
        found = dict(zip(asked, transaction.all_of(*asked.values()), strict=True))
        agents = self._gates.locked(transaction, found.get("agents", ()))
        if "sought" in found:
            self._executions.sought(transaction, needs.sought, found["sought"])
        if following:
            self._agents.followed(transaction, following, found["followed"])
        if "taken" in found:
            self._executions.locked(transaction, self._queue.taken(transaction, found["taken"]))
        return Needs(agents, needs.sought, self._executions.locked(transaction, found.get("moved", ())))

    def readmit(
        self, execution_id: str, move: Callable[[Agent, AgentState, Execution], tuple[Revision, Transition] | None]
    ) -> tuple[Revision, Transition, tuple[Message, ...]] | None:
        """Move an execution and its agent's state as one."""

        def work(transaction: Transaction) -> tuple[Revision, Transition, tuple[Message, ...]] | None:
            gate = self._gates.lock(transaction, self._executions.agent_of(transaction, execution_id))
            execution = self._executions.lock(transaction, execution_id)
            moved = move(gate.agent, gate.state, execution)
            if moved is None:
                return None
            revision, transition = moved
            return self._revise(transaction, execution, revision), self._move(transaction, gate, transition), ()

        return self._database.write(work)

    def _move(self, transaction: Transaction, gate: Gate, transition: Transition) -> Transition:
        state = self._gates.move(transaction, gate, transition.state)
        self._queue.put(transaction, transition.sends)
        return transition if state is transition.state else Transition(state, transition.sends)

    def _revise(self, transaction: Transaction, before: Execution, revision: Revision) -> Revision:
        execution = self._executions.update(transaction, before, revision)
        self._queue.follow(transaction, before, execution)
        self._queue.put(transaction, revision.sends)
        return Revision(execution, revision.attempt, revision.sends)

    # Executions

    def execution(self, execution_id: str) -> Execution:
        """The execution of that id."""
        return self._database.read(lambda reading: self._executions.get(reading, execution_id))

    def each_execution(self, execution_ids: Iterable[str]) -> Mapping[str, Execution]:
        """The executions of these ids, as far as they are there, by id."""
        return self._executions.each(execution_ids)

    def executions(self, where: ExecutionFilter, *, cursor: str | None = None, limit: int = 50) -> Page[Execution]:
        """Executions, newest first; a page may be short, and even empty, while its cursor goes on."""
        return self._executions.page(where, cursor, limit)

    def unfinished(self, *, cursor: str | None = None, limit: int = 500) -> Page[Execution]:
        """Executions that are not terminal, the oldest first."""
        return self._executions.unfinished(cursor, limit)

    def attempts(self, execution_id: str) -> Sequence[Attempt]:
        """The attempts that have ended, by number."""
        return self._executions.attempts(execution_id)

    def ticks(self, agent_id: str, trigger: str, since: datetime, until: datetime) -> Iterable[Tick]:
        """The ledger of a trigger: records that touch [since, until], ordered by nominal instant."""
        return self._executions.ticks(agent_id, trigger, since, until)

    def ledgers(self, stretches: Iterable[Stretch]) -> Mapping[Stretch, Sequence[Tick]]:
        """What `ticks` gives of each of these."""
        return self._executions.ledgers(stretches)

    # What the watchdog reads

    def due_agents(self, now: datetime, limit: int) -> Sequence[DueAgent]:
        """Agents whose state is due for a look, the longest due first."""
        rows = self._database.read(lambda reading: reading.all(_DUE_AGENTS, now=to_us(now), most=limit))
        return [DueAgent(agent_id) for (agent_id,) in rows]

    def due_executions(self, now: datetime, limit: int) -> Sequence[DueExecution]:
        """Executions whose own due time has passed, the longest due first."""
        return self._executions.due(now, limit)

    def put_off(self, agent_id: str, until: datetime) -> None:
        """Let the watchdog leave this agent alone until then, or until its state is written."""
        self._database.write(lambda transaction: self._gates.put_off(transaction, agent_id, until))

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
        """Change which secrets of a webhook are live."""
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

    def prune(self, now: datetime, limit: int) -> int:
        """Remove what its retention has passed; how many executions and events that were."""

        def work(transaction: Transaction) -> int:
            return self._executions.prune(transaction, now, limit) + self._events.prune(transaction, now, limit)

        return self._database.write(work)

    def used_blobs(self, digests: Sequence[str]) -> set[str]:
        """Those of these blobs that an execution or an agent refers to."""
        return self._uses.used(digests)

    def healthy(self) -> None:
        """Raises Unavailable when the store does not answer."""
        self._database.read(lambda reading: reading.one(_ONE))


def _caught_up(gate: Gate, firing: Firing, decided: AgentState) -> AgentState:
    """The state with the cursor of the firing's trigger where `decided` has it, if it lagged behind, and no more.

    A crash between two engines' writes can leave it so where execution and state are not written as one.
    """
    name = firing.trigger
    if name is None or name not in gate.state.schedules or name not in decided.schedules:
        return gate.state
    stored, wanted = gate.state.schedules[name], decided.schedules[name]
    if wanted.cursor is None or (stored.cursor is not None and stored.cursor >= wanted.cursor):
        return gate.state
    return gate.state.model_copy(update={"schedules": gate.state.schedules | {name: wanted}})
