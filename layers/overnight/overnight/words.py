"""The base of every word: frozen, strict about unknown fields, the same JSON everywhere."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, JsonValue, StringConstraints

__all__ = ["EVENT_NAME", "Instant", "JsonValue", "Name", "Reference", "Word"]

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


class Word(BaseModel):
    """A frozen value of the language of semantics.md."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
