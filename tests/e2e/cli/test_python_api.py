"""A single script that declares its agents, registers them and starts the engine: the first thing a user writes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

PATIENCE_SECONDS = 60.0

SCRIPT = """
import json, os, sys
from datetime import timedelta
from overnight import Agent, Overnight

def greet(context):
    return f"Hello {context.input_value} from {__name__}"

overnight = Overnight("data", workers=2)
overnight.register(Agent(name="greeter", flow=greet, schedule=timedelta(days=1), input="nobody"))
overnight.start()
"""

ONCE = """
    execution = overnight.wait(overnight.trigger("greeter", "you", payload={"n": 1}).id)
    print(json.dumps([execution.status, overnight.output(execution)["text"], overnight.execution(execution.id).tries]))
    overnight.register(Agent(name="greeter", flow=greet, schedule=timedelta(days=2)))
    print(json.dumps(overnight.output(overnight.wait(overnight.trigger("greeter").id))["text"]))
    overnight.stop()
"""


def run(folder: Path) -> list[object]:
    done = subprocess.run(
        [sys.executable, "my_agents.py"], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_script_runs_what_it_declares(tmp_path: Path) -> None:
    (tmp_path / "my_agents.py").write_text(SCRIPT + 'if __name__ == "__main__":' + ONCE)
    said = [["succeeded", "Hello you from my_agents", 1], "Hello None from my_agents"]

    assert run(tmp_path) == said
    assert run(tmp_path) == said, "a second start finds its agents there, and registers them again"


def test_a_script_serves_until_it_is_told_to_end(tmp_path: Path) -> None:
    serve = "\novernight.stop()\novernight.serve(port=int(sys.argv[1]))\n"
    (tmp_path / "my_agents.py").write_text(SCRIPT + serve)
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api/v1/background_agents/greeter"
    environment = {name: value for name, value in os.environ.items() if name != "OVERNIGHT_API_TOKEN"}
    process = subprocess.Popen([sys.executable, "my_agents.py", str(port)], cwd=tmp_path, env=environment)
    try:
        transport = httpx.HTTPTransport(retries=0)
        with httpx.Client(transport=transport) as client:
            _until_answered(client, url)
            started = client.post(f"{url}/trigger", json={"input_value": "you"}).json()
            execution = _until_ended(client, f"http://127.0.0.1:{port}/api/v1/executions/{started['id']}")
        assert execution["output"]["text"] == "Hello you from my_agents", execution
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until_answered(client: httpx.Client, url: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            client.get(url)
        except httpx.ConnectError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def _until_ended(client: httpx.Client, url: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (execution := client.get(url).json())["status"] in {"pending", "running", "retrying"}:
        assert time.monotonic() < deadline, execution
        time.sleep(0.05)
    return execution
