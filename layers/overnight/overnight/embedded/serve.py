"""`overnight serve`: the engine and its HTTP API in one process, until a signal ends it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from overnight.embedded.engine import Engine
from overnight.embedded.http import HttpServer
from overnight.embedded.observe import Metrics
from overnight.embedded.wiring import Settings, open_engine

__all__ = ["DRAIN_SECONDS", "Serving", "serve", "serving"]

DRAIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Serving:
    """An engine that serves, and where."""

    engine: Engine
    url: str


@contextmanager
def serving(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8321,
    token: str | None = None,
    drain_seconds: float = DRAIN_SECONDS,
) -> Iterator[Serving]:
    """Start an engine with its HTTP API; at the end of the block, drain and stop it.

    The API listens before the engine begins, so an address that is taken, or a host that other machines reach without a
    token, is refused before anything has happened.
    Raises Invalid (`host`), Unavailable (the folder or the address is in use).
    """
    metrics = Metrics()
    engine = open_engine(settings, metrics)
    server = HttpServer(engine.ports, host=host, port=port, token=token, registry=metrics.registry)
    try:
        server.start()
    except BaseException:
        engine.close()
        raise
    engine.start()
    try:
        yield Serving(engine, server.url)
    finally:
        try:
            engine.drain(drain_seconds)
        finally:
            server.stop()
            engine.close()


def serve(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8321,
    token: str | None = None,
    drain_seconds: float = DRAIN_SECONDS,
    ready: Callable[[Serving], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT: the first one drains, a second one hurries.

    Call it on the main thread, where signals arrive.
    """
    asked = threading.Event()
    with (
        _signals(lambda _signal, _frame: asked.set()),
        serving(settings, host=host, port=port, token=token, drain_seconds=drain_seconds) as running,
    ):
        ready(running)
        while not asked.wait(1.0):
            pass
        _on_signals(lambda _signal, _frame: running.engine.hurry())


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
