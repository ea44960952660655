"""Who may speak to the embedded server: whoever has the token; without one, programs on this machine.

A page that is open in a browser on this machine is none of these: it can't know the token, but it can send requests to
loopback addresses. So names other than this machine's are refused (DNS rebinding), and so is what a browser sends for
a page of another origin.
"""

import base64
import hashlib
import hmac
import ipaddress
from collections.abc import Mapping

from overnight.api.front_door import is_front_door
from overnight.api.health import HEALTH
from overnight.api.problems import Forbidden, Unauthorized
from overnight.errors import Invalid

__all__ = ["Gate", "is_loopback"]

BASIC = 'Basic realm="overnight", charset="UTF-8"'
"""For people: a browser then asks for a password, which is the token."""


class Gate:
    """Lets a request in, or raises.

    Args:
        host: the name or address that the server listens on.
        token: what requests must bring; None for a server that only this machine can reach.

    Raises Invalid when other machines can reach the host, and there is no token; or when a header can't carry it.
    """

    def __init__(self, host: str, token: str | None) -> None:
        if not token and not is_loopback(host):
            message = f"{host} can be reached from other machines: set OVERNIGHT_API_TOKEN, or listen on 127.0.0.1"
            raise Invalid.field("host", message)
        if token and not (token.isascii() and token.isprintable() and " " not in token):
            raise Invalid.field("token", "must be printable ASCII without spaces")
        self._digest = _digest(token) if token else None

    @property
    def asks_for_token(self) -> bool:
        """Whether requests must bring a token."""
        return self._digest is not None

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Raises Unauthorized or Forbidden. Names of headers are in lower case."""
        if is_front_door(method, path):
            # Its signature lets a delivery in; senders know the name of the tunnel that brings them here, not ours.
            pass
        elif self._digest is None:
            _refuse_other_names(headers.get("host", ""))
        elif path != HEALTH and not hmac.compare_digest(_digest(_credential(headers)), self._digest):
            # Digests, so that not even the token's length shows in the time that the comparison takes.
            raise Unauthorized(BASIC) if _is_navigation(headers) else Unauthorized
        _refuse_other_origins(method, headers)


def is_loopback(host: str) -> bool:
    """Whether the name or address is this machine's own, reachable from nowhere else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _credential(headers: Mapping[str, str]) -> str:
    """The token that was sent: as a bearer, or as the password of Basic, because a browser can't send a bearer."""
    scheme, _, credential = headers.get("authorization", "").partition(" ")
    match scheme.lower():
        case "bearer":
            return credential.strip()
        case "basic":
            try:
                return base64.b64decode(credential.strip(), validate=True).decode().partition(":")[2]
            except ValueError:
                return ""
    return ""


def _is_navigation(headers: Mapping[str, str]) -> bool:
    """Whether a person opens a page."""
    return headers.get("sec-fetch-mode", "") == "navigate" or "text/html" in headers.get("accept", "")


def _refuse_other_names(host: str) -> None:
    """A page that rebinds its name to 127.0.0.1 still sends its own name as Host; an address can't be rebound."""
    if not is_loopback(_without_port(host).lower()):
        raise Forbidden(f"{host!r} is not this server's name: ask for localhost or 127.0.0.1, or set a token")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _refuse_other_origins(method: str, headers: Mapping[str, str]) -> None:
    """What a browser sends for a page of another origin; other programs send neither of these headers.

    Following a link to a page of ours is harmless, and allowed.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        link = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
        if site in {"same-origin", "none"} or (link and headers.get("sec-fetch-dest", "document") == "document"):
            return
        raise Forbidden("a web page of another origin may not use this server")
    if origin is not None and origin.partition("://")[2] != headers.get("host"):
        raise Forbidden(f"a web page of {origin} may not use this server")
