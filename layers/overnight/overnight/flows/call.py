"""What one attempt of a flow is given, and what it gives back.

Plain frozen dataclasses: cheap to import, and picklable, because they cross into a worker process and back. Without
slots, which would have them pickled by Python code, in twice the time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal, TypeAlias

JSON: TypeAlias = "str | int | float | bool | Sequence[JSON] | Mapping[str, JSON] | None"

TRACEBACK_BYTES = 2048
"""How much of a traceback, counted from its end, is kept."""


@dataclass(frozen=True)
class LangflowFlow:
    """A flow exported from Langflow, run in this process by lfx; `document` is its JSON."""

    kind: ClassVar[Literal["langflow"]] = "langflow"
    document: str = field(repr=False)


@dataclass(frozen=True)
class PythonFlow:
    """A callable or a LangGraph graph, named as `package.module:callable`."""

    kind: ClassVar[Literal["python"]] = "python"
    target: str


@dataclass(frozen=True)
class LangflowApiFlow:
    """A flow on a Langflow server: its base URL, the flow's id or endpoint name, a resolved API key."""

    kind: ClassVar[Literal["langflow_api"]] = "langflow_api"
    url: str
    flow: str
    api_key: str | None = field(default=None, repr=False)
    timeout_seconds: float = 300.0


Flow: TypeAlias = LangflowFlow | PythonFlow | LangflowApiFlow


@dataclass(frozen=True)
class CallInput:
    """What is said to the flow; the fields are Langflow's own."""

    input_value: str | None = None
    input_type: str = "chat"
    output_type: str = "chat"
    tweaks: Mapping[str, JSON] = field(default_factory=dict)
    session_id: str = ""


@dataclass(frozen=True)
class FiringContext:
    """Why the flow runs: kind of trigger, its name, nominal time (UTC), payload, ticks that were missed (UTC).

    `cron` and `timezone` are those of a schedule, as its trigger says them; Langflow's schedule node is told them.
    """

    kind: str = "manual"
    """`schedule`, `webhook`, `event`, `manual`, `backfill` or another kind that passes no payload to trigger nodes."""
    trigger: str | None = None
    nominal: datetime | None = None
    payload: JSON = None
    missed_ticks: tuple[datetime, ...] = ()
    test: bool = False
    dedupe_key: str = ""
    cron: str | None = None
    timezone: str | None = None


@dataclass(frozen=True)
class Call:
    """One attempt of one execution: everything the flow needs, with nothing left to look up.

    `variables` are resolved values, so they never show in a representation.
    """

    execution_id: str
    agent_id: str
    agent: str
    attempt: int
    flow: Flow
    input: CallInput = field(default_factory=CallInput)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    firing: FiringContext = field(default_factory=FiringContext)


@dataclass(frozen=True)
class Allowed:
    """What the engine's operator lets flows reach.

    Python modules below one of `folders` (they go on `sys.path`) or of one of the top-level `packages`; and whether a
    Langflow server may have a private address.
    """

    folders: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    private_addresses: bool = False


@dataclass(frozen=True)
class Usage:
    """Tokens, as the language models of one attempt reported them, added up."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0


@dataclass(frozen=True)
class Result:
    """What a flow gave: its text, its structured outputs (JSON), and the tokens it used where they are known."""

    text: str | None = None
    outputs: Mapping[str, JSON] = field(default_factory=dict)
    usage: Usage | None = None


class FlowFailure(Exception):
    """An attempt that failed: the error's type, a message that says how to mend it, and whether to try again.

    `retry_after_seconds` is the delay that the flow or its provider asked for; `component` is the id of the node.
    """

    def __init__(
        self,
        error_type: str,
        message: str,
        *,
        retryable: bool,
        retry_after_seconds: float | None = None,
        traceback: str = "",
        component: str | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.retryable = retryable
        self.retry_after_seconds = retry_after_seconds
        self.traceback = traceback.encode()[-TRACEBACK_BYTES:].decode(errors="ignore")
        self.component = component
        self.usage = usage

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by state: the keyword-only arguments cannot be passed by position."""
        return _blank_failure, (), self.__dict__ | {"args": self.args}

    def __str__(self) -> str:
        """As it stands in a log line."""
        return f"{self.error_type}: {self.message}"


def _blank_failure() -> FlowFailure:
    return FlowFailure.__new__(FlowFailure)
