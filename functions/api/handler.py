"""API Gateway, requests signed with IAM → the management API."""

from overnight.aws.coldstart import imported

from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from aws_lambda_powertools.logging.correlation_paths import API_GATEWAY_REST
from aws_lambda_powertools.utilities.typing import LambdaContext

from overnight.api.app import mount
from overnight.aws import wiring

ENGINE = wiring.open_engine()
APP = mount(APIGatewayRestResolver(enable_validation=True), ENGINE.ports)
imported()


@ENGINE.observation.handler(API_GATEWAY_REST)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """One request, one answer; what went wrong is a problem document."""
    return APP.resolve(event, context)
