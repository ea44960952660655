"""The API, whole: every router on one Powertools resolver, for one engine's ports.

`HttpResolverLocal` and `APIGatewayRestResolver` serve the very same routes; what each adds stands with its engine.
"""

from typing import TypeVar

from aws_lambda_powertools.event_handler import ApiGatewayResolver

from overnight.api import (
    agents,
    events,
    executions,
    firing,
    front_door,
    health,
    lifecycle,
    notifications,
    schedules,
    secrets,
    tasks,
    verify,
    webhooks,
)
from overnight.api.serving import serve
from overnight.ports import Ports

__all__ = ["ROUTERS", "mount"]

R = TypeVar("R", bound=ApiGatewayResolver)

ROUTERS = (
    agents.router,
    lifecycle.router,
    firing.router,
    executions.router,
    events.router,
    schedules.router,
    webhooks.router,
    front_door.router,
    notifications.router,
    secrets.router,
    verify.router,
    health.router,
    tasks.router,
)


def mount(resolver: R, ports: Ports) -> R:
    """Serve the whole API of the engine behind these ports; see `serve`."""
    return serve(resolver, ports, ROUTERS)
