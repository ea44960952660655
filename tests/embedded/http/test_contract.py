"""schemathesis, on our own OpenAPI document: no 5xx, and no status, header or body that is not documented."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.embedded.http.engine import Engine

from overnight.embedded.http import HttpServer

TOKEN = "correct-horse-battery-staple"
AUTHORIZATION = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def url(engine: Engine) -> Iterator[str]:
    """A server that asks for a token, with agents that its examples name, and a worker for what is triggered."""
    server = HttpServer(engine.ports, port=0, token=TOKEN)
    server.start()
    document = {"name": "daily-report", "flow": {"python": "a:b"}, "enabled": True, "schedule": {"cron": "0 8 * * *"}}
    httpx.post(f"{server.url}/api/v1/background_agents", json=document, headers=AUTHORIZATION).raise_for_status()
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.05):
            engine.work()

    worker = threading.Thread(target=work)
    worker.start()
    yield server.url
    ended.set()
    worker.join()
    server.stop(2)


def _run(url: str, folder: Path, *options: str) -> None:
    # A cursor, a time range or two triggers of one name may be as the schema says, and still be refused.
    command = ["run", f"{url}/openapi.json", "--exclude-checks=positive_data_acceptance", "--no-color"]
    header = ["--header", f"Authorization: {AUTHORIZATION['Authorization']}"]
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", *command, *header, *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_api_is_as_its_document_says(url: str, tmp_path: Path) -> None:
    _run(url, tmp_path, "--phases=examples,fuzzing", "--max-examples=4", "--seed=1")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_api_is_as_its_document_says_in_depth(url: str, tmp_path: Path) -> None:
    seed = os.environ.get("OVERNIGHT_SEED", "2")
    _run(url, tmp_path, "--max-examples=30", "--continue-on-failure", f"--seed={seed}")
