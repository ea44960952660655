"""A flow on a Langflow server: what is sent, what comes back, and what its refusals mean."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from overnight.flows import Allowed, Call, CallInput, FlowFailure, LangflowApiFlow, Result, Usage, run

PRIVATE = Allowed(private_addresses=True)

ANSWER = {
    "session_id": "s1",
    "outputs": [
        {
            "inputs": {"input_value": "Hi"},
            "outputs": [
                {
                    "results": {
                        "message": {
                            "text": "Hello!",
                            "properties": {"usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}},
                        }
                    },
                    "component_id": "ChatOutput-a1",
                    "messages": [{"message": "Hello!"}],
                }
            ],
        }
    ],
}


class LangflowServer(ThreadingHTTPServer):
    """Answers every request with `status`, `headers` and `body`, and keeps what it was sent."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.headers, self.body, self.delay = 200, {}, json.dumps(ANSWER).encode(), threading.Event()
        self.delay.set()
        self.path = self.sent = self.sent_headers = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        server.path, server.sent_headers = self.path, dict(self.headers)
        server.sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server.delay.wait(5)
        self.send_response(server.status)
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(server.body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with LangflowServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.delay.set()
        server.shutdown()
        thread.join()


def call(url, *, timeout_seconds=5.0, flow="daily-report", **changes):
    changes.setdefault("input", CallInput("Hi", tweaks={"Model-m1": {"temperature": 0.5}}, session_id="s1"))
    api = LangflowApiFlow(url, flow, api_key="lf-key", timeout_seconds=timeout_seconds)
    return Call(execution_id="e1", agent_id="a1", agent="daily", attempt=1, flow=api, **changes)


def failure(url, allowed=PRIVATE, **changes):
    with pytest.raises(FlowFailure) as caught:
        run(call(url, **changes), allowed)
    return caught.value


def test_a_run_is_asked_for_as_langflow_documents_it(server):
    result = run(call(server.url + "/", flow="my flow", variables={"OPENAI_API_KEY": "sk-1"}), PRIVATE)
    assert server.path == "/api/v1/run/my%20flow?stream=false"
    assert server.sent == {
        "input_value": "Hi",
        "input_type": "chat",
        "output_type": "chat",
        "tweaks": {"Model-m1": {"temperature": 0.5}},
        "session_id": "s1",
    }
    headers = {name.lower(): value for name, value in server.sent_headers.items()}
    assert headers["x-api-key"] == "lf-key"
    assert headers["x-langflow-global-var-openai_api_key"] == "sk-1"
    outputs = {"ChatOutput-a1": {"type": "message", "status": "completed", "content": "Hello!"}}
    assert result == Result("Hello!", outputs, Usage(3, 2, 5))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"outputs": [{"outputs": [{"messages": [{"message": "From messages"}]}]}]}, "From messages"),
        ({"outputs": [{"outputs": [{"component_id": "D", "results": {"data": {"n": 1}}}]}]}, None),
        ({"outputs": []}, None),
        ({}, None),
        ([], None),
    ],
)
def test_other_shapes_of_answers_are_read_as_far_as_they_go(body, text, server):
    server.body = json.dumps(body).encode()
    assert run(call(server.url), PRIVATE).text == text


@pytest.mark.parametrize(
    ("status", "headers", "retryable", "after", "message"),
    [
        (401, {}, False, None, "overnight secrets set langflow"),
        (403, {}, False, None, "overnight secrets set langflow"),
        (404, {}, False, None, "It has no flow 'daily-report'"),
        (422, {}, False, None, "correct the agent's input and tweaks"),
        (302, {"location": "https://elsewhere"}, False, None, "Redirects are not followed: put the address it names"),
        (418, {}, False, None, "refused again"),
        (429, {"retry-after": "7"}, True, 7, "429"),
        (500, {}, True, None, "500"),
        (503, {"retry-after": "30"}, True, 30, "503"),
    ],
)
def test_refusals_are_sorted(status, headers, retryable, after, message, server):
    server.status, server.headers, server.body = status, headers, b'{"detail": "What it said."}'
    failed = failure(server.url)
    assert (failed.retryable, failed.retry_after_seconds) == (retryable, after)
    assert message in failed.message
    assert "What it said." in failed.message


def test_something_else_than_langflow_is_permanent(server):
    server.body = b"<html>Hello</html>"
    failed = failure(server.url)
    assert not failed.retryable
    assert "is it the address of a Langflow server?" in failed.message


def test_a_server_that_takes_too_long_is_tried_again(server):
    server.delay.clear()
    failed = failure(server.url, timeout_seconds=0.1)
    assert (failed.error_type, failed.retryable) == ("ReadTimeout", True)


def test_a_server_that_is_down_is_tried_again():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    failed = failure(url)
    assert (failed.error_type, failed.retryable) == ("ConnectError", True)


def test_a_private_address_needs_the_engines_leave(server):
    failed = failure(server.url, Allowed())
    assert not failed.retryable
    assert "private address 127.0.0.1" in failed.message
    assert server.sent is None


def test_a_variable_that_no_header_can_carry_is_permanent(server):
    failed = failure(server.url, variables={"NOTE": "two\nlines"})
    assert not failed.retryable
