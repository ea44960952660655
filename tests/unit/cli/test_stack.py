"""`overnight --stack NAME …`: the API of a deployed stack is found by its outputs, and called with signed requests."""

import json
import re
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto import mock_aws

from overnight.core.webhooks.schemes import Delivery, verify
from overnight.webhooks import Webhook

REGION = "eu-west-1"
KEYS = Credentials("AKIDNIGHT", "a secret of the profile's")
SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(\w+)/(\d{8})/([\w-]+)/execute-api/aws4_request, "
    r"SignedHeaders=([\w;-]+), Signature=([0-9a-f]{64})"
)


class Gateway:
    """API Gateway, as far as it checks signatures and hands requests on; at the stage /prod."""

    def __init__(self) -> None:
        self.answers: dict[str, object] = {}
        self.requests: list[SimpleNamespace] = []
        gateway = self

        class Requests(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                split = urlsplit(self.path)
                request = SimpleNamespace(
                    method=self.command, raw=split.path, query=split.query, headers=self.headers, body=body
                )
                gateway.requests.append(request)
                public = self.command == "POST" and re.fullmatch(r"/prod/api/v1/webhooks/\w+", split.path)
                allowed = public or is_signed(request)
                found = gateway.answers.get(f"{self.command} {split.path.removeprefix('/prod')}", {"items": []})
                status, answer = (200, found) if allowed else (403, {"Message": "no such signature"})
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - the library's names

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/prod/"

    @property
    def last(self) -> SimpleNamespace:
        return self.requests[-1]


def is_signed(request: SimpleNamespace) -> bool:
    """Whether botocore, told what arrived, comes to the same signature."""
    found = SIGNED.fullmatch(request.headers.get("Authorization", ""))
    if found is None:
        return False
    key, _, region, names, signature = found.groups()
    again = AWSRequest(
        method=request.method,
        url=f"http://{request.headers['Host']}{request.raw}",
        params=parse_qsl(request.query, keep_blank_values=True),
        data=request.body,
        headers={name: request.headers[name] for name in names.split(";")},
    )
    again.context["timestamp"] = request.headers["X-Amz-Date"]
    signer = SigV4Auth(KEYS, "execute-api", REGION)
    expected = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    return (key, region, signature) == (KEYS.access_key, REGION, expected)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    threading.Thread(target=gateway.server.serve_forever, daemon=True).start()
    yield gateway
    gateway.server.shutdown()
    gateway.server.server_close()


@pytest.fixture(autouse=True)
def profile(monkeypatch, tmp_path) -> None:
    """A profile of AWS's own configuration, and nothing of whoever runs the tests."""
    (tmp_path / "credentials").write_text(
        f"[night]\naws_access_key_id = {KEYS.access_key}\naws_secret_access_key = {KEYS.secret_key}\n"
    )
    (tmp_path / "config").write_text(f"[profile night]\nregion = {REGION}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_PROFILE", "night")


@pytest.fixture
def account() -> Iterator[None]:
    with warnings.catch_warnings(action="ignore"), mock_aws(config={"core": {"mock_credentials": False}}):
        yield
        cloudformation = boto3.Session(profile_name="night").client("cloudformation")
        for name in ("night-shift", "other"):  # moto's account may be another test's, too
            cloudformation.delete_stack(StackName=name)


@pytest.fixture
def stack(account, gateway) -> Gateway:
    """A stack called `night-shift`, whose APIs are the gateway."""
    create("night-shift", ApiUrl=gateway.url, WebhooksUrl=f"{gateway.url}api/v1/webhooks/")
    return gateway


def create(name: str, **outputs: str) -> None:
    template = {
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {key: {"Value": value} for key, value in outputs.items()},
    }
    boto3.Session().client("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(template))


@pytest.mark.parametrize(
    "command",
    [
        ["agents", "list", "--status", "paused"],
        ["agents", "pause", "weekly report, für alle", "--note", "until Märchen"],
        ["executions", "list", "--since", "2026-11-01T00:00:00+01:00", "--cursor", "a+b/c=*'~"],
        ["events", "send", "dataset.new", "--data", '{"rows": 7}', "--json"],
        ["secrets", "list"],
    ],
    ids=" ".join,
)
def test_every_request_carries_a_signature_that_aws_would_come_to(stack, overnight, command):
    said = {"name": "x", "status": "PAUSED", "items": [], "id": "1", "execution_ids": []}
    stack.answers = dict.fromkeys(
        [
            "GET /api/v1/background_agents",
            "POST /api/v1/background_agents/weekly%20report%2C%20f%C3%BCr%20alle/pause",
            "GET /api/v1/executions",
            "POST /api/v1/events",
            "GET /api/v1/secrets",
        ],
        said | {"names": []},
    )
    ran = overnight("--stack", "night-shift", *command)
    assert (ran.code, ran.err) == (0, "")
    assert SIGNED.match(stack.last.headers["Authorization"])


def test_a_body_that_is_changed_on_its_way_is_not_what_was_signed(stack, overnight):
    overnight("--stack", "night-shift", "events", "send", "a", "--json")
    assert is_signed(stack.last)
    stack.last.body += b" "
    assert not is_signed(stack.last)


def test_a_session_s_token_goes_along_and_is_signed(stack, overnight, monkeypatch):
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS.secret_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "for an hour")
    monkeypatch.setenv("AWS_REGION", REGION)
    assert overnight("--stack", "night-shift", "agents", "list").code == 0
    assert stack.last.headers["X-Amz-Security-Token"] == "for an hour"
    assert "x-amz-security-token" in SIGNED.fullmatch(stack.last.headers["Authorization"])[4]


def test_who_may_not_call_is_told_what_aws_says(stack, overnight, tmp_path):
    (tmp_path / "credentials").write_text("[night]\naws_access_key_id = OTHER\naws_secret_access_key = other\n")
    ran = overnight("--stack", "night-shift", "agents", "list")
    assert (ran.code, ran.error) == (1, "no such signature")


def test_deliveries_go_to_the_public_door_signed_as_their_sender_does(stack, overnight):
    hook, key = "0f" * 16, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    definition = {"signature": "standard-webhooks"}
    view = {
        "hook_id": hook, "agent": "shop", "agent_id": "a1", "trigger": "orders", "status": "ACTIVE", **definition,
        "path": f"/api/v1/webhooks/{hook}", "secret_source": "made", "secret_version": 1, "rate_limit_per_minute": None,
        "previous_secret_until": None,
    }  # fmt: skip
    stack.answers = {
        "GET /api/v1/webhooks": {"items": [view]},
        f"GET /api/v1/webhooks/{hook}": view,
        f"GET /api/v1/webhooks/{hook}/secret": {"secret": key},
        "GET /api/v1/background_agents/a1": {"triggers": [{"name": "orders", "webhook": definition}]},
        f"POST /api/v1/webhooks/{hook}": {"execution_id": "e1"},
    }
    shown = overnight("--stack", "night-shift", "webhooks", "show", "shop", "--json")
    assert shown.json["path"].endswith(hook)
    listed = overnight("--stack", "night-shift", "webhooks", "list")
    assert f"{stack.url}api/v1/webhooks/{hook}" in listed.out
    assert overnight("--stack", "night-shift", "webhooks", "send", "shop").code == 0
    assert "Authorization" not in stack.last.headers
    sent = Delivery({name.lower(): value for name, value in stack.last.headers.items()}, stack.last.body, {})
    assert verify(Webhook.model_validate(definition), sent, [key], datetime.now(UTC)) == sent.headers["webhook-id"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("elsewhere", "stack elsewhere: there is none of that name in eu-west-1"),
        ("other", "stack other: it has no output 'ApiUrl': it is none of Overnight's, or not deployed yet"),
    ],
)
def test_a_stack_that_is_not_there_is_said_to_be_missing(account, overnight, name, says):
    create("other", Website="https://example.com/")
    ran = overnight("--stack", name, "agents", "list")
    assert (ran.code, ran.error) == (1, says)


def test_without_credentials_it_says_whose_are_missing(account, overnight, monkeypatch):
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_REGION", REGION)
    ran = overnight("--stack", "night-shift", "agents", "list")
    assert (ran.code, ran.error.split(";")[0]) == (1, "stack night-shift: there are no AWS credentials")


def test_without_a_region_or_a_profile_it_says_so(account, overnight, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "day")
    assert "(day) could not be found" in overnight("--stack", "night-shift", "agents", "list").error
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS.secret_key)
    assert "must specify a region" in overnight("--stack", "night-shift", "agents", "list").error


def test_a_stack_and_a_url_are_two_places(overnight):
    ran = overnight("--stack", "night-shift", "agents", "list", "--url", "http://127.0.0.1:1")
    assert (ran.code, ran.error) == (2, "--stack and --url say two places; give one of them")


def test_what_works_on_this_machine_has_no_use_for_a_stack(overnight):
    ran = overnight("--stack", "night-shift", "serve")
    assert (ran.code, ran.error) == (2, "serve works on this machine, and has no use for --stack")


def test_the_next_command_goes_to_the_url_again(stack, engine, overnight):
    engine.on("GET /api/v1/secrets", {"items": [], "names": []})
    overnight("--stack", "night-shift", "secrets", "list")
    assert overnight("secrets", "list", "--json").code == 0
    assert len(engine.requests) == 1
