"""Where the engine connects, and where it does not."""

import contextlib
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from overnight.outbound import OutboundRefusedError, check_url, client

PUBLIC, PRIVATE = "93.184.216.34", "10.0.0.1"


def resolving(*addresses):
    """A resolver that knows one answer, and counts how often it is asked."""

    def resolve(host, port, **_):
        resolve.asked.append(host)
        return [(socket.AF_INET6 if ":" in a else socket.AF_INET, 1, 6, "", (a, port)) for a in addresses]

    resolve.asked = []
    return resolve


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        (PUBLIC, True, True),
        ("2606:4700::1111", True, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("10.1.2.3", False, True),
        ("172.16.0.1", False, True),
        ("192.168.1.1", False, True),
        ("100.64.0.1", False, True),
        ("fd00::1", False, True),
        ("::ffff:10.0.0.1", False, True),
        ("64:ff9b::a00:1", False, True),
        ("2002:a00:1::", False, True),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("fe80::1", False, False),
        ("fe80::1%eth0", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("224.0.0.1", False, False),
        ("255.255.255.255", False, False),
    ],
)
def test_addresses(address, public, private):
    for allow_private, allowed in ((False, public), (True, private)):
        try:
            check_url("https://example.com/x", allow_private=allow_private, resolve=resolving(address))
        except OutboundRefusedError:
            assert not allowed
        else:
            assert allowed


def test_one_private_address_among_public_ones_is_refused():
    with pytest.raises(OutboundRefusedError, match=r"example\.com has the private address 10\.0\.0\.1"):
        check_url("https://example.com", allow_private=False, resolve=resolving(PUBLIC, PRIVATE))


@pytest.mark.parametrize(
    "url", ["ftp://example.com", "file:///etc/passwd", "example.com", "https://", "", "http://[::1"]
)
def test_what_is_no_http_url_is_refused(url):
    with pytest.raises(OutboundRefusedError):
        check_url(url, allow_private=True, resolve=resolving(PUBLIC))


@pytest.mark.parametrize("url", ["http://2130706433", "http://0x7f.1", "http://127.1"])
def test_other_spellings_of_an_address_are_still_that_address(url):
    with pytest.raises((OutboundRefusedError, OSError)):
        check_url(url, allow_private=False)


def test_a_destination_says_where_to_connect():
    destination = check_url("http://example.com:8080/x", allow_private=False, resolve=resolving(PUBLIC, PUBLIC))
    assert (destination.host, destination.port, destination.addresses) == ("example.com", 8080, (PUBLIC,))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.hosts.append(self.headers["host"])
        self.send_response(302 if self.path == "/redirect" else 200)
        if self.path == "/redirect":
            self.send_header("location", "/elsewhere")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.hosts = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_connection_goes_to_the_checked_address_under_the_name(server):
    port = server.server_address[1]
    resolve = resolving("127.0.0.1")
    with client(allow_private=True, timeout_seconds=5, resolve=resolve) as http:
        response = http.get(f"http://overnight.example:{port}/x")
    assert response.text == "ok"
    assert server.hosts == [f"overnight.example:{port}"]
    assert resolve.asked == ["overnight.example"]


def test_the_next_address_is_tried(server):
    resolve = resolving("127.0.0.9", "127.0.0.1")
    with client(allow_private=True, timeout_seconds=5, resolve=resolve) as http:
        assert http.get(f"http://overnight.example:{server.server_address[1]}/x").text == "ok"


def test_a_redirect_is_not_followed(server):
    with client(allow_private=True, timeout_seconds=5) as http:
        response = http.get(f"http://127.0.0.1:{server.server_address[1]}/redirect")
    assert response.status_code == 302
    assert len(server.hosts) == 1


def test_a_private_address_is_not_connected_to(server):
    with (
        client(allow_private=False, timeout_seconds=5, resolve=resolving("127.0.0.1")) as http,
        pytest.raises(OutboundRefusedError),
    ):
        http.get(f"http://overnight.example:{server.server_address[1]}/x")
    assert server.hosts == []


def test_a_name_that_does_not_resolve_is_a_connection_that_fails():
    def resolve(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with (
        client(allow_private=True, timeout_seconds=5, resolve=resolve) as http,
        pytest.raises(httpx.ConnectError, match="does not resolve"),
    ):
        http.get("http://overnight.example")


def test_proxies_of_the_environment_are_not_used(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with client(allow_private=True, timeout_seconds=5) as http:
        assert http.get(f"http://127.0.0.1:{server.server_address[1]}/x").text == "ok"


def test_tls_is_spoken_to_the_name_not_to_the_address():
    asked = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _, name, __: asked.append(name)

    def shake_hands(listener):
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                context.wrap_socket(connection, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        thread = threading.Thread(target=shake_hands, args=(listener,))
        thread.start()
        with (
            client(allow_private=True, timeout_seconds=5, resolve=resolving("127.0.0.1")) as http,
            pytest.raises(httpx.ConnectError),  # the server has no certificate
        ):
            http.get(f"https://overnight.example:{listener.getsockname()[1]}/")
        thread.join()
    assert asked == ["overnight.example"]
