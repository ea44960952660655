"""Verify: the proof that nothing was lost, doubled or left stuck."""

from datetime import datetime, timedelta
from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Query
from pydantic import Field

from overnight.api.answers import documented, json_answer
from overnight.api.parameters import Cursor, Needs, Since, Until
from overnight.api.routing import new_router
from overnight.api.views import View
from overnight.errors import Invalid
from overnight.words import Instant

__all__ = ["router"]

DAY = timedelta(days=1)

router = new_router()


class FindingView(View):
    """One thing that is not as it must be."""

    kind: str = Field(examples=["hole", "double", "stuck"])
    agent: str
    trigger: str | None
    at: Instant | None
    execution_id: str | None
    message: str


class ReportView(View):
    """What a page of the walk over agents and executions looked at, and what it found."""

    ok: bool = Field(description="Whether nothing was found.")
    findings: list[FindingView]
    agents: int
    ticks: int
    executions: int
    since: datetime
    until: datetime
    cursor: str | None = Field(
        description="Asks for the next page, with the same agent, `since` and `until`; null at the end."
    )


@router.get(
    "/api/v1/verify",
    summary="Verify the ledger",
    description="Recomputes the ticks of every armed period, and looks for holes, doubles and stuck executions; "
    "page by page, so that many agents and long ranges are no matter. Nothing is wrong if every page is `ok`.",
    operation_id="verify",
    tags=["verify"],
    responses=documented({200: (ReportView, "What was found; nothing, if `ok`.")}, 404),
)
def verify_ledger(
    ports: Needs,
    agent: Annotated[str | None, Query(description="Only this agent: an id or a name.")] = None,
    since: Since = None,
    until: Until = None,
    cursor: Cursor = None,
) -> Response[str]:
    """Check every agent, or one, over a range of time: the last day where nothing is said."""
    now = ports.now()
    last = until or now
    first = since or last - DAY
    if last <= first:
        raise Invalid.field("until", "must be later than since")
    from overnight.core.verify import verify_page  # noqa: PLC0415 - seldom asked for

    report = verify_page(ports.store, now, first, last, agent=agent, cursor=cursor)
    findings = [
        FindingView(
            kind=finding.kind,
            agent=finding.agent,
            trigger=finding.trigger,
            at=finding.at,
            execution_id=finding.execution_id,
            message=finding.message,
        )
        for finding in report.findings
    ]
    return json_answer(
        ReportView(
            ok=report.ok,
            findings=findings,
            agents=report.agents,
            ticks=report.ticks,
            executions=report.executions,
            since=first,
            until=last,
            cursor=report.cursor,
        )
    )
