"""Uvicorn's HTTP/1.1, with a deadline for a request's head: a client that sends it byte by byte holds no connection."""

import asyncio
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from overnight.api.problems import MEDIA_TYPE, Malformed, problem_of

__all__ = ["HEAD_SECONDS", "PatientProtocol"]

HEAD_SECONDS = 15.0


class PatientProtocol(H11Protocol):
    """Closes a connection whose next request's head isn't complete in time; between requests it may rest."""

    head_seconds = HEAD_SECONDS
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected, and shall say what it wants."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """A part of a request came, or the whole of it."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._calm()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, and close; in the words of every other refusal."""
        problem = problem_of(Malformed(msg), "").model_dump_json(exclude_none=True).encode()
        headers = [("content-type", MEDIA_TYPE), ("content-length", str(len(problem))), ("connection", "close")]
        for event in (
            h11.Response(status_code=HTTPStatus.BAD_REQUEST, headers=headers, reason=b"Bad Request"),
            h11.Data(data=problem),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch(self) -> None:
        """The deadline runs from the first byte of a head to its last."""
        answering: Any = self.cycle is not None and not self.cycle.response_complete
        if answering or self.transport.is_closing():
            self._calm()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.head_seconds, self.transport.close)

    def _calm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
