"""Powertools' resolver for the embedded server, mended where it assumes a developer's machine.

`HttpResolverLocal` runs sync handlers one at a time on the event loop, and raises on a body that isn't UTF-8. Here each
request is resolved in a thread of a bounded pool, and bodies come base64-encoded, as from API Gateway.
"""

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aws_lambda_powertools.event_handler import HttpResolverLocal
from aws_lambda_powertools.utilities.data_classes.common import BaseProxyEvent

from overnight.api.app import mount
from overnight.ports import Ports

__all__ = ["REQUEST_ID", "ThreadedResolver"]

REQUEST_ID = "x-request-id"


class ThreadedResolver(HttpResolverLocal):
    """The API of one engine, to be called with base64-encoded bodies.

    Args:
        ports: the engine.
        threads: how many requests are resolved at once.
    """

    def __init__(self, ports: Ports, threads: int) -> None:
        # Not what POWERTOOLS_DEV says: debugging would answer with stack traces.
        super().__init__(enable_validation=True, debug=False)
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="http")
        mount(self, ports)
        for route in (*self._static_routes, *self._dynamic_routes):
            # Powertools builds each stack at its first request, which two threads would do twice, one into the other.
            route._build_middleware_stack(self._router_middlewares, self)  # noqa: SLF001
            _ = route.dependant, route.body_field

    def close(self) -> None:
        """Let the threads end."""
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _to_proxy_event(self, event: dict[str, Any]) -> BaseProxyEvent:
        event["isBase64Encoded"] = True
        event["requestContext"]["requestId"] = event["headers"].get(REQUEST_ID)
        return super()._to_proxy_event(event)

    async def _resolve_async(self) -> dict[str, Any]:  # type: ignore[override]
        # The copied context carries the request, which the base class keeps in a context variable, into the thread.
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self.pool, context.run, self._answer)

    def _answer(self) -> dict[str, Any]:
        return self._build_response(self._resolve())
