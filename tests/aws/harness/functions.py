"""Lambda functions: the real handler, imported anew for each process, in the function's environment and role.

process     what Lambda keeps between invocations: the handler's module. One invocation at a time; a crash ends it.
invocation  one event. It runs in a thread of its own, so that a flow can take its time while others go on.
"""

import importlib.util
import itertools
import json
import logging
import os
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

from botocore.exceptions import ClientError
from tests.aws.harness.account import REGION, Account, calling, shared_client
from tests.aws.harness.iam import Need, Statement, allows, needs
from tests.aws.harness.stage import Killed, Stage

from overnight.aws import clients, wiring
from overnight.aws.clients import Clients
from overnight.aws.dynamodb import schema

__all__ = ["WRITES", "Courier", "Crash", "Function", "FunctionError", "Fuse", "Invocation", "Lambda"]

ROOT = Path(__file__).parents[3]

WRITES = (
    "Create", "Delete", "Publish", "Put", "Send", "Transact", "Update",
)  # fmt: skip
"""How the operations begin that leave something behind."""


LONGEST_LOOP = 16
"""How often Lambda lets a function be called by what it caused itself, unless it is allowed to."""


class Crash(BaseException):
    """The process is gone: nothing catches this, and nothing in memory outlives it."""


class Fuse:
    """Ends a process after so many writes, once; for `Stack.watched`."""

    def __init__(self, writes: int) -> None:
        self.left = writes
        self.blown = ""

    def __call__(self, function: str, call: str) -> None:
        """A function has written."""
        self.left -= 1
        if not self.left:
            self.blown = f"{function}: {call}"
            raise Crash(self.blown)


class FunctionError(Exception):
    """The function raised, or its process ended."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(f"{kind}: {message}")


class Courier:
    """Posts nowhere; answers what the test says, 200 unless it says something."""

    def __init__(self) -> None:
        self.answers: list[int | Exception] = []
        self.posts: list[tuple[str, bytes, dict[str, str]]] = []

    def check(self, url: str) -> None:
        """It would post anywhere."""

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Take note of it."""
        self.posts.append((url, body, dict(headers)))
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Context:
    """What Lambda tells a handler of its invocation."""

    function_name: str
    invoked_function_arn: str
    memory_limit_in_mb: int
    until: datetime
    now: Callable[[], datetime]
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def get_remaining_time_in_millis(self) -> int:
        """How long it may still take."""
        return round((self.until - self.now()).total_seconds() * 1_000)


_modules = itertools.count(1)


class Process:
    """A function's process: started cold, then kept. It calls AWS in the function's role."""

    def __init__(self, function: "Function") -> None:
        self.function = function
        self.account_id = function.world.account.id
        self.alive = True
        self._handler: Callable[[Any, Any], Any] | None = None
        self._chain: Counter[str] = Counter()

    def handle(self, event: Any, context: Context, chain: Counter[str]) -> Any:
        """Hand an event to the handler; the first one waits until it is imported."""
        self._chain = chain
        with calling(self):
            if self._handler is None:
                self._handler = self._cold()
            return self._handler(event, context)

    def _cold(self) -> Callable[[Any, Any], Any]:
        function, world = self.function, self.function.world
        spec = importlib.util.spec_from_file_location(f"{function.name}_{next(_modules)}", function.path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        made = partial(Clients, lambda service, **_: shared_client(service))
        given = {"now": world.account.clock.now}
        with (
            patch.dict(os.environ, function.environ),
            patch.object(wiring, "open_engine", partial(wiring.open_engine, **given)),
            patch.object(wiring, "open_runner", partial(wiring.open_runner, **given, end=self._end)),
            patch.object(wiring, "HttpCourier", lambda **_: world.courier),
            patch.object(wiring, "Clients", made),
            patch.object(clients, "Clients", made),
        ):
            spec.loader.exec_module(module)
        # Powertools keeps one logger for all who name the same service in a process.
        for logger in logging.getLogger(function.environ["OVERNIGHT_STACK"]).handlers:
            if isinstance(logger, logging.StreamHandler):
                logger.setStream(world.log.text)
        handler: Callable[[Any, Any], Any] = module.handler
        return handler

    def _end(self, code: int) -> None:
        self.alive = False
        raise Crash(f"the process ended itself with {code}")

    # As the caller of AWS

    def before(self, service: str, operation: str, params: Mapping[str, Any]) -> None:
        """Refuse what the role does not allow."""
        if not self.alive:
            raise Crash("the process is gone")
        self.function.world.asked(self.function, service, operation, params)

    def after(self, service: str, operation: str, params: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Let the test end the process here."""
        world = self.function.world
        for sent in answer.get("Successful", [answer]) if service == "sqs" else []:
            if "MessageId" in sent:
                world.chains[sent["MessageId"]] = self._chain
        if operation.startswith(WRITES):
            key = params.get("Item", {}).get(schema.PK, {}).get("S", "")
            world.after_write(self.function.name, f"{service}.{operation} {key}".rstrip())
        if (service, answer.get("Error", {}).get("Code")) == ("s3", "NoSuchKey"):
            # S3 says that it is missing only to whom it would list what is there; to others, that it is forbidden.
            world.asked(self.function, service, "ListObjectsV2", params)


class Function:
    """A Lambda function as the template says it, and its processes."""

    def __init__(self, world: "Lambda", name: str, arn: str, properties: Mapping[str, Any]) -> None:
        self.world = world
        self.name = name
        self.arn = arn
        self.path = ROOT / "functions" / name / "handler.py"
        self.role: str = ""
        self.processes: list[Process] = []
        self.change(properties)

    def change(self, properties: Mapping[str, Any]) -> None:
        """Take another configuration; what runs keeps the old one, what comes next starts cold."""
        self.role = properties["Role"]
        self.timeout = timedelta(seconds=properties.get("Timeout", 3))
        self.memory = properties.get("MemorySize", 128)
        self.recursive_loop = properties.get("RecursiveLoop", "Terminate")
        self.environ = {
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            **properties.get("Environment", {}).get("Variables", {}),
        }
        if folder := self.world.folders:
            self.environ = {name: folder.get(value, value) for name, value in self.environ.items()}
        self.processes.clear()

    def begin(self, event: Any, chain: Counter[str] | None = None) -> "Invocation":
        """Invoke it, in a process that is free or a new one; returns when it is done, or when its flow waits.

        `chain` says how often functions were called on the way to this, one by what another one sent.
        """
        chain = (chain or Counter()) + Counter([self.name])
        if self.recursive_loop == "Terminate" and chain[self.name] > LONGEST_LOOP:
            raise AssertionError(f"Lambda takes {self.name} for a runaway loop, and stops it")
        idle = [process for process in self.processes if process.alive]
        process = idle[0] if idle else Process(self)
        self.processes = idle[1:]
        return Invocation(process, json.loads(json.dumps(event)), chain)

    def invoke(self, event: Any) -> Any:
        """Invoke it, and wait for its answer. Raises FunctionError."""
        invocation = self.begin(event)
        assert invocation.done, f"{self.name} waits for something"
        return invocation.answer()


class Invocation:
    """One event, on its way through a function."""

    def __init__(self, process: Process, event: Any, chain: Counter[str]) -> None:
        self.process = process
        self.event = event
        self._chain = chain
        self.done = False
        self.result: Any = None
        self.error: FunctionError | None = None
        self._wrong: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        process.function.world.stage.hand_over(self, self._thread.start)
        if self._wrong is not None:
            raise self._wrong

    def answer(self) -> Any:
        """What came of it. Raises FunctionError."""
        if self.error is not None:
            raise self.error
        return self.result

    def join(self, seconds: float) -> None:
        """Wait until it ends by itself, in real time, as where a flow takes longer than its timeout."""
        self._thread.join(seconds)
        assert self.done, "it has not ended"

    def _work(self) -> None:
        function = self.process.function
        now = function.world.account.clock.now
        context = Context(function.name, function.arn, function.memory, now() + function.timeout, now)
        try:
            result = self.process.handle(self.event, context, self._chain)
            self.result = json.loads(json.dumps(result))
            function.processes.append(self.process)
        except (Crash, Killed) as gone:
            self.process.alive = False
            self.error = FunctionError("Runtime.ExitError", str(gone))
        except Exception as error:  # noqa: BLE001 - it is Lambda's answer
            self.error = FunctionError(type(error).__name__, str(error))
            function.world.failed.append((function.name, error))
            if isinstance(error, NotImplementedError | AssertionError):
                self._wrong = error
            function.processes.append(self.process)
        finally:
            self.done = True
            function.world.stage.moved(self)


class Log:
    """What the functions print: a line of JSON for each lifecycle event, and for metrics."""

    def __init__(self) -> None:
        self.text = StringIO()

    def lines(self) -> list[dict[str, Any]]:
        """All of them, parsed."""
        return [json.loads(line) for line in self.text.getvalue().splitlines() if line.startswith("{")]


class Lambda:
    """The functions of a stack, and what they have in common.

    Args:
        account: where they run.
        folders: folders of this machine, by where they lie in a bundle.
        policy: the statements of a role, by its ARN.
    """

    def __init__(self, account: Account, folders: Mapping[str, str], policy: Callable[[str], list[Statement]]) -> None:
        self.account = account
        self.folders = folders
        self.stage = Stage(account.clock.now)
        self.courier = Courier()
        self.log = Log()
        self.used: set[tuple[str, Need]] = set()
        """What was called: by which function, and what that took."""
        self.refused: list[tuple[str, Need]] = []
        """What a role did not allow; a test that does not expect this must not pass."""
        self.failed: list[tuple[str, Exception]] = []
        """What functions raised."""
        self.chains: dict[str, Counter[str]] = {}
        """By a message's id, how often functions were called on the way to it."""
        self.after_write: Callable[[str, str], None] = lambda function, call: None
        """Called after every write of a function with its name and `service.Operation`, and the partition key of what
        is put into the table; what it raises ends the process there."""
        self._policy = policy

    def asked(self, function: Function, service: str, operation: str, params: Mapping[str, Any]) -> None:
        """A function calls AWS. Raises AccessDenied, as AWS does, where its role does not allow that."""
        for need in needs(service, operation, params, self.account.id, REGION):
            self.used.add((function.name, need))
            if not allows(self._policy(function.role), need):
                self.refused.append((function.name, need))
                denied = {"Code": "AccessDeniedException", "Message": f"{function.role} may not {need}"}
                raise ClientError({"Error": denied}, operation)

    def asked_by_service(self, role: str, need: Need) -> None:
        """A service does something in a role."""
        assert allows(self._policy(role), need), f"{role} may not {need}"
