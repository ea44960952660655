"""The stack, synthesised once for all tests that read it, without bundles; and in which settings."""

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import infra  # noqa: F401 - says in which Node CDK runs, before CDK is imported

import aws_cdk as cdk  # isort: skip
from cdk_nag import AwsSolutionsChecks
from infra.settings import Settings
from infra.stack import OvernightStack

ROOT = Path(__file__).parents[2]
AGENTS = Path(__file__).with_name("agents.yaml")
FLAGS = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]
UNBUNDLED = {"aws:cdk:bundling-stacks": []}

Resource = dict[str, Any]


@dataclass(frozen=True)
class Synthesised:
    """A template, with what cdk-nag found in it."""

    template: dict[str, Any]
    path: Path
    found: list[str]

    def resources(self, kind: str) -> dict[str, Resource]:
        """All resources of a type, by logical id."""
        return {id_: each for id_, each in self.template["Resources"].items() if each["Type"] == kind}

    def properties(self, kind: str) -> list[dict[str, Any]]:
        """What all resources of a type say."""
        return [each["Properties"] for each in self.resources(kind).values()]

    def one(self, kind: str, part: str = "") -> dict[str, Any]:
        """What the only resource of a type says whose logical id has that part."""
        (found,) = (each["Properties"] for id_, each in self.resources(kind).items() if part in id_)
        return found

    def policy(self, function: str) -> list[dict[str, Any]]:
        """The statements of a function's role."""
        policy = self.one("AWS::IAM::Policy", f"Functions{function.title()}Role")
        return policy["PolicyDocument"]["Statement"]


def synthesise(folder: Path, context: Mapping[str, Any]) -> Synthesised:
    """The stack as `cdk synth` makes it, but for the bundles."""
    settings = Settings.read(context)
    app = cdk.App(context=UNBUNDLED | FLAGS, outdir=str(folder))
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    OvernightStack(app, settings, env=cdk.Environment(region=settings.home))
    with contextlib.suppress(RuntimeError):  # what is found is in the report
        app.synth()
    report = json.loads((folder / "validation-report.json").read_text(encoding="utf-8"))
    found = [_told(each) for plugin in report["pluginReports"] for each in plugin["violations"]]
    path = folder / f"{settings.name}.template.json"
    return Synthesised(json.loads(path.read_text(encoding="utf-8")), path, found)


def _told(violation: dict[str, Any]) -> str:
    where = ", ".join(each["constructPath"] for each in violation["violatingConstructs"])
    return f"{violation['ruleName']}: {where}"


@pytest.fixture(scope="session")
def synthesised(tmp_path_factory) -> Callable[..., Synthesised]:
    """Synthesises with a context; the same context once only."""

    @cache
    def once(context: str) -> Synthesised:
        return synthesise(tmp_path_factory.mktemp("synth"), json.loads(context))

    return lambda **context: once(json.dumps(context, sort_keys=True))


@pytest.fixture(scope="session")
def stack(synthesised) -> Synthesised:
    """With the defaults, and agents of its own."""
    return synthesised(agents=str(AGENTS))


@pytest.fixture(scope="session")
def switched(synthesised) -> Synthesised:
    """With every switch moved that does not exclude another."""
    key = "arn:aws:kms:eu-west-1:123456789012:key/12345678-1234-1234-1234-123456789012"
    return synthesised(
        name="night-shift",
        tags={"team": "data"},
        permissions_boundary="bounds",
        kms_key_arn=key,
        vpc={
            "vpc_id": "vpc-12345678",
            "availability_zones": ["eu-west-1a", "eu-west-1b"],
            "subnet_ids": ["subnet-12345678", "subnet-87654321"],
            "security_group_ids": ["sg-12345678"],
        },
        retain_data=False,
        log_retention_days=7,
        alarm_email="ops@example.com",
        notify_email="dev@example.com",
        api_logs=False,
        webhook_rate=5,
        webhook_burst=6,
        architecture="x86_64",
        langflow=False,
        runner_memory_mb=1_024,
        runner_timeout_seconds=120,
        runner_concurrency=3,
        runner_snapstart=True,
        event_senders="arn:aws:s3:::uploads, arn:aws:sns:eu-west-1:123456789012:news",
        readable_secrets="arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/*",
        runner_policies="arn:aws:iam::123456789012:policy/bedrock",
    )
