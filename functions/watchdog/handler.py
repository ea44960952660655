"""EventBridge Scheduler, every minute → find what a crash left, and carry it on; deliver notifications."""

from overnight.aws.coldstart import imported

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from overnight.aws import wiring

ENGINE = wiring.open_engine()
imported()


@ENGINE.observation.handler()
def handler(event: dict[str, Any], context: LambdaContext) -> None:  # noqa: ARG001 - the event says nothing
    """One round, page by page, until all is seen or the time is over; the next round goes on from there."""
    ENGINE.watch(context)
