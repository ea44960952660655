"""An agent: a named unit of background work. Its document, what is stored of it, and the state that guards it."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue, StringConstraints, model_validator

from overnight.executions import Reason
from overnight.policies import Concurrency, Notify, Retries
from overnight.triggers import Schedule, Trigger
from overnight.words import Instant, Name, Reference, Word

__all__ = [
    "Agent",
    "AgentDocument",
    "AgentState",
    "AgentStatus",
    "Armed",
    "ArmedPeriod",
    "CatchUpPlan",
    "Flow",
    "Gathering",
    "Input",
    "LangflowApi",
    "LangflowApiFlow",
    "LangflowFlow",
    "Mute",
    "PythonFlow",
    "RateWindow",
    "Reference",
    "Settlement",
    "Slot",
    "Waiting",
]


class AgentStatus(StrEnum):
    """Where an agent stands."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    STOPPED = "STOPPED"
    ERROR = "ERROR"


class PythonFlow(Word):
    """A Python callable, sync or async."""

    kind: ClassVar[str] = "python"
    python: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$", max_length=256),
        Field(description="`package.module:callable`, imported by a worker.", examples=["reports.daily:run"]),
    ]


class LangflowFlow(Word):
    """A Langflow flow by the digest (SHA-256, hex) of its JSON, which is kept in the blob store."""

    kind: ClassVar[str] = "langflow"
    langflow: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    name: str | None = Field(default=None, description="What it is called.")


class LangflowApi(Word):
    """Where a flow on a Langflow server is found."""

    url: Annotated[
        str, StringConstraints(pattern=r"^https?://[^\s]+$", max_length=2_048), Field(description="Of the server.")
    ]
    flow: Annotated[
        str, StringConstraints(min_length=1, max_length=256), Field(description="The flow's id or endpoint name there.")
    ]
    api_key: Reference | None = Field(default=None, description="Where the server's API key is kept.")


class LangflowApiFlow(Word):
    """A flow on a Langflow server, run over HTTP."""

    kind: ClassVar[str] = "langflow_api"
    langflow_api: LangflowApi


Flow = PythonFlow | LangflowFlow | LangflowApiFlow


class Input(Word):
    """What each run is given unless its firing says otherwise."""

    input_value: str | None = Field(default=None, description="What is said to the flow.")
    input_type: Literal["chat", "text", "any"] = Field(
        default="chat", description="Which input components are given it."
    )
    output_type: Literal["chat", "text", "any", "debug"] = Field(
        default="chat", description="Whose text is the result's text, where there are several outputs."
    )
    tweaks: dict[str, JsonValue] = Field(
        default={}, description="Fields of components for this agent's runs: `{Prompt-a1b2c: {template: …}}`."
    )
    session_id: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = Field(
        default=None, description="The chat session of every run; the execution's id if not given."
    )
    share_session: bool = Field(default=False, description="One session for all runs of the agent.")


class AgentDocument(Word):
    """What a user writes, in YAML or JSON, with every default filled in."""

    name: Name = Field(description="Unique; also the handle in API and CLI.")
    description: Annotated[str, StringConstraints(max_length=2_000)] = Field(default="", description="For people.")
    flow: Flow = Field(description="What runs.")
    enabled: bool = Field(default=False, description="Whether it is created ACTIVE; otherwise STOPPED.")
    triggers: Annotated[tuple[Trigger, ...], Field(max_length=30)] = Field(default=(), description="What starts it.")
    input: Input = Input()
    variables: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*$", max_length=128)], Reference] = Field(
        default={}, description="What the flow may read by these names: references, never values."
    )
    retries: Retries = Retries()
    concurrency: Concurrency = Concurrency()
    timeout_seconds: Annotated[float, Field(gt=0, le=7 * 86_400)] = Field(
        default=600, description="An attempt that takes longer is ended."
    )
    start_deadline_seconds: Annotated[float, Field(gt=0, le=30 * 86_400)] | None = Field(
        default=None, description="What has not started so long after it was admitted is `skipped (expired)`."
    )
    pause_after_failures: Annotated[int, Field(ge=1, le=1_000)] | None = Field(
        default=None, description="So many failed executions in a row put the agent into ERROR."
    )
    notify: Notify | None = None
    retention_days: Annotated[int, Field(ge=7, le=3_650)] = Field(
        default=30, description="How long executions are kept, counted from their end."
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> "AgentDocument":
        names = [trigger.name for trigger in self.triggers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two triggers are called {name!r}")
        return self

    def trigger(self, name: str) -> Trigger | None:
        """The trigger of that name."""
        return next((trigger for trigger in self.triggers if trigger.name == name), None)

    @property
    def schedules(self) -> dict[str, Schedule]:
        """The triggers that follow the clock, by name."""
        return {trigger.name: trigger for trigger in self.triggers if trigger.kind in {"cron", "interval", "date"}}  # type: ignore[misc]


class Agent(Word):
    """A stored agent: its document, and who it is."""

    id: str
    version: int = 1
    document: AgentDocument
    created_at: Instant
    updated_at: Instant
    deleted_at: Instant | None = None
    declared: bool = False

    @property
    def name(self) -> str:
        """The handle in API and CLI."""
        return self.document.name

    def answers_to(self, ref: str) -> bool:
        """Whether it is the one of that id or name; a deleted one has no name any more."""
        return ref == self.id or (ref == self.name and self.deleted_at is None)

    @property
    def retain_until(self) -> datetime | None:
        """Until when what is left of it is kept, once it is deleted (UTC)."""
        return self.deleted_at + timedelta(days=self.document.retention_days) if self.deleted_at else None

    @property
    def etag(self) -> str:
        """The entity tag of this version (RFC 9110), quotes included."""
        return f'"{self.version}"'


class Slot(Word):
    """An execution that holds a place in the running set; `look_at` says when to look, not when to free."""

    attempt: int
    since: Instant
    look_at: Instant
    looks: int = 0


class Waiting(Word):
    """An execution in the line. What was admitted before (`again`: a retry, a redrive) is exempt from limits."""

    id: str
    attempt: int = 1
    expires_at: Instant | None = None
    again: bool = False


class Settlement(Word):
    """What an execution that left the line, or was ordered cancelled, must still be marked as."""

    status: Literal["skipped", "cancelled"]
    reason: Reason
    since: Instant
    into: str | None = None


class Armed(Word):
    """A schedule that is armed: since when, and how far its ledger reaches.

    `cursor` is the last nominal tick that has a record; every tick up to it has one. `next` is the one after it.
    """

    version: int
    since: Instant
    anchor: Instant
    tzdata: str
    cursor: Instant | None = None
    next: Instant | None = None


class CatchUpPlan(Word):
    """How the missed ticks up to `until` are dealt with: fixed once, then carried out."""

    mode: Literal["coalesce", "skip", "all"]
    oldest: Instant
    until: Instant
    fixed_at: Instant


class Gathering(Word):
    """The events of one trigger that are to become one execution, `batch:<trigger>:<number>`.

    Each has a record of its own, skipped (coalesced) into that execution; `ids` are those records, the newest hundred,
    and `count` is how many there were. No event joins once it is frozen. `fired` is a leading debounce whose execution
    there is already: until `due`, what comes is coalesced into that.
    """

    number: int
    since: Instant
    due: Instant
    ids: tuple[str, ...] = ()
    count: int = 0
    depth: int = 0
    leading: bool = False
    frozen_at: Instant | None = None
    fired: bool = False
    ending: Reason | None = None
    """Why it won't run: its agent was stopped or deleted."""

    def closes(self, now: datetime) -> bool:
        """Whether it is to be made an execution now."""
        return not self.fired and (self.frozen_at is not None or self.due <= now)


class Mute(Word):
    """A receiver that said it is gone (410): an agent of that version doesn't notify it any more."""

    url: str
    version: int


class RateWindow(Word):
    """How many deliveries a webhook with a rate limit took in the minute that began then."""

    since: Instant
    count: int


class AgentState(Word):
    """The gate: everything that admission decides by, small and bounded, read and written as one."""

    agent_id: str
    rev: int = 0
    status: AgentStatus = AgentStatus.STOPPED
    note: str | None = None
    changed_at: Instant | None = None
    running: dict[str, Slot] = {}
    line: tuple[Waiting, ...] = ()
    settle: dict[str, Settlement] = {}
    schedules: dict[str, Armed] = {}
    anchors: dict[str, Instant] = {}
    """Where intervals without `start_at` are anchored: at their first arming; a pause or a stop doesn't move it."""
    catch_up: dict[str, CatchUpPlan] = {}
    gathered: dict[str, Gathering] = {}
    """What each trigger has gathered."""
    mute: Mute | None = None
    rates: dict[str, RateWindow] = {}
    want_version: int = 0
    armed_version: int = 0
    failures: int = 0
    trip: str | None = None
    last_run_at: Instant | None = None

    def holds(self, execution_id: str) -> bool:
        """Whether the running set or the line has it."""
        return execution_id in self.running or any(waiting.id == execution_id for waiting in self.line)

    @property
    def next_run_at(self) -> datetime | None:
        """The next nominal tick of any armed schedule, UTC."""
        return min((armed.next for armed in self.schedules.values() if armed.next), default=None)


class ArmedPeriod(Word):
    """When a schedule was armed, and as what: ticks after `since`, up to and including `until`, have a record each.

    Immutable but for its end. `cursor` is where the ledger stood at the end.
    """

    agent_id: str
    trigger: str
    version: int
    definition: Schedule
    anchor: Instant
    tzdata: str
    since: Instant
    until: Instant | None = None
    ended: Literal["edited", "paused", "stopped", "error", "deleted"] | None = None
