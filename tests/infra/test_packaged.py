"""The bundles as they are deployed (but for x86_64), each function under Lambda's own runtime client on Python 3.13.

AWS is moto, behind a port: what one function leaves there, the next one finds.
"""

import base64
import json
import os
import platform
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from infra.bundling import LIMIT_BYTES, PYTHON, interpreter, layer, runner
from infra.settings import Settings
from moto.server import ThreadedMotoServer

from overnight.aws.dynamodb import schema

from .runtime import Packaged

RUNS = sys.platform == "linux" and platform.machine() == "x86_64" and interpreter() is not None
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not RUNS and not os.environ.get("CI"),
        reason=f"the bundles are for Lambda: they run on Linux, x86_64, with a Python {PYTHON}, which is not here",
    ),
]


def test_here_is_what_the_bundles_run_on():
    """In CI it has to be."""
    assert RUNS, f"no Python {PYTHON} on the path, nor of pyenv; or this is no Linux on x86_64"


ROOT = Path(__file__).parents[2]
LIGHT = ("api", "webhook", "tick", "events", "watchdog", "declare")
PULSE = """
from overnight import Context


def beat(context: Context) -> str:
    print("beating")
    return f"heard {context.input_value}"
"""


@pytest.fixture(scope="module")
def user(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("agents")
    (folder / "pulse.py").write_text(PULSE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=[True, False], ids=["langflow", "small"])
def settings(request, user) -> Settings:
    return Settings(architecture="x86_64", langflow=request.param, folders=(user,))


@pytest.fixture(scope="module")
def aws() -> Iterator[dict[str, str]]:
    """An account on moto: what a function's environment says of it."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    with warnings.catch_warnings(action="ignore"):
        server.start()
    host, port = server.get_host_and_port()
    access = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }
    yield access
    server.stop()


class Account:
    """The stack's resources, as far as they are not functions."""

    def __init__(self, access: dict[str, str], name: str) -> None:
        self._access = access
        self.name = name
        attributes = sorted({schema.PK, schema.SK, *(key for index in schema.INDEXES for key in (index.pk, index.sk))})
        self.client("dynamodb").create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in attributes],
            KeySchema=_keys(schema.PK, schema.SK),
            GlobalSecondaryIndexes=[
                {
                    "IndexName": each.name,
                    "KeySchema": _keys(each.pk, each.sk),
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
                for each in schema.INDEXES
            ],
        )
        self.client("s3").create_bucket(
            Bucket=name, CreateBucketConfiguration={"LocationConstraint": access["AWS_REGION"]}
        )
        self.client("events").create_event_bus(Name=name)
        self.client("scheduler").create_schedule_group(Name=name)
        self.queues = {
            kind: self.client("sqs").create_queue(QueueName=f"{name}-{kind}")["QueueUrl"]
            for kind in ("run", "retry", "fire", "dead")
        }
        self.topic = self.client("sns").create_topic(Name=name)["TopicArn"]

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self._access["AWS_ENDPOINT_URL"],
            region_name=self._access["AWS_REGION"],
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    @property
    def environment(self) -> dict[str, str]:
        """What a function is told."""
        return self._access | {
            "OVERNIGHT_STACK": self.name,
            "OVERNIGHT_TABLE": self.name,
            "OVERNIGHT_BUCKET": self.name,
            **{f"OVERNIGHT_{kind.upper()}_QUEUE": self.queues[kind] for kind in ("run", "retry", "fire")},
            "OVERNIGHT_DEAD_LETTERS": self.queues["dead"],
            "OVERNIGHT_TOPIC": self.topic,
            "OVERNIGHT_BUS": self.name,
            "OVERNIGHT_SCHEDULE_GROUP": self.name,
            "OVERNIGHT_TICK_ARN": "arn:aws:lambda:eu-central-1:123456789012:function:tick",
            "OVERNIGHT_SCHEDULER_ROLE_ARN": "arn:aws:iam::123456789012:role/scheduler",
        }

    def message(self, kind: str) -> dict[str, Any]:
        """The next message of a queue, as its mapping hands it over."""
        sqs = self.client("sqs")
        (message,) = sqs.receive_message(QueueUrl=self.queues[kind], WaitTimeSeconds=5)["Messages"]
        sqs.delete_message(QueueUrl=self.queues[kind], ReceiptHandle=message["ReceiptHandle"])
        return records(message["Body"], message["MessageId"])


def _keys(pk: str, sk: str) -> list[dict[str, str]]:
    return [{"AttributeName": pk, "KeyType": "HASH"}, {"AttributeName": sk, "KeyType": "RANGE"}]


def records(body: str, message_id: str = "a-message") -> dict[str, Any]:
    """A batch of one message."""
    return {
        "Records": [
            {
                "messageId": message_id,
                "receiptHandle": "handle",
                "body": body,
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:queue",
                "awsRegion": "eu-central-1",
            }
        ]
    }


def asked(method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """A request as API Gateway hands it over."""
    headers = {"content-type": "application/json"} | (headers or {})
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"proxy": path[1:]},
        "requestContext": {"requestId": "a-request", "path": f"/prod{path}", "stage": "prod", "httpMethod": method},
        "body": base64.b64encode(json.dumps(body).encode()).decode() if body is not None else None,
        "isBase64Encoded": body is not None,
    }


class CloudFormation:
    """Takes the answers of custom resources."""

    def __init__(self) -> None:
        told = self.told = []

        class Answers(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Answers)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def request(self, kind: str, type_: str, **properties: str) -> dict[str, Any]:
        return {
            "RequestType": kind,
            "ResourceType": type_,
            "ResponseURL": f"http://127.0.0.1:{self._server.server_address[1]}/answer?signed=yes",
            "StackId": "arn:aws:cloudformation:eu-central-1:123456789012:stack/overnight/1",
            "RequestId": "1",
            "LogicalResourceId": "It",
            "ServiceToken": "arn:aws:lambda:eu-central-1:123456789012:function:declare",
            "ResourceProperties": {"ServiceToken": "…", **properties},
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def cloudformation() -> Iterator[CloudFormation]:
    server = CloudFormation()
    yield server
    server.close()


def start(name: str, settings: Settings, account: Account) -> Packaged:
    environment = account.environment
    if name == "runner":
        task = runner(settings).made()
        return Packaged(
            name, task=task, layer=None, environment=environment | {"OVERNIGHT_FOLDERS": str(task / "agents")}
        )
    return Packaged(name, task=ROOT / "functions" / name, layer=layer(settings).made(), environment=environment)


DOCUMENT = {
    "name": "pulse",
    "enabled": True,
    "flow": {"python": "pulse:beat"},
    "input": {"input_value": "it"},
    "triggers": [
        {"name": "hourly", "interval": {"hours": 1}},
        {"name": "told", "event": {"name": "dataset.*"}},
        {"name": "pages", "event": {"name": "page.*", "batch": {"size": 2, "window_seconds": 900}}},
        {"name": "hook", "webhook": {"signature": "token", "schema": {"type": "object", "required": ["order"]}}},
    ],
    "concurrency": {"max_parallel": None},
}
NONE_FAILED = {"batchItemFailures": []}


@pytest.fixture
def declared(settings, aws, cloudformation, request) -> Account:
    """An account in which a deployment has declared an agent."""
    if not settings.langflow:
        pytest.skip("the light functions are the same")
    account = Account(aws, re.sub("[^a-z]+", "-", request.node.originalname)[:50].strip("-"))
    with start("declare", settings, account) as declare:
        declare.invoke(cloudformation.request("Create", "Custom::OvernightDeployment"))
        properties = {"AgentId": "a" * 32, "Document": json.dumps(DOCUMENT)}
        declare.invoke(cloudformation.request("Create", "Custom::OvernightAgent", **properties))
    assert [told["Status"] for told in cloudformation.told] == ["SUCCESS", "SUCCESS"], cloudformation.told
    assert cloudformation.told[1]["PhysicalResourceId"] == "a" * 32
    assert cloudformation.told[1]["Data"]["hourly.0"].startswith("cron(")
    return account


def test_api_and_runner_run_an_agent(settings, declared):
    with start("api", settings, declared) as api, start("runner", settings, declared) as run:
        health = api.invoke(asked("GET", "/health"))
        assert (health["statusCode"], json.loads(health["body"])["status"]) == (200, "ok")
        (agent,) = json.loads(api.invoke(asked("GET", "/api/v1/background_agents"))["body"])["items"]
        assert (agent["name"], agent["declared"], agent["status"]) == ("pulse", True, "ACTIVE")
        triggered = api.invoke(asked("POST", "/api/v1/background_agents/pulse/trigger", {"input_value": "you"}))
        assert triggered["statusCode"] == 202
        assert run.invoke(declared.message("run")) == NONE_FAILED
        assert "beating" in run.log
        execution = json.loads(triggered["body"])["id"]
        shown = json.loads(api.invoke(asked("GET", f"/api/v1/executions/{execution}"))["body"])
    assert (shown["status"], shown["output"]["text"]) == ("succeeded", "heard you"), shown


def test_webhook_takes_what_is_signed_and_fits(settings, declared):
    with start("api", settings, declared) as api:
        (hook,) = json.loads(api.invoke(asked("GET", "/api/v1/webhooks"))["body"])["items"]
        token = json.loads(api.invoke(asked("GET", f"{hook['path']}/secret"))["body"])["secret"]
    with start("webhook", settings, declared) as webhook:
        known = {"authorization": f"Bearer {token}"}
        accepted = webhook.invoke(asked("POST", hook["path"], {"order": 42}, known))
        assert accepted["statusCode"] == 202, accepted
        assert webhook.invoke(asked("POST", hook["path"], {"ordre": 42}, known))["statusCode"] == 422
        refused = [webhook.invoke(asked("POST", path, {"order": 42})) for path in (hook["path"], hook["path"][:-1])]
        assert {answer["statusCode"] for answer in refused} == {401}
        assert webhook.invoke(asked("GET", "/api/v1/background_agents"))["statusCode"] == 404
    message = json.loads(declared.message("run")["Records"][0]["body"])
    assert message["execution_id"] == json.loads(accepted["body"])["execution_id"]


def test_events_and_tick_fire(settings, declared):
    with start("events", settings, declared) as events:
        assert (
            events.invoke(records(json.dumps({"name": "dataset.new", "id": "1", "data": {"rows": 7}}))) == NONE_FAILED
        )
        assert json.loads(declared.message("run")["Records"][0]["body"])["agent_id"] == "a" * 32
        pages = [{"name": "page.changed", "id": name} for name in "ab"]
        assert events.invoke(records(json.dumps(pages))) == NONE_FAILED
        assert events.invoke(records("no JSON")) == NONE_FAILED
    assert declared.message("dead")["Records"][0]["body"] == "no JSON"
    with start("tick", settings, declared) as tick:
        assert tick.invoke(declared.message("fire")) == NONE_FAILED
        assert declared.message("run")["Records"], "the batch is closed"
        alarm = {"agent_id": "a" * 32, "trigger": "hourly", "scheduled": "2026-11-20T08:00:00Z"}
        assert tick.invoke(alarm) is None
        fire = {"agent_id": "a" * 32, "trigger": "hourly", "nominal": alarm["scheduled"], "due": alarm["scheduled"]}
        assert tick.invoke(records(json.dumps(fire))) == NONE_FAILED


def test_watchdog_makes_its_round(settings, declared):
    with start("watchdog", settings, declared) as watchdog:
        assert watchdog.invoke({}) is None


def test_a_langflow_flow_runs(settings, aws):
    if not settings.langflow:
        pytest.skip("the small runner has no lfx")
    account = Account(aws, "langflow")
    flow = json.loads((ROOT / "tests/infra/flow.json").read_text(encoding="utf-8"))
    with start("api", settings, account) as api, start("runner", settings, account) as run:
        document = {"name": "hello", "flow": {"langflow": flow}, "input": {"input_value": "Lambda"}}
        assert api.invoke(asked("POST", "/api/v1/background_agents", document))["statusCode"] == 201
        triggered = api.invoke(asked("POST", "/api/v1/background_agents/hello/trigger"))
        execution = json.loads(triggered["body"])["id"]
        assert run.invoke(account.message("run")) == {"batchItemFailures": []}
        shown = json.loads(api.invoke(asked("GET", f"/api/v1/executions/{execution}"))["body"])
    assert shown["status"] == "succeeded", json.dumps(shown, indent=1)
    assert "Lambda" in shown["output"]["text"]


def test_a_runner_without_lfx_says_so(settings, aws):
    if settings.langflow:
        pytest.skip("this runner has lfx")
    account = Account(aws, "small")
    flow = json.loads((ROOT / "tests/infra/flow.json").read_text(encoding="utf-8"))
    with start("api", settings, account) as api, start("runner", settings, account) as run:
        api.invoke(asked("POST", "/api/v1/background_agents", {"name": "hello", "flow": {"langflow": flow}}))
        triggered = api.invoke(asked("POST", "/api/v1/background_agents/hello/trigger"))
        execution = json.loads(triggered["body"])["id"]
        run.invoke(account.message("run"))
        shown = json.loads(api.invoke(asked("GET", f"/api/v1/executions/{execution}"))["body"])
    assert shown["status"] == "failed"
    assert "lfx" in shown["failure"]["message"]


@pytest.mark.parametrize("make", [layer, runner])
def test_no_distribution_comes_from_two_places(settings, make):
    bundle = make(settings).made()
    names = [path.name.rsplit("-", 1)[0].lower() for path in bundle.rglob("*.dist-info")]
    assert len(names) == len(set(names))
    assert sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file()) < LIMIT_BYTES
    assert not list(bundle.rglob("awslambdaric*"))
