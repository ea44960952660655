"""Routers on a Powertools resolver, for one engine's ports: the same bodies, the same refusals, wherever they stand."""

from collections.abc import Sequence
from copy import copy
from typing import TypeVar

from aws_lambda_powertools.event_handler import ApiGatewayResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.middlewares import NextMiddleware
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError
from aws_lambda_powertools.event_handler.types import EventHandlerInstance

from overnight.api import front_door, problems
from overnight.api.bodies import JsonBodies
from overnight.api.problems import MethodNotAllowed, RouteNotFound
from overnight.api.routing import Router
from overnight.errors import Unverified
from overnight.ports import Ports

__all__ = ["methods", "serve"]

R = TypeVar("R", bound=ApiGatewayResolver)


def serve(resolver: R, ports: Ports, routers: Sequence[Router]) -> R:
    """Serve these routers, for the engine behind these ports.

    Args:
        resolver: one that was made with `enable_validation=True`.
        ports: the engine.
        routers: what is served; where the public comes in, nothing but the front door.
    """
    # Powertools reads bodies in its own way, which takes forms, and answers what is no JSON with 422.
    resolver._request_validation_middleware = JsonBodies()  # type: ignore[no-untyped-call]  # noqa: SLF001

    def with_ports(app: EventHandlerInstance, next_middleware: NextMiddleware) -> Response[str]:
        app.context["ports"] = ports
        return next_middleware(app)

    resolver.use(middlewares=[with_ports])
    for router in routers:
        # A copy, because a router remembers the resolver that it was included in: two engines must share nothing.
        resolver.include_router(copy(router))
    _refuse_in_our_words(resolver)
    return resolver


def _refuse_in_our_words(resolver: ApiGatewayResolver) -> None:
    """Answer every error as a problem document."""

    def refuse(error: Exception) -> Response[str]:
        return problems.answer(error, _request_id(resolver))

    def refuse_invalid(error: RequestValidationError) -> Response[str]:
        if any(found["loc"][0] == "response" for found in error.errors()):
            return refuse(TypeError(f"the answer is not what the route says: {error.errors()}"))
        return refuse(problems.invalid([{**found, "loc": _field(found["loc"])} for found in error.errors()]))

    def refuse_unknown(_: NotFoundError) -> Response[str]:
        method, path = resolver.current_event.http_method.upper(), resolver.current_event.path
        if front_door.is_front_door(method, path):
            return refuse(Unverified())
        if allowed := methods(resolver, path):
            return refuse(MethodNotAllowed(method, path, allowed))
        return refuse(RouteNotFound(path))

    resolver.exception_handler(NotFoundError)(refuse_unknown)
    resolver.exception_handler(RequestValidationError)(refuse_invalid)
    resolver.exception_handler(Exception)(refuse)


def methods(resolver: ApiGatewayResolver, path: str) -> list[str]:
    """The methods that the path takes; none if there is no such path. A path without parameters goes before."""
    for routes in (resolver._static_routes, resolver._dynamic_routes):  # noqa: SLF001 - Powertools tells nobody else
        if found := sorted({route.method for route in routes if route.rule.match(path)}):
            return found
    return []


def _field(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Where a field is, without whether that is path, query or body; a header as it is usually written."""
    return (str(loc[1]).title(),) if loc[0] == "header" else loc[1:]


def _request_id(resolver: ApiGatewayResolver) -> str:
    """The id that API Gateway, or the embedded server, gave the request."""
    return str((resolver.current_event.get("requestContext") or {}).get("requestId", ""))
