"""The base of every word: frozen, strict about unknown fields, the same JSON everywhere."""

from datetime import UTC, datetime
from threading import RLock
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, JsonValue, StringConstraints

__all__ = ["EVENT_NAME", "Deferred", "Instant", "JsonValue", "Name", "Reference", "Word"]

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
"""What agents, triggers and secrets may be called: 1 to 64 letters, digits, `_` and `-`."""

# The length stands apart: counted in the pattern, it would take 30 ms and megabytes to compile.
Reference = Annotated[
    str, StringConstraints(pattern=r"^(secret|env|ssm|secretsmanager):[^\s]+$", max_length=len("secretsmanager:") + 512)
]
"""Where a value is kept: `secret:name`, `env:NAME` (embedded), `ssm:/path`, `secretsmanager:id` (AWS)."""

EVENT_NAME = r"[A-Za-z0-9_:/-]+(\.[A-Za-z0-9_:/-]+)*"
"""What events may be called: parts of letters, digits, `_`, `-`, `:` and `/`, joined by dots."""


def _utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC)


Instant = Annotated[AwareDatetime, AfterValidator(_utc)]
"""A moment in time: RFC 3339 with an offset in JSON, aware and in UTC in Python."""


_BUILDING = RLock()


class Deferred(BaseModel):
    """A model whose validator is built when it is first used: a process uses few of them, and a build takes 0.5 ms.

    By one thread at a time: in pydantic 2.13 a second one takes away what the first has built, and a third validates
    by the parent class meanwhile (https://github.com/pydantic/pydantic/pull/13438).
    """

    model_config = ConfigDict(defer_build=True)

    @classmethod
    def model_rebuild(cls, **how: Any) -> bool | None:
        """Build it, unless that was done."""
        with _BUILDING:
            return super().model_rebuild(**how)


class Word(Deferred):
    """A frozen value of the language of semantics.md."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
