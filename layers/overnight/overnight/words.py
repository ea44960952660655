"""The base of every word: frozen, strict about unknown fields, the same JSON everywhere."""

from collections.abc import Mapping
from datetime import UTC, datetime
from threading import RLock
from typing import Annotated, Any, Self

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
_SET = object.__setattr__


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

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """The same but for `update`, which isn't checked: what pydantic does, without looking for what no word has.

        An execution and its agent's state are copied some ten times, and this takes 1.0 µs, not 1.7.
        """
        if deep:
            return super().model_copy(update=update, deep=True)
        changes = update or {}
        copy = self.__new__(type(self))
        _SET(copy, "__dict__", {**self.__dict__, **changes})
        _SET(copy, "__pydantic_fields_set__", self.__pydantic_fields_set__ | changes.keys())
        _SET(copy, "__pydantic_extra__", None)
        _SET(copy, "__pydantic_private__", None)
        return copy
