"""A deployed stack, seen from its user's machine: where its APIs are, and requests signed for them.

Whoever the AWS command line would be, is who calls: profile, region and credentials come from where it takes them.
Signatures are AWS's Signature Version 4, as API Gateway asks for
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
"""

import os
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import boto3
import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from overnight.aws.answers import code_of
from overnight.errors import OvernightError

__all__ = ["Deployed", "NoStack", "Signed", "find"]

HOOKS = "/api/v1/webhooks/"
"""What the output `WebhooksUrl` ends with."""


class NoStack(OvernightError):
    """The stack can't be found, or can't be looked for."""

    code = "no_stack"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"stack {name}: {reason}")


class Signed(httpx.Auth):
    """Signs requests to API Gateway."""

    requires_request_body = True

    def __init__(self, credentials: Credentials, region: str) -> None:
        self._credentials = credentials
        self._region = region

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign one request; what is signed is what is sent, byte by byte."""
        parameters: Any = request.url.params.multi_items()
        query = urlencode(parameters, quote_via=quote).encode()  # `+` would be read as itself
        request.url = request.url.copy_with(query=query or None)
        signed = AWSRequest(
            method=request.method,
            url=str(request.url.copy_with(query=None)),
            params=parameters,
            data=request.content,
            headers={"Host": request.headers["Host"]},
        )
        SigV4Auth(self._credentials.get_frozen_credentials(), "execute-api", self._region).add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        yield request


@dataclass(frozen=True, slots=True)
class Deployed:
    """A stack that is there: its management API, where its webhooks are posted to, and what signs requests."""

    api_url: str
    front_door: str
    auth: Signed


def find(name: str) -> Deployed:
    """The stack of that name, in the account and region of the AWS profile. Raises NoStack."""
    try:
        session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
        credentials = session.get_credentials()
        if credentials is None:
            raise NoStack(name, "there are no AWS credentials; `aws configure`, or AWS_PROFILE, says whose to take")
        stacks = session.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        missing = code_of(error) == "ValidationError" and "does not exist" in str(error)
        reason = f"there is none of that name in {session.region_name}" if missing else str(error)
        raise NoStack(name, reason) from error
    except BotoCoreError as error:
        raise NoStack(name, str(error)) from error
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stacks[0].get("Outputs", [])}
    try:
        return Deployed(
            api_url=outputs["ApiUrl"],
            front_door=outputs["WebhooksUrl"].removesuffix(HOOKS),
            auth=Signed(credentials, session.region_name),
        )
    except KeyError as error:
        raise NoStack(name, f"it has no output {error}: it is none of Overnight's, or not deployed yet") from error
