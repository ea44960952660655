"""The switches of a deployment: CDK context, checked as a whole before anything is synthesised.

    make deploy ARGS='-c name=night-shift -c alarm_email=ops@example.com -c langflow=false'

or, to keep them, as keys of `context` in cdk.json. docs/deploy.md explains each; the descriptions here are its source.
"""

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

__all__ = ["InvalidContext", "Network", "Settings", "table"]

OURS = re.compile(r"[a-z][a-z_]*")
"""How our keys look; CDK's own begin with `@aws-cdk/` or `aws:`, or say what was looked up, with `:` and `=`."""


class InvalidContext(Exception):
    """The context says something that the stack does not know, or can't be."""


def _json(value: object) -> object:
    """What came by `-c key=…` is text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"must be JSON: {error}") from error


LOG_RETENTION_DAYS = (
    1,
    3,
    5,
    7,
    14,
    30,
    60,
    90,
    120,
    150,
    180,
    365,
    400,
    545,
    731,
    1096,
    1827,
    2192,
    2557,
    2922,
    3288,
    3653,
)
"""What CloudWatch Logs takes."""


def _log_retention(days: int) -> int:
    if days not in LOG_RETENTION_DAYS:
        raise ValueError(f"CloudWatch Logs keeps logs for one of {', '.join(map(str, LOG_RETENTION_DAYS))} days")
    return days


def _parts(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _arn(service: str) -> StringConstraints:
    return StringConstraints(pattern=rf"^arn:aws[a-z-]*:{service}:\S+$")


class Network(BaseModel):
    """Where the functions run, if not in Lambda's own network. Nothing is looked up, so the subnets are named."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vpc_id: Annotated[str, StringConstraints(pattern=r"^vpc-[0-9a-f]{8,17}$")]
    availability_zones: Annotated[tuple[str, ...], Field(min_length=1)]
    subnet_ids: Annotated[tuple[Annotated[str, StringConstraints(pattern=r"^subnet-[0-9a-f]{8,17}$")], ...], Field()]
    security_group_ids: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^sg-[0-9a-f]{8,17}$")], ...], Field(min_length=1)
    ]

    @model_validator(mode="after")
    def _one_zone_each(self) -> Self:
        if len(self.availability_zones) != len(self.subnet_ids):
            raise ValueError("name the availability zone of each subnet, in the same order")
        return self


class Settings(BaseModel):
    """A deployment's switches, each with its default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # The stack

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,31}$")] = Field(
        default="overnight",
        description="Of the stack; table, bucket, schedule groups and secrets are named after it.",
    )
    region: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")] | None = Field(
        default=None, description="Where it is deployed; else where the AWS profile says."
    )
    tags: Annotated[dict[str, str], BeforeValidator(_json)] = Field(
        default={}, description='Tags for every resource, as JSON: {"team": "data"}.'
    )
    permissions_boundary: str | None = Field(
        default=None, description="Name or ARN of the managed policy that bounds every role of the stack."
    )
    kms_key_arn: Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/\S+$")] | None = (
        Field(
            default=None, description="A key of your own for table, blobs, queues, bus and topic; else AWS's own keys."
        )
    )
    vpc: Annotated[Network, BeforeValidator(_json)] | None = Field(
        default=None,
        description="A VPC for the functions, as JSON: vpc_id, availability_zones, subnet_ids, security_group_ids.",
    )

    # What it keeps

    retain_data: bool = Field(default=True, description="Whether table and blobs outlive the stack.")
    deletion_protection: bool | None = Field(
        default=None, description="Whether the table refuses to be deleted; by default, where `retain_data` holds."
    )
    log_retention_days: Annotated[int, AfterValidator(_log_retention)] = Field(
        default=30, description="How long logs are kept."
    )

    # Who is told

    alarms: bool = Field(default=True, description="Whether there are CloudWatch alarms.")
    alarm_email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$")] | None = Field(
        default=None, description="Who gets the alarms; AWS asks that address to confirm."
    )
    notify_email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$")] | None = Field(
        default=None, description="Who gets the notifications of agents that name `sns`; to be confirmed likewise."
    )
    api_logs: bool = Field(
        default=True,
        description="Whether API Gateway writes access logs. That takes a role that is the whole account's; it stays.",
    )
    webhook_rate: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=50, description="How many webhooks a second are let in, all hooks together."
    )
    webhook_burst: Annotated[int, Field(ge=1, le=5_000)] = Field(
        default=100, description="How many may come at once on top of that."
    )

    event_senders: Annotated[tuple[Annotated[str, _arn("(s3|sns|events)")], ...], BeforeValidator(_parts)] = Field(
        default=(),
        description="ARNs, by commas, of buckets, topics and rules that may send to the events queue.",
    )

    # The runner

    architecture: Literal["arm64", "x86_64"] = Field(default="arm64", description="The functions' processors.")
    langflow: bool = Field(default=True, description="Whether the runner has lfx; without, its bundle is small.")
    runner_package: Literal["zip", "image"] = Field(
        default="zip", description="`image` builds a container image with Docker, for flows that need large packages."
    )
    runner_memory_mb: Annotated[int, Field(ge=256, le=10_240)] | None = Field(
        default=None, description="Memory, and with it CPU; by default 2048, or 512 without lfx."
    )
    runner_timeout_seconds: Annotated[int, Field(ge=30, le=900)] = Field(
        default=900, description="How long one attempt may take at most."
    )
    runner_concurrency: Annotated[int, Field(ge=2, le=1_000)] = Field(
        default=10, description="How many attempts each of run queue and retry queue may have running at once."
    )
    runner_snapstart: bool = Field(
        default=False, description="Whether the runner starts from a snapshot; its cache is billed, see docs/costs.md."
    )

    # The user's own

    readable_secrets: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:(ssm|secretsmanager):\S+$")], ...],
        BeforeValidator(_parts),
    ] = Field(
        default=(),
        description="ARNs, by commas, of what `ssm:` and `secretsmanager:` references may read; `*` at the end holds.",
    )
    runner_policies: Annotated[tuple[Annotated[str, _arn("iam")], ...], BeforeValidator(_parts)] = Field(
        default=(), description="ARNs, by commas, of managed policies that Python agents need."
    )

    agents: Path | None = Field(
        default=None,
        description="A YAML file of agents that belong to the stack; by default agents.yaml, if it is there.",
    )
    folders: Annotated[tuple[Path, ...], BeforeValidator(_parts)] = Field(
        default=(),
        description="Folders with the modules of Python agents, by commas; their content goes to the runner.",
    )
    requirements: Path | None = Field(
        default=None, description="A requirements file of packages that the flows need beside lfx."
    )

    @classmethod
    def read(cls, context: Mapping[str, Any]) -> Self:
        """What the context says. Raises InvalidContext with a line for each thing that is wrong."""
        ours = {key: value for key, value in context.items() if OURS.fullmatch(key)}
        try:
            return cls.model_validate(ours)
        except ValidationError as error:
            raise InvalidContext("\n".join(map(_line, error.errors()))) from None

    @property
    def home(self) -> str | None:
        """The region, as far as it is said; a key says it, too."""
        return self.region or (self.kms_key_arn.split(":")[3] if self.kms_key_arn else None)

    @property
    def memory_mb(self) -> int:
        """The runner's memory."""
        return self.runner_memory_mb or (2_048 if self.langflow else 512)

    @property
    def protects_table(self) -> bool:
        """Whether the table refuses to be deleted."""
        return self.retain_data if self.deletion_protection is None else self.deletion_protection

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.runner_snapstart and self.runner_package == "image":
            raise ValueError("runner_snapstart: Lambda takes snapshots of zip packages only, not of images")
        if self.deletion_protection and not self.retain_data:
            raise ValueError("deletion_protection: a table that is not retained must not be protected from deletion")
        if self.region and self.kms_key_arn and self.kms_key_arn.split(":")[3] != self.region:
            raise ValueError(f"kms_key_arn: the key must be in {self.region}, where the stack is deployed")
        for path in [self.requirements, self.agents]:
            if path is not None and not path.is_file():
                raise ValueError(f"{path}: there is no such file")
        for folder in self.folders:
            if not folder.is_dir():
                raise ValueError(f"{folder}: there is no such folder")
        return self


def table() -> str:
    """Every switch with its default, as a table in Markdown."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, (), {}) else f"`{json.dumps(field.default)}`".replace('"', "")
        rows.append(f"| `{name}` | {default} | {field.description} |")
    return "\n".join(["| switch | default | |", "|---|---|---|", *rows])


def _line(error: Any) -> str:
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, Settings.model_fields, 1)
        return f"context {key}: there is no such switch" + (f"; did you mean {near[0]}?" if near else "")
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"context {key}: {message}" if key else f"context {message}"
