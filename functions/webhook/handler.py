"""API Gateway, public → signed webhooks, and nothing else."""

from overnight.aws.coldstart import imported

from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from aws_lambda_powertools.logging.correlation_paths import API_GATEWAY_REST
from aws_lambda_powertools.utilities.typing import LambdaContext

from overnight.api import front_door
from overnight.api.serving import serve
from overnight.aws import wiring

ENGINE = wiring.open_engine(ahead=True)
APP = serve(APIGatewayRestResolver(enable_validation=True), ENGINE.ports, [front_door.router])
imported()


@ENGINE.observation.handler(API_GATEWAY_REST)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """One delivery, answered once it is durable; what is refused is a problem document."""
    return APP.resolve(event, context)
