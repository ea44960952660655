"""Two REST APIs: the management API, signed with IAM, and the webhooks, which are public.

A webhook's signature is over its bytes, which no authorizer sees; so its function verifies it, and answers every
refusal alike. Bytes pass through as they are (`*/*` is binary), or what is verified would not be what was sent.
"""

import json
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.functions import Functions
from infra.logs import log_group
from infra.messaging import Messaging
from infra.settings import Settings
from overnight.api.problems import MEDIA_TYPE, Problem

__all__ = ["Api"]

STAGE = "prod"
ACCESS = {
    "request_id": "$context.requestId",
    "time": "$context.requestTime",
    "method": "$context.httpMethod",
    "path": "$context.path",
    "status": "$context.status",
    "bytes": "$context.responseLength",
    "latency_ms": "$context.responseLatency",
    "caller": "$context.identity.userArn",
    "source_ip": "$context.identity.sourceIp",
    "error": "$context.error.message",
}
"""Of each request; never its query, its headers or its body."""

REFUSALS = {
    "REQUEST_TOO_LARGE": (
        413,
        "too_large",
        "API Gateway takes 10 MB, and hands on 6 MB: of a body, what it has as a text in JSON, quotes escaped",
    ),
    "INTEGRATION_TIMEOUT": (504, "timeout", "there was no answer within 29 seconds; it may be done all the same"),
}
"""What API Gateway refuses by itself, in our words: by its type, the status, the code, and the detail."""


class Api(Construct):
    """The APIs, and the two managed policies that let people use the management API."""

    def __init__(
        self, scope: Construct, id_: str, settings: Settings, functions: Functions, messaging: Messaging
    ) -> None:
        super().__init__(scope, id_)
        self._settings = settings
        self.management = self._rest(
            "Management",
            "Overnight's management API, signed with IAM",
            default_method_options=apigateway.MethodOptions(authorization_type=apigateway.AuthorizationType.IAM),
            cloud_watch_role=settings.api_logs,  # one for both, as it is the account's
            cloud_watch_role_removal_policy=cdk.RemovalPolicy.RETAIN if settings.api_logs else None,
            deploy={},
        )
        everything = _calls(functions.by_name["api"])
        self.management.root.add_proxy(default_integration=everything, any_method=True)
        self.reader, self.operator = self._policies(messaging)
        self.webhooks = self._webhooks(functions.by_name["webhook"])

    def _webhooks(self, function: lambda_.IFunction) -> apigateway.RestApi:
        api = self._rest(
            "Webhooks",
            "Overnight's webhooks, public; each delivery is verified by its signature",
            binary_media_types=["*/*"],
            deploy={
                "throttling_rate_limit": self._settings.webhook_rate,
                "throttling_burst_limit": self._settings.webhook_burst,
            },
        )
        api.deployment_stage.node.add_dependency(self.management)  # which has the role that logs are written in
        hook = api.root.add_resource("api").add_resource("v1").add_resource("webhooks").add_resource("{hook_id}")
        hook.add_method("POST", _calls(function))
        return api

    def _rest(self, id_: str, description: str, *, deploy: dict[str, Any], **options: Any) -> apigateway.RestApi:
        if self._settings.api_logs:
            deploy |= {
                "access_log_destination": apigateway.LogGroupLogDestination(
                    log_group(self, f"{id_}Logs", self._settings)
                ),
                "access_log_format": apigateway.AccessLogFormat.custom(json.dumps(ACCESS)),
            }
        api = apigateway.RestApi(
            self,
            id_,
            rest_api_name=f"{self._settings.name}-{id_.lower()}",
            description=description,
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            deploy_options=apigateway.StageOptions(stage_name=STAGE, **deploy),
            **({"cloud_watch_role": False} | options),
        )
        api.node.try_remove_child("Endpoint")  # the stack has outputs of its own
        for kind, (status, code, detail) in REFUSALS.items():
            api.add_gateway_response(
                kind.title().replace("_", ""),
                type=apigateway.ResponseType.of(kind),
                status_code=str(status),
                response_headers={"Content-Type": f"'{MEDIA_TYPE}'"},
                templates={"application/json": _problem(status, code, detail)},
            )
        return api

    def _policies(self, messaging: Messaging) -> tuple[iam.ManagedPolicy, iam.ManagedPolicy]:
        read = self.management.arn_for_execute_api("GET", "/*", STAGE)
        # `overnight --stack NAME` finds the APIs by the stack's outputs.
        find = iam.PolicyStatement(actions=["cloudformation:DescribeStacks"], resources=[cdk.Stack.of(self).stack_id])
        reader = iam.ManagedPolicy(
            self,
            "Reader",
            description=f"Reads agents and executions of {self._settings.name}, and changes nothing",
            statements=[find, iam.PolicyStatement(actions=["execute-api:Invoke"], resources=[read])],
        )
        operator = iam.ManagedPolicy(
            self,
            "Operator",
            description=f"Does everything that the API of {self._settings.name} offers, and sends it events",
            statements=[
                find,
                iam.PolicyStatement(
                    actions=["execute-api:Invoke"],
                    resources=[self.management.arn_for_execute_api("*", "/*", STAGE)],
                ),
                iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[messaging.events.queue_arn]),
                iam.PolicyStatement(actions=["events:PutEvents"], resources=[messaging.bus.event_bus_arn]),
            ],
        )
        return reader, operator


def _problem(status: int, code: str, detail: str) -> str:
    said = Problem(
        type=f"urn:overnight:error:{code}",
        title=code.replace("_", " ").capitalize(),
        status=status,
        detail=detail,
        code=code,
    )
    return said.model_dump_json(exclude_none=True)


def _calls(function: lambda_.IFunction) -> apigateway.LambdaIntegration:
    """The function, called for the stage that is deployed, and not for the console's test button."""
    return apigateway.LambdaIntegration(function, allow_test_invoke=False)
