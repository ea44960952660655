"""The alarm clock on EventBridge Scheduler: for each armed schedule, as many of its schedules as cover its ticks.

Each calls the tick function in the minute of every tick, and at times in others; the function asks the calendar. Only
runtime agents are armed here: those that a stack declares have their schedules from CloudFormation.
"""

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from overnight.agents import Agent, AgentState
from overnight.aws.answers import code_of, unavailable
from overnight.calendar.errors import CalendarError
from overnight.calendar.eventbridge import Expression, expressions
from overnight.calendar.zones import zone
from overnight.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_scheduler import EventBridgeSchedulerClient

__all__ = ["SchedulerAlarmClock", "alarm_input", "schedule_name"]

SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"
"""What Scheduler replaces by the time at which it was to call."""

MOST_EXPRESSIONS = 100
MOST_INPUT_BYTES = 256_000
"""Of what a schedule gives the function that it calls."""
EVENT_AGE_SECONDS = 300
"""Longer, Scheduler needn't try: the watchdog has fired the tick by then."""

_NAME = re.compile(r"[0-9a-zA-Z_.-]{1,64}")
_GONE = "ResourceNotFoundException"


def schedule_name(agent_id: str, trigger: str, number: int) -> str:
    """The name of a schedule: at most 64 characters, of the agent's id, the trigger and the number of its piece."""
    return f"{_prefix(agent_id, trigger)}{number}"


def _prefix(agent_id: str, trigger: str) -> str:
    digest = hashlib.sha256(f"{agent_id}\n{trigger}".encode()).hexdigest()
    return f"{re.sub('[^0-9a-zA-Z_.-]', '-', agent_id)[:36]}-{digest[:20]}-"


def alarm_input(agent: Agent, trigger: str, state: AgentState | None) -> str:
    """What a schedule gives the tick function: an Alarm.

    With the schedule's definition in it, an instant that is no tick is dropped without a read. A declared agent's has
    none, as CloudFormation knows no anchor.
    """
    armed = state.schedules.get(trigger) if state else None
    said: dict[str, Any] = {"agent_id": agent.id, "trigger": trigger, "scheduled": SCHEDULED_TIME}
    if armed is not None:
        definition = agent.document.schedules[trigger].model_dump(mode="json", exclude_defaults=True)
        said |= {
            "version": armed.version,
            "since": armed.since.isoformat(),
            "anchor": armed.anchor.isoformat(),
            "definition": definition,
        }
    return json.dumps(said)


class SchedulerAlarmClock:
    """Arms and disarms in one schedule group.

    Args:
        connect: gives the client.
        group: the schedule group of runtime agents.
        tick_arn: the function that is called; None where nothing is ever armed.
        role_arn: the role in which it is called.
    """

    def __init__(
        self,
        connect: "Callable[[], EventBridgeSchedulerClient]",
        group: str,
        tick_arn: str | None,
        role_arn: str | None,
    ) -> None:
        self._connect = connect
        self._group = group
        self._tick_arn = tick_arn
        self._role_arn = role_arn

    def arm(self, agent: Agent, trigger: str, state: AgentState) -> None:
        """Arm (or re-arm) a schedule as its agent's state says; one without a next tick is disarmed.

        Raises Invalid where Scheduler can't be told of it, and Unavailable.
        """
        if agent.declared:
            return
        armed = state.schedules.get(trigger)
        pieces: tuple[Expression, ...] = ()
        if armed is not None and armed.next is not None:
            pieces = self._pieces(agent, trigger, state)
        told = alarm_input(agent, trigger, state)
        if len(told.encode()) > MOST_INPUT_BYTES:
            raise Invalid.field(
                f"triggers.{trigger}", f"is longer than the {MOST_INPUT_BYTES:,} bytes that Scheduler keeps"
            )
        for number, piece in enumerate(pieces):
            self._put(trigger, schedule_name(agent.id, trigger, number), piece, told)
        self._remove(agent.id, trigger, len(pieces))

    def disarm(self, agent_id: str, trigger: str) -> None:
        """Disarm a schedule, if it is armed. Raises Unavailable."""
        self._remove(agent_id, trigger, 0)

    def _pieces(self, agent: Agent, trigger: str, state: AgentState) -> tuple[Expression, ...]:
        """What Scheduler is to be told, checked as Scheduler would: what it refuses is refused in our words."""
        schedule, armed = agent.document.schedules[trigger], state.schedules[trigger]
        try:
            pieces = expressions(schedule.calendar(armed.anchor))
            for piece in pieces:
                zone(piece.timezone)
        except CalendarError as error:
            raise Invalid.field(f"triggers.{trigger}", str(error)) from error
        if len(pieces) > MOST_EXPRESSIONS:
            raise Invalid.field(f"triggers.{trigger}", f"takes {len(pieces)} schedules; {MOST_EXPRESSIONS} are allowed")
        if not _NAME.fullmatch(schedule_name(agent.id, trigger, len(pieces))):
            raise Invalid.field(f"triggers.{trigger}", f"agent id {agent.id!r} makes no name for a schedule")
        return pieces

    def _put(self, trigger: str, name: str, piece: Expression, told: str) -> None:
        """Raises Invalid, Unavailable."""
        if self._tick_arn is None or self._role_arn is None:
            missing = "OVERNIGHT_TICK_ARN, OVERNIGHT_SCHEDULER_ROLE_ARN"
            raise Unavailable(f"this function arms no schedules: its environment lacks {missing}")
        # An update replaces everything, so both say everything.
        request: Any = {
            "Name": name,
            "GroupName": self._group,
            "ScheduleExpression": piece.expression,
            "ScheduleExpressionTimezone": piece.timezone,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "State": "ENABLED",
            "ActionAfterCompletion": "DELETE",
            "Target": {
                "Arn": self._tick_arn,
                "RoleArn": self._role_arn,
                "Input": told,
                "RetryPolicy": {"MaximumEventAgeInSeconds": EVENT_AGE_SECONDS, "MaximumRetryAttempts": 10},
            },
        }
        with unavailable("EventBridge Scheduler"):
            try:
                self._create_or_update(request)
            except ClientError as error:
                match code_of(error):
                    case "ValidationException":
                        raise Invalid.field(
                            f"triggers.{trigger}", f"EventBridge Scheduler refuses it: {error}"
                        ) from error
                    case code if code == _GONE:
                        missing = f"there is no schedule group {self._group!r}; deploy the stack again"
                        raise Unavailable(f"EventBridge Scheduler: {missing}") from error
                    case "ServiceQuotaExceededException":
                        ask = "delete agents, or ask AWS for a higher quota of schedules"
                        raise Unavailable(f"EventBridge Scheduler: {error}; {ask}") from error
                raise

    def _create_or_update(self, request: Any) -> None:
        try:
            self._connect().create_schedule(**request)
        except ClientError as error:
            if code_of(error) != "ConflictException":
                raise
            try:
                self._connect().update_schedule(**request)
            except ClientError as gone:  # it was the last time that it called, and it has deleted itself
                if code_of(gone) != _GONE:
                    raise
                self._connect().create_schedule(**request)

    def _remove(self, agent_id: str, trigger: str, keep: int) -> None:
        """Delete the pieces of a schedule from that number on."""
        kept = {schedule_name(agent_id, trigger, number) for number in range(keep)}
        with unavailable("EventBridge Scheduler"):
            pages = self._connect().get_paginator("list_schedules")
            found = pages.paginate(GroupName=self._group, NamePrefix=_prefix(agent_id, trigger))
            names = [schedule["Name"] for page in found for schedule in page["Schedules"]]
            for name in names:
                if name in kept:
                    continue
                try:
                    self._connect().delete_schedule(GroupName=self._group, Name=name)
                except ClientError as error:
                    if code_of(error) != _GONE:
                        raise
