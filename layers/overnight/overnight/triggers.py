"""Triggers: the words in which a user says what starts an agent.

Which kind a trigger is, is told by the one key among `cron`, `interval`, `date`, `webhook` and `event` that it has.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from overnight.schedules import CronTrigger, DateTrigger, IntervalTrigger, Kind, Name, TriggerWords, Words
from overnight.webhooks import Webhook, WebhookTrigger
from overnight.words import EVENT_NAME

__all__ = [
    "KINDS",
    "MOST_GATHERED",
    "Batch",
    "CronTrigger",
    "DateTrigger",
    "Debounce",
    "Event",
    "EventTrigger",
    "IntervalTrigger",
    "Kind",
    "Name",
    "Schedule",
    "Trigger",
    "Webhook",
    "WebhookTrigger",
    "normalise",
]

KINDS: tuple[Kind, ...] = ("cron", "interval", "date", "webhook", "event")


# Events.

DAY_SECONDS = 86_400.0
MOST_GATHERED = 100
"""The most events that one execution is told of; their ids are part of the agent's state, which stays small."""


def _jmespath(expression: str) -> str:
    try:
        jmespath.compile(expression)
    except (JMESPathError, RecursionError) as error:
        raise ValueError(f"not a JMESPath expression: {str(error).splitlines()[0]}") from error
    return expression


EventName = Annotated[
    str,
    Field(
        max_length=256,
        pattern=rf"^{EVENT_NAME}(\.\*)?$",
        description="The event's name, or all names that begin alike up to a dot: `dataset.*`.",
        examples=["dataset.created", "dataset.*"],
    ),
]
JMESPath = Annotated[str, Field(max_length=2_000), AfterValidator(_jmespath)]


class Batch(Words):
    """Many events, one execution: it starts when so many have come, or so long after the first of them."""

    size: int = Field(ge=1, le=MOST_GATHERED, description="How many events make an execution.")
    window_seconds: float = Field(
        gt=0, le=DAY_SECONDS, description="How long after the first event it starts with those that have come."
    )


class Debounce(Words):
    """A burst of events, one execution: at its end (trailing), or at its beginning (leading)."""

    delay_seconds: float = Field(gt=0, le=DAY_SECONDS, description="How long no event must come for the burst to end.")
    max_delay_seconds: float | None = Field(
        default=None,
        gt=0,
        le=7 * DAY_SECONDS,
        description="How long after its first event a burst ends at the latest; ten times the delay if not given.",
    )
    edge: Literal["trailing", "leading"] = Field(
        default="trailing", description="Whether the execution starts when the burst ends, or with its first event."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max_delay_seconds is not None and self.max_delay_seconds < self.delay_seconds:
            raise ValueError("max_delay_seconds: must not be less than delay_seconds")
        return self

    @property
    def longest_seconds(self) -> float:
        """How long a burst may last."""
        return self.max_delay_seconds or 10 * self.delay_seconds


class Event(Words):
    """Which events, and what of them the flow gets."""

    name: EventName
    filter: JMESPath | None = Field(
        default=None, description="JMESPath over the event's data; runs where it is true.", examples=["size > `0`"]
    )
    input: JMESPath | None = Field(
        default=None,
        description=(
            "JMESPath over the event's data, or, of gathered events, over `{events: [{id, name, data}, …]}`; "
            "what it yields is laid over the agent's input."
        ),
        examples=["{input_value: summary}"],
    )
    batch: Batch | None = Field(default=None, description="Gather events, and run once for so many.")
    debounce: Debounce | None = Field(default=None, description="Gather events, and run once for each burst.")

    @model_validator(mode="after")
    def _gathers_in_one_way(self) -> Self:
        if self.batch and self.debounce:
            raise ValueError("debounce: give either this or batch")
        return self

    def matches(self, name: str) -> bool:
        """Whether an event of that name is meant, the filter aside."""
        if self.name.endswith(".*"):
            return name.startswith(self.name[:-1]) and name != self.name[:-1]
        return name == self.name


class EventTrigger(TriggerWords):
    """Whenever an event of that name comes."""

    kind: ClassVar[Kind] = "event"

    event: Event


# All of them.


def normalise(document: Mapping[str, Any]) -> dict[str, Any]:
    """A trigger's document in today's words: `trigger_type` with `trigger_config` is the older spelling of it.

    A trigger without a name is called `schedule`, or `webhook` or `event` after its kind.

    Raises:
        ValueError: the older spelling is incomplete, mixed with today's, or names no kind of trigger.
    """
    if "trigger_type" not in document and "trigger_config" not in document:
        return dict(document)
    rest = {key: value for key, value in document.items() if key not in {"trigger_type", "trigger_config"}}
    wanted, config = document.get("trigger_type"), document.get("trigger_config")
    kind = next((kind for kind in KINDS if kind == wanted), None)
    if kind is None:
        raise ValueError(f"trigger_type: must be one of {', '.join(KINDS)}, not {wanted!r}")
    if not isinstance(config, Mapping | None):
        raise ValueError("trigger_config: must be an object")  # noqa: TRY004 - for pydantic
    if mixed := sorted(set(rest) & set(KINDS)):
        raise ValueError(f"{mixed[0]}: give either this or trigger_type and trigger_config")
    outer, own = _split_config(config or {})
    name = kind if kind in {"webhook", "event"} else "schedule"
    return {"name": name} | outer | {kind: _normalise_config(kind, own)} | rest


_OUTER = {
    "timezone": "timezone",
    "start_date": "start_at",
    "start_at": "start_at",
    "end_date": "end_at",
    "end_at": "end_at",
    "jitter": "jitter_seconds",
    "jitter_seconds": "jitter_seconds",
    "exclude": "exclude",
    "catch_up": "catch_up",
    "catch_up_window_seconds": "catch_up_window_seconds",
}
_ONLY_KEY = {"cron": ("cron", "cron_expression", "expression"), "date": ("date", "run_date")}


def _split_config(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What stands beside the trigger's kind today, and what stands in it; `null` was as good as nothing."""
    given = {key: value for key, value in config.items() if value is not None}
    outer = {_OUTER[key]: value for key, value in given.items() if key in _OUTER}
    return outer, {key: value for key, value in given.items() if key not in _OUTER}


def _normalise_config(kind: Kind, own: dict[str, Any]) -> object:
    for key in _ONLY_KEY.get(kind, ()):
        if key in own:
            if len(own) > 1:
                raise ValueError(f"trigger_config: {key} stands alone, without {', '.join(sorted(set(own) - {key}))}")
            return own[key]
    if kind == "date":
        raise ValueError("trigger_config: a date needs run_date")
    if kind == "event" and "name" not in own:
        for key in ("event_name", "event_type"):
            if key in own:
                return {"name": own.pop(key)} | own
    return own


def _normalised(value: object) -> object:
    return normalise(value) if isinstance(value, Mapping) else value


def _tag(value: object) -> str | None:
    """Stands in the `loc` of an error, so it must not be taken for a field."""
    if isinstance(value, Mapping):
        kinds = [kind for kind in KINDS if kind in value]
        return f"{kinds[0]} trigger" if len(kinds) == 1 else None
    return f"{value.kind} trigger" if isinstance(value, Words) and hasattr(value, "kind") else None


def _discriminator(*kinds: Kind) -> Discriminator:
    return Discriminator(
        _tag,
        custom_error_type="trigger_kind",
        custom_error_message=f"needs exactly one of {', '.join(kinds)}",
    )


_Cron = Annotated[CronTrigger, Tag("cron trigger")]
_Interval = Annotated[IntervalTrigger, Tag("interval trigger")]
_Date = Annotated[DateTrigger, Tag("date trigger")]

Schedule = Annotated[
    _Cron | _Interval | _Date, _discriminator("cron", "interval", "date"), BeforeValidator(_normalised)
]
"""A trigger that time fires."""

Trigger = Annotated[
    _Cron
    | _Interval
    | _Date
    | Annotated[WebhookTrigger, Tag("webhook trigger")]
    | Annotated[EventTrigger, Tag("event trigger")],
    _discriminator(*KINDS),
    BeforeValidator(_normalised),
]
"""Any trigger."""
