"""What goes wrong between a client and AWS: a call is refused, or its answer is lost, or all is well.

    client = faulty("dynamodb", [throttled(), lost()])        # the third call, and all after it, are answered

The client is set up as the engine's are, so what botocore tries again by itself, it tries again here.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ReadTimeoutError
from moto.core.botocore_stubber import MockRawResponse
from moto.core.models import botocore_stubber
from tests.support import aws

from overnight.aws.clients import CONFIG

__all__ = ["Fault", "faulty", "lost", "refused", "throttled", "well"]

Fault = Callable[[Any], AWSResponse | None]


def well() -> Fault:
    """Nothing goes wrong."""
    return lambda _: None


def refused(code: str, message: str = "because", status: int = 400) -> Fault:
    """AWS refuses, with that code."""
    body = json.dumps({"__type": f"com.amazonaws#{code}", "message": message}).encode()

    def answer(request: Any) -> AWSResponse:
        headers = {"x-amzn-errortype": code, "content-type": "application/x-amz-json-1.0"}
        return AWSResponse(request.url, status, headers, MockRawResponse(body))

    return answer


def throttled() -> Fault:
    """Too many calls at once."""
    return refused("ThrottlingException", "Rate exceeded")


def lost() -> Fault:
    """AWS does what it is asked to, and its answer is lost."""

    def answer(request: Any) -> AWSResponse:
        botocore_stubber("before-send", request)
        raise ReadTimeoutError(endpoint_url=request.url)

    return answer


def faulty(service: str, faults: Sequence[Fault]) -> Any:
    """A client to whose calls, the repeated ones too, this happens one after another; then all is well."""
    aws.client(service)  # starts moto
    made: Any = boto3.client(  # type: ignore[call-overload]
        service, region_name=aws.REGION, aws_access_key_id="testing", aws_secret_access_key="testing", config=CONFIG
    )
    left = list(faults)

    def happens(request: Any, **_: Any) -> AWSResponse | None:
        return left.pop(0)(request) if left else None

    made.meta.events.register_first("before-send", happens)
    made.faults_left = left
    return made
