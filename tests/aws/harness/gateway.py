"""API Gateway: requests become proxy events of the functions that the template says, as far as IAM lets them in.

Its limits, and those of Lambda behind it, are the real ones; what they refuse, it answers itself, by the template's
gateway responses where there are any.
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""

import base64
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

import httpx
from tests.aws.harness.account import REGION
from tests.aws.harness.cloudformation import Cloud, Kept
from tests.aws.harness.functions import Function, FunctionError, Lambda
from tests.aws.harness.iam import Need, allows, statements

__all__ = ["INTEGRATION_SECONDS", "LAMBDA_BYTES", "Gateway"]

HEADER_BYTES = 10_240
"""Of all headers together."""
REQUEST_BYTES = 10 * 1024 * 1024
LAMBDA_BYTES = 6 * 1024 * 1024
"""Of the event that a function is called with, and of its answer, as JSON."""
INTEGRATION_SECONDS = 29


@dataclass(frozen=True)
class Route:
    """A method of a resource: its path, and the function behind it."""

    template: str
    method: str
    authorization: str
    function: str | None

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """The path's parameters, if the request is for it."""
        if self.method not in ("ANY", method):
            return None
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(self.template))
        pattern = re.sub(r"\\\{(\w+)\\\+\\\}", r"(?P<\1>.+)", pattern)
        found = re.fullmatch(pattern, path)
        return found.groupdict() if found else None


class Gateway(httpx.BaseTransport):
    """A way into the APIs of a stack, for a principal with that managed policy, or for the public.

    Args:
        cloud: the stack.
        world: its functions' world.
        functions: the functions, by ARN.
        policy: part of the logical id of a managed policy; None for a request that nobody signed.
    """

    def __init__(self, cloud: Cloud, world: Lambda, functions: Mapping[str, Function], policy: str | None) -> None:
        self._cloud = cloud
        self._world = world
        self._functions = functions
        self._policy = policy

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer as API Gateway does."""
        api = request.url.host.partition(".")[0]
        rest = next(kept for kept in self._cloud.of("AWS::ApiGateway::RestApi").values() if kept.made.ref == api)
        _, stage, path = unquote(request.url.raw_path.decode().partition("?")[0]).split("/", 2)
        assert any(
            kept.made.ref == stage and kept.properties["RestApiId"] == api
            for kept in self._cloud.of("AWS::ApiGateway::Stage").values()
        )
        path = f"/{path}"
        for route in self._routes(api):
            parameters = route.match(request.method, path)
            if parameters is None:
                continue
            signed = f"/{REGION}/execute-api/aws4_request" in request.headers.get("Authorization", "")
            if not self._let_in(route, f"{api}/{stage}/{request.method}{path}", signed=signed):
                return _message(403, "Missing Authentication Token" if self._policy is None else "not authorized")
            function = self._functions[route.function] if route.function else None
            if function is None:
                return _message(500, "the integration is a mock")
            self._may_call(function, f"{api}/{stage}/{request.method}{path}")
            return self._call(function, request, route, stage, path, parameters, rest)
        return _message(403, "Missing Authentication Token")

    def _routes(self, api: str) -> Iterator[Route]:
        for kept in self._cloud.of("AWS::ApiGateway::Method").values():
            said = kept.properties
            if said["RestApiId"] == api:
                uri = re.search(r"functions/(arn:[^/]+)/invocations", said["Integration"].get("Uri", ""))
                yield Route(
                    self._path(said["ResourceId"]), said["HttpMethod"], said["AuthorizationType"], uri and uri[1]
                )

    def _path(self, resource: str) -> str:
        if resource.endswith("-root"):
            return "/"
        said = self._cloud.there[resource].properties
        return f"{self._path(said['ParentId']).rstrip('/')}/{said['PathPart']}"

    def _let_in(self, route: Route, what: str, *, signed: bool) -> bool:
        if route.authorization == "NONE":
            return True
        if self._policy is None or not signed:
            return False
        policy = self._cloud.one("AWS::IAM::ManagedPolicy", self._policy).properties["PolicyDocument"]
        resource = f"arn:aws:execute-api:{REGION}:{self._world.account.id}:{what}"
        return allows(statements(policy), Need("execute-api:Invoke", resource))

    def _may_call(self, function: Function, what: str) -> None:
        """A resource-based permission lets API Gateway call the function."""
        permissions = [
            {"Statement": {"Effect": "Allow", "Action": said["Action"], "Resource": said["SourceArn"]}}
            for said in (kept.properties for kept in self._cloud.of("AWS::Lambda::Permission").values())
            if said["FunctionName"] == function.arn and said["Principal"] == "apigateway.amazonaws.com"
        ]
        need = Need("lambda:InvokeFunction", f"arn:aws:execute-api:{REGION}:{self._world.account.id}:{what}")
        assert any(allows(statements(each), need) for each in permissions), f"API Gateway may not call {function.name}"

    def _call(
        self,
        function: Function,
        request: httpx.Request,
        route: Route,
        stage: str,
        path: str,
        parameters: dict[str, str],
        rest: Kept,
    ) -> httpx.Response:
        content = request.read()
        if sum(len(name) + len(value) for name, value in request.headers.raw) > HEADER_BYTES:
            return _message(431, "Request Header Fields Too Large")
        if len(content) > REQUEST_BYTES:
            return self._refusal("REQUEST_TOO_LARGE", 413, "Request Entity Too Large", rest)
        binary = "*/*" in rest.properties.get("BinaryMediaTypes", [])
        body = base64.b64encode(content).decode() if binary else content.decode(errors="replace")
        headers: dict[str, list[str]] = {}
        for name, value in request.headers.multi_items():
            headers.setdefault(name.title(), []).append(value)
        query: dict[str, list[str]] = {}
        for name, value in parse_qsl(request.url.query.decode(), keep_blank_values=True):
            query.setdefault(name, []).append(value)
        event = {
            "resource": route.template,
            "path": path,
            "httpMethod": request.method,
            "headers": {name: values[-1] for name, values in headers.items()},
            "multiValueHeaders": headers,
            "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
            "multiValueQueryStringParameters": query or None,
            "pathParameters": parameters or None,
            "stageVariables": None,
            "requestContext": {
                "requestId": str(uuid.uuid4()),
                "accountId": self._world.account.id,
                "apiId": rest.made.ref,
                "stage": stage,
                "resourcePath": route.template,
                "path": f"/{stage}{path}",
                "httpMethod": request.method,
                "protocol": "HTTP/1.1",
                "requestTimeEpoch": round(self._world.account.clock.at.timestamp() * 1_000),
                "identity": {"sourceIp": "192.0.2.1", "userAgent": "a test"},
            },
            "body": body if content else None,
            "isBase64Encoded": binary and bool(content),
        }
        if len(json.dumps(event)) > LAMBDA_BYTES:
            return self._refusal("REQUEST_TOO_LARGE", 413, "Request Too Long", rest)
        called_at = self._world.account.clock.at
        try:
            answer = function.invoke(event)
        except FunctionError:
            return _message(502, "Internal server error")
        if (self._world.account.clock.at - called_at).total_seconds() > INTEGRATION_SECONDS:
            return self._refusal("INTEGRATION_TIMEOUT", 504, "Endpoint request timed out", rest)
        return _response(answer)

    def _refusal(self, kind: str, status: int, message: str, rest: Kept) -> httpx.Response:
        """What API Gateway answers itself."""
        for kept in self._cloud.of("AWS::ApiGateway::GatewayResponse").values():
            said = kept.properties
            if (said["RestApiId"], said["ResponseType"]) == (rest.made.ref, kind):
                media = said["ResponseParameters"]["gatewayresponse.header.Content-Type"].strip("'")
                body = said["ResponseTemplates"]["application/json"]
                return httpx.Response(int(said["StatusCode"]), headers={"Content-Type": media}, content=body)
        return _message(status, message)


def _response(answer: Any) -> httpx.Response:
    if not isinstance(answer, dict) or "statusCode" not in answer or len(json.dumps(answer)) > LAMBDA_BYTES:
        return _message(502, "Internal server error")
    body = answer.get("body") or ""
    content = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
    headers = [(name, value) for name, value in (answer.get("headers") or {}).items()]
    for name, values in (answer.get("multiValueHeaders") or {}).items():
        headers += [(name, value) for value in values]
    return httpx.Response(answer["statusCode"], headers=headers, content=content)


def _message(status: int, message: str) -> httpx.Response:
    return httpx.Response(
        status, headers={"Content-Type": "application/json"}, content=json.dumps({"message": message})
    )
