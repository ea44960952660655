"""CloudFormation → seed and retire declared agents, and prepare every deployment."""

from overnight.aws.coldstart import imported

from typing import Any

import boto3
from aws_lambda_powertools.utilities.parser import parse
from aws_lambda_powertools.utilities.typing import LambdaContext

from overnight.aws import cloudformation, wiring

ENGINE = wiring.open_engine()
imported()


@ENGINE.observation.handler("RequestId")
def handler(event: dict[str, Any], context: LambdaContext) -> None:  # noqa: ARG001 - CloudFormation is answered, not Lambda
    """Carry out one request, and answer it."""
    request = parse(event, cloudformation.Request)
    outcome = cloudformation.carry_out(ENGINE.ports, request, fetch=fetch, prepare=ENGINE.ensure_master_key)
    cloudformation.answer(request, outcome)


def fetch(bucket: str, key: str) -> bytes:
    """A flow that was uploaded with the deployment."""
    content: bytes = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return content
