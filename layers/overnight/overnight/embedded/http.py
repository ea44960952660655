"""The embedded HTTP server: uvicorn in a thread of its own, so that the engine keeps its signals and main thread."""

import asyncio
import contextlib
import ipaddress
import os
import socket
import threading

import uvicorn
from prometheus_client import REGISTRY, CollectorRegistry

from overnight.embedded.http_application import Application
from overnight.embedded.http_gate import Gate
from overnight.embedded.http_protocol import PatientProtocol
from overnight.embedded.http_resolver import ThreadedResolver
from overnight.errors import Unavailable
from overnight.ports import Ports

__all__ = ["HOST", "PORT", "HttpServer"]

HOST = "127.0.0.1"
PORT = 8321
THREADS = 16
BACKLOG = 1_024
TICK_SECONDS = 1.0
KEEP_ALIVE_SECONDS = 30
HEAD_BYTES = 32 * 1024
"""Of a request's line and headers, together."""


class HttpServer:
    """Serves the API of one engine over HTTP.

    Args:
        ports: the engine.
        host: the name or address to listen on.
        port: where; 0 for any that is free.
        token: what every request but that for /health must bring; None asks for none.
        registry: what /metrics shows.
        threads: how many requests are answered at once.

    Raises Invalid when other machines can reach the host, and there is no token.
    """

    def __init__(
        self,
        ports: Ports,
        *,
        host: str = HOST,
        port: int = PORT,
        token: str | None = None,
        registry: CollectorRegistry = REGISTRY,
        threads: int = THREADS,
    ) -> None:
        gate = Gate(host, token)
        self._address = (host, port)
        self._resolver = ThreadedResolver(ports, threads)
        self._server = _Server(Application(self._resolver, gate, registry))
        self._thread: threading.Thread | None = None
        self._url: str | None = None

    @property
    def url(self) -> str:
        """Where it is reached, known once it was started."""
        if self._url is None:
            raise RuntimeError("the server was not started")
        return self._url

    def start(self) -> None:
        """Listen, and return once requests are answered. Raises Unavailable when the address can't be had."""
        listening = _listen(*self._address)
        host, port = self._address[0], listening.getsockname()[1]
        self._url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._thread = threading.Thread(target=self._server.run, args=([listening],), name="http", daemon=True)
        self._thread.start()
        while not self._server.listening.wait(0.1):
            if not self._thread.is_alive():
                raise Unavailable("the HTTP server ended as soon as it was started; its log says why")

    def stop(self, grace_seconds: float = 10.0) -> None:
        """Take no more requests, and wait for those under way, up to `grace_seconds`; then let them fall."""
        if self._thread is None:
            return
        self._server.end(grace_seconds)
        self._thread.join(grace_seconds + 5)
        self._resolver.close()
        self._thread = None


class _Server(uvicorn.Server):
    """Uvicorn, which tells when it listens, and is told when to end, instead of looking ten times a second."""

    def __init__(self, application: Application) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                http=PatientProtocol,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                h11_max_incomplete_event_size=HEAD_BYTES,
            )
        )
        self.listening = threading.Event()
        self._ending = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self.listening.set()

    async def main_loop(self) -> None:
        """Keep the Date header right, until it shall end."""
        while not self.should_exit:
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), TICK_SECONDS)

    def end(self, grace_seconds: float) -> None:
        """End, from any thread; requests under way have so long."""
        self.config.timeout_graceful_shutdown = max(1, round(grace_seconds))
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._ending.set)


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens already, so that what is wrong with the address is told to the caller."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET  # noqa: PLR2004
    except ValueError:
        family = socket.AF_INET
    # With its protocol said, because asyncio sends without delay (TCP_NODELAY) only then: else each answer takes 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise Unavailable(f"can't listen on {host} port {port}: {error.strerror or error}") from error
    return listening
