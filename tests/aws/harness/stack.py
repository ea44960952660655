"""A stack that is deployed, and lives: its schedules ring, its queues are polled, its APIs answer.

stack = Stack()
stack.deploy(agents="agents.yaml")
stack.client.create_agent({"name": "daily", "flow": ACTS, "schedule": {"cron": "0 8 * * *"}, "enabled": True})
stack.live(hours=24)
stack.check()
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from botocore.credentials import Credentials
from infra.remains import remains
from tests.aws.harness import stage as stages
from tests.aws.harness.account import BEGIN, REGION, Account, calling, shared_client
from tests.aws.harness.cloudformation import Cloud
from tests.aws.harness.functions import Function, Lambda
from tests.aws.harness.gateway import Gateway
from tests.aws.harness.iam import Statement, statements
from tests.aws.harness.resources import kinds
from tests.aws.harness.responses import Responses
from tests.aws.harness.sources import Pollers, Scheduler
from tests.aws.harness.template import synthesise

from overnight.aws.stack import Signed
from overnight.client import Client

__all__ = ["ACTS", "AGENTS_FOLDER", "SIGNED", "Stack", "statuses"]

AGENTS_FOLDER = Path(__file__).with_name("agents")
ACTS = {"python": "acts:run"}
"""The flow whose course the test directs; see stage.py."""
SIGNED = Signed(Credentials("AKIAIOSFODNN7EXAMPLE", "secret"), REGION)
UNFINISHED = ("pending", "running", "retrying")


class Stack:
    """An account with one stack in it, and the clock.

    Args:
        at: when it begins.
        context: the CDK context, as `-c key=value` gives it; the harness's own flows are added.
    """

    def __init__(self, at: datetime = BEGIN, **context: Any) -> None:
        self.context = {"folders": [str(AGENTS_FOLDER)], "langflow": False, "runner_timeout_seconds": 60, **context}
        self.account = Account(at)
        self.began = at
        self._open = ExitStack()
        self._open.callback(self.account.close)
        self._responses = Responses()
        self._open.callback(self._responses.close)
        folders = ",".join(map(str, self.context["folders"]))
        self.world = Lambda(self.account, {"/var/task/agents": folders}, self._policy)
        self.stage = self.world.stage
        stages.raise_curtain(self.stage)
        self._open.callback(stages.drop_curtain, self.stage)
        self._functions: dict[str, Function] = {}
        self.cloud = Cloud(self.account.id, {})
        self.cloud.kinds = kinds(lambda: self.cloud, self.account, self.world, self._functions, self._responses)
        self.scheduler = Scheduler(self.cloud, self.world, self._functions)
        self.pollers = Pollers(self.cloud, self.world, self._functions)

    def close(self) -> None:
        """End it, whatever it does."""
        self._open.close()

    # CloudFormation

    def deploy(self, *, import_existing: bool = False, **context: Any) -> list[str]:
        """`cdk deploy`, with that added to the context; the ids of what changed. Raises RolledBack."""
        assembly = synthesise(**self.context | context)
        bucket = f"cdk-hnb659fds-assets-{self.account.id}-{REGION}"
        self._upload(bucket, assembly.files())
        return self.cloud.deploy(assembly, import_existing=import_existing)

    def _upload(self, bucket: str, files: Iterable[tuple[str, Path]]) -> None:
        """What `cdk deploy` uploads to the bucket of `cdk bootstrap`."""
        s3 = self.account.client("s3")
        if bucket not in [each["Name"] for each in s3.list_buckets()["Buckets"]]:
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        for key, path in files:
            if path.is_file():
                s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())

    def destroy(self) -> list[str]:
        """`make destroy`; what it lists as left behind."""
        self.cloud.destroy()
        with calling(self.account.owner):
            return list(remains(self.cloud.name, {"cloudformation": self.cloud, "ssm": shared_client("ssm")}))

    def _policy(self, role: str) -> list[Statement]:
        name = role.rsplit("/", 1)[1]
        documents = (
            kept.properties["PolicyDocument"]
            for kept in self.cloud.of("AWS::IAM::Policy").values()
            if name in kept.properties["Roles"]
        )
        return [statement for document in documents for statement in statements(document)]

    def function(self, name: str) -> Function:
        """The function of that name."""
        return next(function for function in self._functions.values() if function.name == name)

    def queue(self, part: str) -> str:
        """The ARN of a queue: `Run`, `Retry`, `Fire`, `Events`, `DeadLetters`, `Failures`."""
        arn: str = self.cloud.one("AWS::SQS::Queue", f"Messaging{part}").made.attributes["Arn"]
        return arn

    # Ways in

    @property
    def client(self) -> Client:
        """The API, for who has the operator's policy."""
        return Client(self.cloud.outputs["ApiUrl"], auth=SIGNED, transport=self.way_in("Operator"))

    def way_in(self, policy: str | None) -> Gateway:
        """A transport for httpx: to the APIs, as someone with that managed policy."""
        return Gateway(self.cloud, self.world, self._functions, policy)

    def http(self, policy: str | None = "Operator") -> httpx.Client:
        """Plain HTTP to the management API, signed by someone with that managed policy, or by nobody."""
        return httpx.Client(
            base_url=self.cloud.outputs["ApiUrl"], auth=SIGNED if policy else None, transport=self.way_in(policy)
        )

    def deliver(self, hook_id: str, body: bytes, headers: Mapping[str, str], **how: Any) -> httpx.Response:
        """Post to a webhook, as anybody may."""
        with httpx.Client(base_url=self.cloud.outputs["WebhooksUrl"], transport=self.way_in(None)) as public:
            return public.post(hook_id, content=body, headers=dict(headers), **how)

    def put_on_events_queue(self, event: Mapping[str, Any]) -> None:
        """Send an event by SQS, as the operator may."""
        sqs = self.account.client("sqs")
        sqs.send_message(QueueUrl=self.cloud.outputs["EventsQueueUrl"], MessageBody=json.dumps(event))

    def put_on_bus(self, source: str, kind: str, detail: Any) -> None:
        """Put an event on the bus, as any AWS service or the operator may."""
        entry = {"Source": source, "DetailType": kind, "Detail": json.dumps(detail)}
        bus = self.cloud.outputs["BusName"]
        self.account.client("events").put_events(Entries=[entry | {"EventBusName": bus}])

    # Time

    @property
    def now(self) -> datetime:
        """The time, UTC."""
        return self.account.clock.at

    def advance(self, seconds: float = 0, **more: float) -> None:
        """Let time pass, with no call being made."""
        self.account.clock.at += timedelta(seconds=seconds, **more)
        self.scheduler.skip()

    def live(self, seconds: float = 0, **more: float) -> None:
        """Let time pass as AWS sees it: schedules ring, messages are delivered, flows that wait go on."""
        until = self.now + timedelta(seconds=seconds, **more)
        self.beat()
        while True:
            moments = (self.scheduler.next_ring(), self.pollers.next_message(), self.stage.next_waking())
            upcoming = min(moment for moment in moments if moment)
            if upcoming > until:
                break
            self.account.clock.at = max(upcoming, self.now)
            self.beat()
        self.account.clock.at = until
        self.beat()

    def beat(self) -> None:
        """What happens at one moment."""
        self.stage.wake()
        self.pollers.reap()
        self.scheduler.ring()
        self.pollers.poll()

    def kill(self, agent: str) -> None:
        """Let the process be gone in which an agent's flow waits."""
        id_ = self.client.agent(agent)["id"]
        self.stage.kill(next(act for act in self.stage.waiting if id_ in str(act.owner.event)))
        self.pollers.reap()

    @contextmanager
    def watched(self, after_write: Any) -> Iterator[None]:
        """Within this, `after_write(function, call)` is called after every write of a function."""
        before, self.world.after_write = self.world.after_write, after_write
        try:
            yield
        finally:
            self.world.after_write = before

    # What is there

    def agent(self, name: str = "agent", **fields: Any) -> dict[str, Any]:
        """Create an agent, active unless `enabled=False`."""
        return self.client.create_agent({"name": name, "flow": ACTS, "enabled": True} | fields)

    def rows(self, agent: str | None = "agent", **where: str) -> list[dict[str, Any]]:
        """The executions of an agent, or of all, the oldest first."""
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            page = self.client.executions(agent=agent, cursor=cursor, limit=200, **where)
            found += page["items"]
            cursor = page["cursor"]
            if cursor is None:
                return found[::-1]

    def heard(self, happened: str) -> list[dict[str, Any]]:
        """The log's lines of a lifecycle event."""
        return [line for line in self.world.log.lines() if line.get("message") == happened]

    def report(self) -> dict[str, Any]:
        """What `overnight verify` says of everything since the beginning."""
        since, until = self.began - timedelta(days=1), self.now + timedelta(days=1)
        return self.client.verify(since=since.isoformat(), until=until.isoformat())

    def check(self) -> None:
        """Nothing is lost, doubled or stuck; and no function did what its role does not allow."""
        assert not self.world.refused, self.world.refused
        report = self.report()
        assert report["ok"], report["findings"]

    def come_to_rest(self, minutes: float = 60) -> None:
        """Let time pass until every execution has ended."""
        until = self.now + timedelta(minutes=minutes)
        while any(self.client.executions(status=status, limit=1)["items"] for status in UNFINISHED):
            assert self.now < until, "executions do not come to an end"
            self.live(minutes=1)


def statuses(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Their statuses, with the reason where there is one: `skipped (overlap)`."""
    return [f"{row['status']} ({row['reason']})" if row.get("reason") else str(row["status"]) for row in rows]
