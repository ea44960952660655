"""Senders of webhooks, many at once: they sign, post over connections that they keep, and repeat what was not taken.

As providers do it: what gets no answer in the 200s is put back and posted again later, under the same id, signed anew.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

from overnight.core.webhooks.schemes import sign
from overnight.webhooks import Webhook

LONGEST_PAUSE = 2.0
"""Providers wait for hours; a test can't. A longer Retry-After is cut to this, too (seconds)."""


@dataclass(frozen=True)
class Address:
    """A webhook, and what signs for it."""

    path: str
    webhook: Webhook
    secret: str


@dataclass(frozen=True)
class Message:
    """Something that a sender has to tell; the same id may be among them more than once."""

    id: str
    address: Address
    body: bytes


@dataclass
class Told:
    """What became of the messages."""

    executions: dict[str, set[str]] = field(default_factory=dict)
    """By the message's id, the ids of the executions that were acknowledged: there must be one."""
    answers: dict[int, int] = field(default_factory=dict)
    """How often each status was answered; 0 where the connection broke."""

    def answered(self, status: int) -> None:
        self.answers[status] = self.answers.get(status, 0) + 1


def tell(
    url: str, messages: Sequence[Message], *, connections: int, watch: Callable[[Told], None] = lambda _: None
) -> Told:
    """Post all of them until each is taken; `watch` is called after every answer, in the senders' thread."""
    return asyncio.run(_tell(url, messages, connections, watch))


async def _tell(url: str, messages: Sequence[Message], connections: int, watch: Callable[[Told], None]) -> Told:
    told, chance = Told(), random.Random(4)
    waiting: asyncio.PriorityQueue[tuple[float, int, int, Message]] = asyncio.PriorityQueue()
    for number, message in enumerate(messages):
        waiting.put_nowait((0.0, number, 0, message))
    left = len(messages)
    done = asyncio.Event()

    async def send() -> None:
        async with contextlib.aclosing(_Connection(url)) as connection:
            await send_by(connection)

    async def send_by(connection: "_Connection") -> None:
        nonlocal left
        loop = asyncio.get_running_loop()
        while True:
            due, number, tries, message = await waiting.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            status, retry_after, body = await connection.post(message)
            told.answered(status)
            if status in {200, 202}:
                told.executions.setdefault(message.id, set()).add(body.decode().split('"')[3])
                left -= 1
                if not left:
                    done.set()
            else:
                pause = min(max(retry_after, 0.1 * 2**tries), LONGEST_PAUSE) * chance.uniform(0.5, 1)
                waiting.put_nowait((loop.time() + pause, number, tries + 1, message))
            watch(told)

    senders = [asyncio.create_task(send()) for _ in range(connections)]
    finished = asyncio.create_task(done.wait())
    await asyncio.wait([finished, *senders], return_when=asyncio.FIRST_COMPLETED)
    for task in (finished, *senders):
        task.cancel()
    ended = await asyncio.gather(*senders, return_exceptions=True)
    for failure in ended:
        if isinstance(failure, Exception):
            raise failure
    return told


class _Connection:
    """HTTP/1.1 as small as it gets, since what is measured is the other end."""

    def __init__(self, url: str) -> None:
        self._host, self._port = urlsplit(url).hostname or "", urlsplit(url).port or 80
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, message: Message) -> tuple[int, float, bytes]:
        """Sign and post; status, Retry-After and body. Status 0 where there was no answer."""
        address = message.address
        signed = sign(address.webhook, address.secret, message.body, datetime.now(UTC), message.id)
        head = [
            f"POST {address.path} HTTP/1.1",
            f"Host: {self._host}:{self._port}",
            "Content-Type: application/json",
            f"Content-Length: {len(message.body)}",
            *(f"{name}: {value}" for name, value in signed.headers.items()),
        ]
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._host, self._port)
            reader, writer = self._streams
            writer.write("\r\n".join((*head, "", "")).encode() + message.body)
            return await asyncio.wait_for(_answer(reader), 60)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            await self.aclose()
            return 0, 0.0, b""

    async def aclose(self) -> None:
        """Close the connection, if there is one."""
        if self._streams is not None:
            self._streams[1].close()
            with contextlib.suppress(OSError):
                await self._streams[1].wait_closed()
            self._streams = None


async def _answer(reader: asyncio.StreamReader) -> tuple[int, float, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return int(head[0].split()[1]), float(headers.get("retry-after", "0")), body
