"""Everything Overnight refuses, and why.

    OvernightError
    ├── Invalid                 a document or a request says something that can't be; names each field
    │   └── IdempotencyMismatch the same Idempotency-Key with another body
    ├── NotFound
    │   ├── AgentNotFound
    │   ├── ExecutionNotFound
    │   └── HookNotFound
    ├── Conflict                the request is well formed, but not in this state
    │   ├── AgentExists
    │   ├── AgentStopped
    │   ├── NoFreeSlot
    │   ├── NotActive
    │   ├── NotRedrivable
    │   ├── NotReplayable
    │   └── SecretSupplied
    ├── EditConflict            somebody else changed the agent in between (If-Match)
    ├── LineFull                no room in the line: try again later
    ├── RateLimited             too many deliveries in this minute: try again later
    ├── Unverified              a webhook's delivery does not prove who sent it
    └── Unavailable             a part that is needed does not answer

Every error has a `code`, a stable word for programs, and builds its own text for people.
"""

from collections.abc import Iterable
from typing import ClassVar, NamedTuple

__all__ = [
    "AgentExists",
    "AgentNotFound",
    "AgentStopped",
    "Conflict",
    "EditConflict",
    "ExecutionNotFound",
    "HookNotFound",
    "IdempotencyMismatch",
    "Invalid",
    "LineFull",
    "NoFreeSlot",
    "NotActive",
    "NotFound",
    "NotRedrivable",
    "NotReplayable",
    "OvernightError",
    "Problem",
    "RateLimited",
    "SecretSupplied",
    "Unavailable",
    "Unverified",
]


class Problem(NamedTuple):
    """One invalid field: where it stands (`agents.0.schedule.cron`) and what is wrong with it."""

    field: str
    message: str

    def __str__(self) -> str:
        """`field: message`, or the message alone where no field is to blame."""
        return f"{self.field}: {self.message}" if self.field else self.message


class OvernightError(Exception):
    """The root of all that Overnight raises on purpose."""

    code: ClassVar[str] = "error"


class Invalid(OvernightError):
    """What was given can't be accepted; `problems` names every field."""

    code = "invalid"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))

    @classmethod
    def field(cls, field: str, message: str) -> "Invalid":
        """The error for one field."""
        return cls([Problem(field, message)])


class IdempotencyMismatch(Invalid):
    """The Idempotency-Key was used before with another body."""

    code = "idempotency_mismatch"

    def __init__(self, execution_id: str) -> None:
        super().__init__([Problem("Idempotency-Key", f"was used with another body for execution {execution_id}")])


class NotFound(OvernightError):
    """There is no such thing."""

    code = "not_found"


class AgentNotFound(NotFound):
    """There is no agent of that id or name."""

    code = "agent_not_found"

    def __init__(self, ref: str) -> None:
        super().__init__(f"there is no agent {ref!r}")


class ExecutionNotFound(NotFound):
    """There is no execution of that id."""

    code = "execution_not_found"

    def __init__(self, execution_id: str) -> None:
        super().__init__(f"there is no execution {execution_id!r}")


class HookNotFound(NotFound):
    """There is no webhook of that id."""

    code = "webhook_not_found"

    def __init__(self, hook_id: str) -> None:
        super().__init__(f"there is no webhook {hook_id!r}")


class Conflict(OvernightError):
    """Well formed, but not possible in the present state."""

    code = "conflict"


class AgentExists(Conflict):
    """The name is taken."""

    code = "agent_exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is an agent {name!r} already")


class AgentStopped(Conflict):
    """The agent is stopped and takes no firing of this kind."""

    code = "agent_stopped"

    def __init__(self, name: str) -> None:
        super().__init__(f"agent {name!r} is stopped; start it first")


class NoFreeSlot(Conflict):
    """A manual trigger of an agent that is not active, and every slot is taken."""

    code = "no_free_slot"

    def __init__(self, name: str, running: int) -> None:
        super().__init__(f"agent {name!r} is not active and its {running} slots are taken; try again when one is free")


class NotActive(Conflict):
    """The agent must be active for this."""

    code = "agent_not_active"

    def __init__(self, name: str, status: str) -> None:
        super().__init__(f"agent {name!r} is {status}; start or resume it first")


class NotRedrivable(Conflict):
    """Only failed executions can be redriven."""

    code = "not_redrivable"

    def __init__(self, execution_id: str, status: str) -> None:
        super().__init__(f"execution {execution_id} is {status}; only a failed one can be redriven")


class NotReplayable(Conflict):
    """Only what came from outside can be replayed."""

    code = "not_replayable"

    def __init__(self, execution_id: str, kind: str) -> None:
        super().__init__(
            f"execution {execution_id} is of kind {kind}; webhooks, events and manual calls can be replayed, "
            "ticks of a schedule are run again by a backfill"
        )


class SecretSupplied(Conflict):
    """The webhook's secret is the sender's, and kept under a name of its own; or it has none."""

    code = "secret_supplied"

    def __init__(self, hook_id: str, reference: str | None) -> None:
        if reference is None:
            super().__init__(f"webhook {hook_id} has no secret: its trigger says signature none")
            return
        kept = f"kept as {reference}: change it there, or name another one in the trigger"
        super().__init__(f"the secret of webhook {hook_id} was not made here; it is {kept}")


class EditConflict(OvernightError):
    """The agent was changed since it was read."""

    code = "edit_conflict"

    def __init__(self, name: str, version: int) -> None:
        super().__init__(f"agent {name!r} is at version {version} by now; read it again and repeat the edit")


class LineFull(OvernightError):
    """The agent's line is full; try again after `retry_after_seconds`."""

    code = "line_full"

    def __init__(self, name: str, limit: int, retry_after_seconds: int) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"{limit} executions of agent {name!r} are waiting already; try again later")


class RateLimited(OvernightError):
    """The webhook takes no more deliveries in this minute; try again after `retry_after_seconds`."""

    code = "rate_limited"

    def __init__(self, limit: int, retry_after_seconds: int) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"this address takes {limit} deliveries a minute; try again later")


class Unverified(OvernightError):
    """A delivery does not prove who sent it, or there is no such webhook: nobody outside is told which."""

    code = "unverified"

    def __init__(self) -> None:
        super().__init__("the delivery is not signed as this address asks for")


class Unavailable(OvernightError):
    """A part that is needed does not answer."""

    code = "unavailable"
