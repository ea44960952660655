"""What a function's environment says, checked as a whole at cold start.

Every function of the stack gets the same variables. Only who arms schedules needs the last two of scheduling (`api`,
`watchdog`, `declare`), and the function behind OVERNIGHT_TICK_ARN can't be given its own ARN.
"""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from overnight.errors import Invalid, Problem

__all__ = ["Environment"]

_Set = Annotated[str, StringConstraints(min_length=1)]


def _list(value: object) -> object:
    """Comma-separated."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


_List = Annotated[tuple[str, ...], BeforeValidator(_list)]


class Environment(BaseModel):
    """The stack's resources, by the variables that name them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    stack: Annotated[_Set, Field(alias="OVERNIGHT_STACK")]
    """The stack's name."""

    # Storage
    table: Annotated[_Set, Field(alias="OVERNIGHT_TABLE")]
    """The DynamoDB table's name."""
    bucket: Annotated[_Set, Field(alias="OVERNIGHT_BUCKET")]
    """The S3 bucket of blobs."""

    # Messaging
    run_queue: Annotated[_Set, Field(alias="OVERNIGHT_RUN_QUEUE")]
    """The run queue's URL."""
    retry_queue: Annotated[_Set, Field(alias="OVERNIGHT_RETRY_QUEUE")]
    """The retry queue's URL."""
    fire_queue: Annotated[_Set, Field(alias="OVERNIGHT_FIRE_QUEUE")]
    """The fire queue's URL."""
    bus: Annotated[_Set, Field(alias="OVERNIGHT_BUS")]
    """The event bus's name."""
    dead_letters: Annotated[str | None, Field(alias="OVERNIGHT_DEAD_LETTERS")] = None
    """The dead-letter queue's URL, for the function that takes what others send."""

    topic: Annotated[str | None, Field(alias="OVERNIGHT_TOPIC")] = None
    """The ARN of the topic that notifications to `sns` go to."""

    # Scheduling
    schedule_group: Annotated[_Set, Field(alias="OVERNIGHT_SCHEDULE_GROUP")]
    """The schedule group of runtime agents."""
    tick_arn: Annotated[str | None, Field(alias="OVERNIGHT_TICK_ARN")] = None
    """The ARN of the function (or its alias) that schedules call."""
    scheduler_role_arn: Annotated[str | None, Field(alias="OVERNIGHT_SCHEDULER_ROLE_ARN")] = None
    """The role in which Scheduler calls it."""

    # Secrets
    secrets_prefix: Annotated[str | None, Field(alias="OVERNIGHT_SECRETS_PREFIX", pattern=r"^(/[A-Za-z0-9_.-]+)+$")] = (
        None
    )
    """Under which SSM keeps the stack's parameters; see `parameters`."""
    secrets_key: Annotated[str | None, Field(alias="OVERNIGHT_SECRETS_KEY")] = None
    """The KMS key (id or ARN) of its SecureStrings; without it, `alias/aws/ssm`."""

    # Flows
    folders: Annotated[_List, Field(alias="OVERNIGHT_FOLDERS")] = ()
    """Folders whose Python agents may be run, by commas."""
    packages: Annotated[_List, Field(alias="OVERNIGHT_PACKAGES")] = ()
    """Installed top-level packages that may be run too, by commas."""
    allow_private: Annotated[bool, Field(alias="OVERNIGHT_ALLOW_PRIVATE")] = False
    """Whether Langflow servers and receivers of notifications may have private addresses."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """What these variables say; an empty one counts as not set. Raises Invalid, which names each that is wrong."""
        try:
            return cls.model_validate({name: value for name, value in environ.items() if value})
        except ValidationError as error:
            problems = [Problem(str(found["loc"][0]), found["msg"]) for found in error.errors()]
            raise Invalid(problems) from None

    @property
    def parameters(self) -> str:
        """The path of the stack's parameters: `<path>/master-key`, and `<path>/secrets/<name>`."""
        return self.secrets_prefix or f"/overnight/{self.stack}"
