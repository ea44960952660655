"""Where custom resources answer: on AWS a signed URL of S3, here a server on this machine's loopback address."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Responses"]


class Responses:
    """Takes answers, until it is closed."""

    def __init__(self) -> None:
        answers: dict[str, Any] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                answer = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert self.headers["Content-Type"] == "", "the URL is signed for an empty content type"
                answers[answer["RequestId"]] = answer
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._answers = answers
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where to answer."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def take(self, request_id: str) -> dict[str, Any]:
        """The answer to a request."""
        answer: dict[str, Any] = self._answers.pop(request_id)
        return answer

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
