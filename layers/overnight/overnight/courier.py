"""Posts notifications: to public addresses only, following no redirect."""

from collections.abc import Mapping

from overnight.errors import Invalid, Unavailable
from overnight.policies import TOPIC

__all__ = ["HttpCourier"]

TIMEOUT_SECONDS = 15.0


class HttpCourier:
    """Over HTTP(S), each request on a connection of its own."""

    def __init__(self, *, allow_private: bool = False) -> None:
        """With `allow_private`, to private addresses too: for receivers on one's own network."""
        self._allow_private = allow_private

    def check(self, url: str) -> None:
        """Raises Invalid for the topic of a stack."""
        if url == TOPIC:
            raise Invalid.field(
                "notify.url", f"{TOPIC!r} is the topic of a stack on AWS, which this engine has not; give a URL"
            )

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer. Raises Unavailable when there is none, Invalid when the address is refused."""
        import httpx  # noqa: PLC0415 - slow to import, and of all functions only the watchdog posts

        from overnight.outbound import OutboundRefusedError, client  # noqa: PLC0415

        try:
            with (
                client(allow_private=self._allow_private, timeout_seconds=TIMEOUT_SECONDS) as http,
                http.stream("POST", url, content=body, headers=dict(headers)) as answer,  # its body is of no interest
            ):
                return answer.status_code
        except OutboundRefusedError as refused:
            raise Invalid.field("notify.url", str(refused)) from refused
        except (httpx.HTTPError, OSError) as error:
            raise Unavailable(f"{url} does not answer: {error or type(error).__name__}") from error
