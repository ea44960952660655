"""Firing by hand: trigger an agent now, or backfill the ticks of a range."""

from typing import Annotated, Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body
from pydantic import ConfigDict, Field, JsonValue, ValidationError

from overnight.agents import Input
from overnight.api.agents import AGENTS
from overnight.api.answers import documented, json_answer
from overnight.api.execution_views import ExecutionView
from overnight.api.parameters import AgentRef, DryRun, IdempotencyKey, Needs
from overnight.api.problems import describe
from overnight.api.routing import new_router
from overnight.api.views import View
from overnight.core import backfill as backfills
from overnight.core import fire
from overnight.errors import Invalid
from overnight.schedules import Instant as When
from overnight.words import Deferred, Instant

__all__ = ["router"]

router = new_router()


class TriggerRequest(View):
    """What a run is given."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"input_value": "Report on yesterday", "payload": {"order": 42}}}
    )

    input_value: str | None = Field(default=None, description="Short for `input.input_value`.")
    input: dict[str, JsonValue] | None = Field(
        default=None, description="Fields of the agent's `input` that this run is given instead."
    )
    payload: JsonValue = Field(default=None, description="The firing's payload.")
    test: bool = Field(default=False, strict=True, description="Marks the firing as a test for the flow.")

    def given(self) -> dict[str, JsonValue] | None:
        """The input, checked as far as the agent document knows its fields. Raises Invalid."""
        given = dict(self.input or {})
        if self.input_value is not None:
            if "input_value" in given:
                raise Invalid.field("input_value", "is given twice: here and in input")
            given["input_value"] = self.input_value
        try:
            Input.model_validate(given)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            raise Invalid(describe(("input", *each["loc"]), each) for each in found) from error
        return given or None


class BackfillRequest(View):
    """Which ticks are to run that did not."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"since": "2026-11-01T00:00:00Z", "until": "2026-11-08T00:00:00Z"}},
    )

    since: When = Field(description="From this moment on, inclusive.")
    until: When = Field(description="Up to this moment, exclusive; not in the future.")
    trigger: str | None = Field(default=None, description="One schedule; all of them where it is left out.")


class TickView(Deferred):
    """A tick of a schedule."""

    trigger: str
    nominal: Instant


class BackfillView(Deferred):
    """What a backfill runs, or would run."""

    backfill_id: str
    ticks: list[TickView]
    count: int
    left_out: int = Field(description="Ticks that ran already.")
    execution_ids: list[str] = Field(description="Empty for a dry run.")


@router.post(
    f"{AGENTS}/<agent>/trigger",
    summary="Run an agent now",
    description="In any status, if a slot is free. With an Idempotency-Key, the same request again is answered 200.",
    operation_id="trigger_agent",
    tags=["agents"],
    responses=documented(
        {
            200: (ExecutionView, "The execution that the same key had before."),
            202: (ExecutionView, "The execution, durable."),
        },
        404,
        409,
        429,
        headers={"Location": "Where the execution is read."},
    ),
)
def trigger_agent(
    ports: Needs,
    agent: AgentRef,
    body: Annotated[TriggerRequest | None, Body()] = None,
    idempotency_key: IdempotencyKey = None,
) -> Response[str]:
    """Run an agent now."""
    asked = body or TriggerRequest()
    admitted = fire.trigger(
        ports, agent, input=asked.given(), payload=asked.payload, idempotency_key=idempotency_key, test=asked.test
    )
    execution = admitted.execution
    return json_answer(
        ExecutionView.of(execution, ports.blobs),
        200 if admitted.duplicate else 202,
        {"Location": f"/api/v1/executions/{execution.id}"},
    )


@router.post(
    f"{AGENTS}/<agent>/backfill",
    summary="Run the ticks of a range that did not run",
    operation_id="backfill_agent",
    tags=["agents"],
    responses=documented({200: (BackfillView, "What runs; with `dry_run`, what would run.")}, 404, 409),
)
def backfill_agent(
    ports: Needs, agent: AgentRef, body: Annotated[BackfillRequest, Body()], dry_run: DryRun = False
) -> Response[str]:
    """Run the ticks of a range that did not run."""
    plan = backfills.backfill(ports, agent, body.since, body.until, trigger=body.trigger, dry_run=dry_run)
    ticks: list[Any] = [TickView(trigger=trigger, nominal=nominal) for trigger, nominal in plan.ticks]
    return json_answer(
        BackfillView(
            backfill_id=plan.id,
            ticks=ticks,
            count=len(ticks),
            left_out=plan.left_out,
            execution_ids=list(plan.execution_ids),
        )
    )
