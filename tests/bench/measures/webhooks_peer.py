"""The same deliveries at a bare uvicorn application, which only verifies each and inserts it into SQLite, durably."""

import contextlib
import hashlib
import hmac
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from tests.bench.measures.webhooks import CONNECTIONS, messages
from tests.bench.sizes import Sizes
from tests.support.engine_process import free_port
from tests.support.senders import Address, tell

from overnight.webhooks import Webhook

SECRET = "s3cret"
WEBHOOK = Webhook(signature="github")

__all__ = ["application", "measure"]


def application(path: str) -> Callable[..., Awaitable[None]]:
    """Verifies `X-Hub-Signature-256` and inserts; nothing else."""
    database = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        database.execute(f"PRAGMA {pragma}")
    database.execute("CREATE TABLE IF NOT EXISTS deliveries (id TEXT PRIMARY KEY, body BLOB) WITHOUT ROWID")

    async def answer(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[dict[str, Any]], Any]) -> None:
        headers = dict(scope["headers"])
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        expected = b"sha256=" + hmac.digest(SECRET.encode(), body, "sha256").hex().encode()
        genuine = hmac.compare_digest(expected, headers.get(b"x-hub-signature-256", b""))
        status, said = 401, b'{"error": "unverified"}'
        if genuine:
            id_ = hashlib.sha256(headers[b"x-github-delivery"]).hexdigest()[:32]
            new = database.execute("INSERT OR IGNORE INTO deliveries VALUES (?, ?)", (id_, body)).rowcount
            status, said = 202 if new else 200, f'{{"execution_id":"{id_}"}}'.encode()
        length = [(b"content-length", str(len(said)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": length})
        await send({"type": "http.response.body", "body": said})

    return answer


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    port = free_port()
    code = (
        "import uvicorn; from tests.bench.measures.webhooks_peer import application; "
        f"uvicorn.run(application({str(folder / 'peer.db')!r}), port={port}, log_level='warning', lifespan='off')"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def measure(sizes: Sizes, folder: Path, url: str | None) -> dict[str, float]:
    """The bare application."""
    with _served(folder) as address:
        hook = Address("/", WEBHOOK, SECRET)
        tell(address, messages([hook], 1), connections=1)  # once it answers
        began = time.monotonic()
        tell(address, messages([hook], sizes.deliveries), connections=CONNECTIONS)
        return {"acknowledged/s": sizes.deliveries / (time.monotonic() - began)}
