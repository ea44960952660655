"""`overnight serve`: the engine and its HTTP API in one process, until a signal ends it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from overnight.embedded.engine import Engine
from overnight.embedded.http import HttpServer

__all__ = ["DRAIN_SECONDS", "HOST", "PORT", "serve", "serving"]

DRAIN_SECONDS = 30.0
HOST = "127.0.0.1"
PORT = 8321


@contextmanager
def serving(
    engine: Engine,
    *,
    host: str = HOST,
    port: int = PORT,
    token: str | None = None,
    drain_seconds: float = DRAIN_SECONDS,
) -> Iterator[str]:
    """Serve an engine's API, at the URL it yields; at the end of the block drain and close the engine.

    The API listens before the engine begins, so an address that is taken, or a host that other machines reach without a
    token, is refused before anything has happened.
    Raises Invalid (`host`), Unavailable (the address is in use).
    """
    try:
        server = HttpServer(engine.ports, host=host, port=port, token=token, registry=engine.registry)
        server.start()
    except BaseException:
        engine.close()
        raise
    try:
        engine.start()
        yield server.url
    finally:
        try:
            engine.drain(drain_seconds)
        finally:
            server.stop()
            engine.close()


def serve(
    engine: Engine,
    *,
    host: str = HOST,
    port: int = PORT,
    token: str | None = None,
    drain_seconds: float = DRAIN_SECONDS,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT: the first one drains, a second one hurries.

    Call it on the main thread, where signals arrive; `ready` is given the URL. Raises as `serving` does.
    """
    asked = threading.Event()
    with (
        _signals(lambda _signal, _frame: asked.set()),
        serving(engine, host=host, port=port, token=token, drain_seconds=drain_seconds) as url,
    ):
        ready(url)
        while not asked.wait(1.0):
            pass
        _on_signals(lambda _signal, _frame: engine.hurry())


Handler = Callable[[int, FrameType | None], object]


@contextmanager
def _signals(handler: Handler) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    _on_signals(handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _on_signals(handler: Handler) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)
