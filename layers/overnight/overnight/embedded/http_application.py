"""The embedded server as an ASGI application: it lets requests in, reads them within limits, and has them answered."""

import asyncio
import base64
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from overnight.api import openapi, problems
from overnight.api.bodies import limit_bytes
from overnight.api.health import HEALTH
from overnight.api.problems import Malformed, MethodNotAllowed, TooLarge
from overnight.embedded.http_docs import DOCS_HEADERS, DOCS_PAGE
from overnight.embedded.http_gate import Gate
from overnight.embedded.http_resolver import REQUEST_ID, ThreadedResolver
from overnight.errors import Unavailable

__all__ = ["Application"]

access = logging.getLogger("overnight.http")

BODY_SECONDS = 60.0
"""How long a client may take to send a body."""
DRAINED_BYTES = 64 * 1024 * 1024
"""What is read, and thrown away, of a body that is too large, so that the client gets to read why."""
WAITING = 256
"""How many requests may wait for a thread; more are answered 503."""

METRICS = "/metrics"
OPENAPI = "/openapi.json"
DOCS = "/docs"
QUIET = frozenset({HEALTH, METRICS})
"""What machines ask for every few seconds: logged at DEBUG."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class TooSlow(Malformed):
    """The body took too long."""


class _Gone(Exception):
    """The client left before its request was complete."""


@dataclass(slots=True)
class _Answer:
    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


class Application:
    """Answers HTTP requests: the API's routes, and the server's own: /metrics, /openapi.json and /docs.

    Args:
        resolver: the API.
        gate: who is let in.
        registry: what /metrics shows.
    """

    def __init__(self, resolver: ThreadedResolver, gate: Gate, registry: CollectorRegistry) -> None:
        self._resolver = resolver
        self._gate = gate
        self._registry = registry
        self._openapi: bytes | None = None
        self._own = {METRICS: self._metrics, OPENAPI: self._document, DOCS: self._docs}
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request (ASGI 3)."""
        began = time.perf_counter()
        request_id = uuid.uuid4().hex
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            answer = await self._answer(scope, headers, receive, request_id)
        except _Gone:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a problem document
            answer = _refusal(error, request_id)
            if isinstance(error, TooLarge | TooSlow):
                answer.headers.append((b"connection", b"close"))  # the rest of the body is not waited for
        answer.headers += [
            (REQUEST_ID.encode(), request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-store"),
        ]
        if answer.status != HTTPStatus.NO_CONTENT:
            answer.headers.append((b"content-length", str(len(answer.body)).encode()))
        _log(scope, answer, request_id, time.perf_counter() - began)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, headers: dict[str, str], receive: Receive, request_id: str) -> _Answer:
        method, path = scope["method"], scope["path"]
        self._gate.check(method, path, headers)
        if not scope["query_string"].isascii():
            raise Malformed("the query must be percent-encoded")
        body = await _body(receive, headers, limit_bytes(path))
        if path in self._own:
            if method != "GET":
                raise MethodNotAllowed(method, path, ["GET"])
            return await self._own[path](headers)
        if self._waiting >= WAITING:
            raise Unavailable("too many requests at once; try again later")
        self._waiting += 1
        try:
            return await self._resolve(scope, headers | {REQUEST_ID: request_id}, body)
        finally:
            self._waiting -= 1

    async def _resolve(self, scope: Scope, headers: dict[str, str], body: bytes) -> _Answer:
        """Have the API answer; header bytes beyond ASCII are handed on as UTF-8, which Powertools expects."""
        request = {**scope, "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
        answer = _Answer()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": base64.b64encode(body)}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status, answer.headers = message["status"], message["headers"]
            else:
                answer.body = message["body"] or b""

        await self._resolver(request, receive, send)
        return answer

    async def _metrics(self, headers: dict[str, str]) -> _Answer:
        encode, content_type = choose_encoder(headers.get("accept", ""))
        loop = asyncio.get_running_loop()
        text = await loop.run_in_executor(self._resolver.pool, encode, self._registry)
        return _Answer(200, [(b"content-type", content_type.encode())], text)

    async def _document(self, _: dict[str, str]) -> _Answer:
        if self._openapi is None:
            loop = asyncio.get_running_loop()
            say = partial(openapi.document, self._resolver, token=self._gate.asks_for_token)
            self._openapi = json.dumps(await loop.run_in_executor(self._resolver.pool, say)).encode()
        return _Answer(200, [(b"content-type", b"application/json")], self._openapi)

    async def _docs(self, _: dict[str, str]) -> _Answer:
        return _Answer(200, list(DOCS_HEADERS), DOCS_PAGE)


async def _body(receive: Receive, headers: dict[str, str], limit: int) -> bytes:
    """The whole body. Raises TooLarge, TooSlow and _Gone."""
    body, size, more = bytearray(), 0, True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            declared = headers.get("content-length", "0")
            while more and int(declared) <= DRAINED_BYTES and size <= DRAINED_BYTES:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Gone
                size += len(message.get("body", b""))
                if size <= limit:
                    body += message.get("body", b"")
                more = message.get("more_body", False)
    except TimeoutError as error:
        raise TooSlow(f"the body did not come within {BODY_SECONDS:.0f} s") from error
    if more or size > limit:
        raise TooLarge(limit)
    return bytes(body)


def _refusal(error: Exception, request_id: str) -> _Answer:
    problem = problems.problem_of(error, request_id)
    headers = {"Content-Type": problems.MEDIA_TYPE, **problems.headers_of(error)}
    return _Answer(
        problem.status,
        [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        problem.model_dump_json(exclude_none=True).encode(),
    )


def _log(scope: Scope, answer: _Answer, request_id: str, seconds: float) -> None:
    """One line for each request; never its query or its headers, which may say what is nobody's business."""
    level = logging.DEBUG if scope["path"] in QUIET else logging.INFO
    access.log(
        level,
        "%s %s %d",
        scope["method"],
        scope["path"],
        answer.status,
        extra={
            "method": scope["method"],
            "path": scope["path"],
            "status": answer.status,
            "bytes": len(answer.body),
            "duration_seconds": round(seconds, 6),
            "client": scope["client"][0] if scope.get("client") else None,
            "request_id": request_id,
        },
    )
