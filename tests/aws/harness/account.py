"""An AWS account on moto, whose clocks are in the test's hands, and whose every call is known, allowed or refused.

moto goes by the machine's time and asks nobody's permission. Here SQS and S3 go by the account's clock; whoever
makes a call (a function in its role, or the test itself) is asked before, and told after.
"""

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Protocol

import boto3
import moto.s3.models
import moto.sqs.models
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.scheduler.models import Schedule, scheduler_backends
from moto.sqs.models import sqs_backends

__all__ = ["BEGIN", "REGION", "Account", "Caller", "Clock", "calling", "shared_client"]

REGION = "eu-central-1"
BEGIN = datetime(2026, 3, 2, 8, tzinfo=UTC)  # a Monday
MILLISECOND = timedelta(milliseconds=1)


class Clock:
    """Stands still until it is moved."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        """The time, UTC."""
        return self.at


class Caller(Protocol):
    """Whoever calls AWS."""

    account_id: str

    def before(self, service: str, operation: str, params: Mapping[str, Any]) -> None:
        """It is about to call; what this raises, the call raises."""

    def after(self, service: str, operation: str, params: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """The call has taken effect; what this raises, the call raises."""


_caller: ContextVar[Caller] = ContextVar("caller")


@contextmanager
def calling(caller: Caller) -> Iterator[None]:
    """Within this, in this thread, all calls are that caller's."""
    token = _caller.set(caller)
    try:
        yield
    finally:
        _caller.reset(token)


_alone = threading.RLock()
"""moto lets threads write between a condition and its write."""


@cache
def _session() -> boto3.Session:
    """One session for all accounts, as clients are slow to make; the caller says which account is called."""
    mock_aws().start(reset=False)
    session = boto3.Session(region_name=REGION, aws_access_key_id="testing", aws_secret_access_key="testing")
    events: Any = session.events

    def address(params: dict[str, Any], **_: Any) -> None:
        params["headers"]["x-moto-account-id"] = _caller.get().account_id

    events.register("before-call.*.*", address)
    return session


@cache
def shared_client(service: str) -> Any:
    """A client that calls as whoever is `calling`."""
    client: Any = _session().client(service)
    call = client._make_api_call

    def asked_and_told(operation: str, request: dict[str, Any]) -> Any:
        caller = _caller.get()
        caller.before(service, operation, request)
        try:
            with _alone:
                answer = call(operation, request)
        except ClientError as error:
            caller.after(service, operation, request, error.response)
            raise
        caller.after(service, operation, request, answer)
        return answer

    client._make_api_call = asked_and_told
    return client


class _As:
    """A client that always calls as the same caller."""

    def __init__(self, client: Any, caller: Caller) -> None:
        self._client = client
        self._caller = caller

    def __getattr__(self, operation: str) -> Any:
        call = getattr(self._client, operation)

        def as_caller(*args: Any, **kwargs: Any) -> Any:
            with calling(self._caller):
                return call(*args, **kwargs)

        return as_caller


class _Owner:
    """The account's owner: who deploys, and who looks at what is there. May do everything."""

    def __init__(self, account_id: str) -> None:
        self.account_id = account_id

    def before(self, service: str, operation: str, params: Mapping[str, Any]) -> None: ...

    def after(self, service: str, operation: str, params: Mapping[str, Any], answer: Mapping[str, Any]) -> None: ...


_numbers = itertools.count(1)


class Account:
    """A new account, empty; SQS and S3 go by its clock until it is closed."""

    def __init__(self, at: datetime = BEGIN) -> None:
        self.id = f"{777_000_000_000 + next(_numbers)}"
        self.clock = Clock(at)
        self.owner = _Owner(self.id)
        self._open = ExitStack()
        patch = self._open.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(moto.sqs.models, "unix_time", lambda _=None: self.clock.at.timestamp())
        patch.setattr(moto.sqs.models, "unix_time_millis", lambda _=None: self.clock.at.timestamp() * 1_000)
        patch.setattr(moto.s3.models, "utcnow", lambda: self.clock.at.replace(tzinfo=None))

    def close(self) -> None:
        """Give SQS and S3 their own time back."""
        self._open.close()

    def client(self, service: str) -> Any:
        """A client that calls as the account's owner."""
        return _As(shared_client(service), self.owner)

    def arn(self, service: str, resource: str, *, region: str = REGION) -> str:
        """An ARN of something in this account."""
        return f"arn:aws:{service}:{region}:{self.id}:{resource}"

    # What moto holds, looked at directly: to see when something is due, nothing may change.

    def schedules(self) -> list[Schedule]:
        """All of EventBridge's schedules, of every group."""
        groups = scheduler_backends[self.id][REGION].schedule_groups.values()
        return [schedule for group in groups for schedule in group.schedules.values()]

    def queue(self, arn: str) -> Any:
        """A queue as moto holds it."""
        return sqs_backends[self.id][REGION].queues[arn.rsplit(":", 1)[1]]

    def next_message(self, arn: str) -> datetime | None:
        """When a queue next has a message that can be received; the past, if it has one now."""
        moments = [max(message.visible_at, message.delayed_until) for message in self.queue(arn)._messages]
        if not moments:
            return None
        # moto takes a message for visible only after the millisecond in which it becomes so.
        return datetime.fromtimestamp(min(moments) / 1_000, UTC) + MILLISECOND

    def bodies(self, arn: str) -> list[str]:
        """What lies in a queue, received or not, in the order in which it was sent."""
        return [message.body for message in self.queue(arn)._messages]


Now = Callable[[], datetime]
