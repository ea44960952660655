"""Connections to URLs that users write: no private addresses, no redirects, and no second look-up of the name.

A name is resolved once, every address it has is checked, and the connection goes to one of these addresses, so that a
name server cannot answer one thing to the check and another to the connection (DNS rebinding).
"""

import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import httpx

Resolve = Callable[..., Iterable[tuple[Any, Any, Any, Any, tuple[Any, ...]]]]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class OutboundRefusedError(ValueError):
    """A URL that the engine does not connect to; the message says why, and what would allow it."""


class Destination(NamedTuple):
    """A URL that may be connected to, at these addresses and no others."""

    url: str
    host: str
    port: int
    addresses: tuple[str, ...]


def check_url(url: str, *, allow_private: bool, resolve: Resolve = socket.getaddrinfo) -> Destination:
    """Resolve a URL's host once, and check every address.

    `allow_private` admits loopback, RFC 1918 and the like, but never link-local addresses, where clouds keep their
    credentials. Raises OutboundRefusedError; OSError where the name does not resolve.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        msg = f"{url!r} is not a URL: {error}."
        raise OutboundRefusedError(msg) from error
    if parsed.scheme not in _PORTS or not parsed.host:
        msg = f"{url!r} is not an http or https URL with a host."
        raise OutboundRefusedError(msg)
    port = parsed.port or _PORTS[parsed.scheme]
    found = resolve(parsed.host, port, type=socket.SOCK_STREAM)
    addresses = tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    if not addresses:
        msg = f"{parsed.host} has no address."
        raise OSError(msg)
    for address in addresses:
        _check_address(parsed.host, address, allow_private=allow_private)
    return Destination(url=url, host=parsed.host, port=port, addresses=addresses)


def client(*, allow_private: bool, timeout_seconds: float, resolve: Resolve = socket.getaddrinfo) -> httpx.Client:
    """An HTTP client that connects to checked addresses only, follows no redirect, and knows no proxy or netrc.

    Its requests raise OutboundRefusedError, or httpx.ConnectError where a name does not resolve.
    """
    return httpx.Client(
        transport=_CheckedTransport(allow_private=allow_private, resolve=resolve),
        timeout=timeout_seconds,
        follow_redirects=False,
        trust_env=False,
    )


class _CheckedTransport(httpx.BaseTransport):
    """Puts the address in the place of the name; the name stays in the Host header and in TLS.

    Connections are not kept: a kept one would belong to an address, which two names may share.
    """

    def __init__(self, *, allow_private: bool, resolve: Resolve) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._inner = httpx.HTTPTransport(limits=httpx.Limits(max_keepalive_connections=0), trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            destination = check_url(str(request.url), allow_private=self._allow_private, resolve=self._resolve)
        except OSError as error:
            msg = f"The name {request.url.host} does not resolve: {error}"
            raise httpx.ConnectError(msg, request=request) from error
        *others, last = destination.addresses
        for address in others:
            try:
                return self._send(request, address)
            except httpx.ConnectError:
                continue
        return self._send(request, last)

    def _send(self, request: httpx.Request, address: str) -> httpx.Response:
        pinned = httpx.Request(
            method=request.method,
            url=request.url.copy_with(host=address),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": request.url.host},
        )
        return self._inner.handle_request(pinned)

    def close(self) -> None:
        self._inner.close()


def _check_address(host: str, text: str, *, allow_private: bool) -> None:
    for address in _with_embedded(ipaddress.ip_address(text.partition("%")[0])):
        if _is_never_allowed(address):
            msg = f"{host} has the address {text}, which is link-local, multicast or reserved: no flow connects there."
            raise OutboundRefusedError(msg)
        if not address.is_global and not allow_private:
            allow = "To allow it, start the engine with `overnight serve --private`."
            msg = f"{host} has the private address {text}. {allow}"
            raise OutboundRefusedError(msg)


def _is_never_allowed(address: Address) -> bool:
    if address.is_loopback:
        return False
    return address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved


def _with_embedded(address: Address) -> tuple[Address, ...]:
    """The address, or for IPv6 that carries an IPv4 address (mapped, 6to4, NAT64), what it carries."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address in _NAT64:
        return (ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF),)
    return (address,)
