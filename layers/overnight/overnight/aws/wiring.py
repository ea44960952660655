"""Builds the engine on AWS: the only place that knows which adapter fills which port.

    ENGINE = wiring.open_engine()                                      # once, when a function's module is imported
    ENGINE = wiring.open_runner()                                      # the same, in the function that runs flows

    @ENGINE.observation.handler()                                      # logs and metrics of each invocation
    def handler(event, context):
        ENGINE.ring(Alarm.model_validate(event))                       # tick, called by Scheduler
        ENGINE.fire(held.validate_json(record.body))                   # tick, from the fire queue
        ENGINE.run(Message.model_validate_json(record.body), context)  # runner, from run queue and retry queue
        ENGINE.watch(context)                                          # watchdog, every minute
        ENGINE.take(record.body, record.message_id)                    # events
        ENGINE.ensure_master_key()                                     # declare, at every deployment
        ENGINE.ports                                                   # api, webhook, declare: for the core's verbs
        ENGINE.observation.logger, ENGINE.observation.metrics          # Powertools' own

Clients of AWS are made when they are first needed, so no function pays for what it does not use.
"""

import os
import random
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from overnight.agents import Agent, AgentDocument, AgentState
from overnight.aws.clients import Clients
from overnight.aws.dynamodb import DynamoStore, Table
from overnight.aws.engine import Engine
from overnight.aws.environment import Environment
from overnight.aws.eventbus import EventBridgeBus
from overnight.aws.observe import Observation
from overnight.aws.s3 import S3BlobStore
from overnight.aws.scheduler import SchedulerAlarmClock
from overnight.aws.secrets import SsmSecretStore
from overnight.aws.sns import SnsCourier
from overnight.aws.sqs import DeadLetters, FireQueue, SqsWorkQueue
from overnight.aws.sweep import Sweep
from overnight.core.due import look_at
from overnight.courier import HttpCourier
from overnight.errors import ExecutionNotFound, Unavailable
from overnight.executions import Execution
from overnight.ports import FlowRunner, Ports, RunReport, RunRequest
from overnight.triggers import CronTrigger, DateTrigger, EventTrigger, IntervalTrigger, WebhookTrigger

if TYPE_CHECKING:
    from overnight.aws.runner import InProcessRunner

__all__ = ["open_engine", "open_runner"]

Now = Callable[[], datetime]

_OF_AGENTS = (
    *(CronTrigger, IntervalTrigger, DateTrigger, WebhookTrigger, EventTrigger),  # first: the others are made of them
    *(AgentDocument, Agent, AgentState),
)
"""What any firing reads."""


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


class _NoRunner:
    """The flow runner of functions that run no flows."""

    def run(self, request: RunRequest) -> RunReport:
        raise Unavailable(f"this function runs no flows; execution {request.execution.id} is for the runner")

    def cancel(self, execution_id: str) -> None:
        """Nothing: an attempt that runs elsewhere sees by its record that it is cancelled."""


def open_engine(
    environ: Mapping[str, str] = os.environ, *, clients: Clients | None = None, now: Now = now, ahead: bool = False
) -> Engine:
    """The engine of a light function. Raises Invalid, which names each variable that is missing or wrong.

    With `ahead`, for functions that fire: the first event need not wait until the words of agents are built.
    """
    environment = Environment.read(environ)
    if ahead:
        _build_ahead()
    clients = clients or Clients()
    return _engine(environment, clients, now, _store(environment, clients, now), None)


def open_runner(
    environ: Mapping[str, str] = os.environ,
    *,
    clients: Clients | None = None,
    now: Now = now,
    end: Callable[[int], object] = os._exit,
) -> Engine:
    """The engine of the function that runs flows; `end` ends its process. Raises Invalid, as `open_engine` does."""
    from overnight.aws.runner import InProcessRunner  # noqa: PLC0415 - imports what runs flows
    from overnight.flows.call import Allowed  # noqa: PLC0415

    environment = Environment.read(environ)
    _build_ahead()
    clients = clients or Clients()
    store = _store(environment, clients, now)

    def cancelled(execution: Execution) -> bool:
        try:
            row = store.execution(execution.id)
        except ExecutionNotFound:
            return True
        return row.status.terminal or row.attempt != execution.attempt

    allowed = Allowed(environment.folders, environment.packages, environment.allow_private)
    runner = InProcessRunner(allowed, cancelled)
    return _engine(environment, clients, now, store, runner, end)


def _build_ahead() -> None:
    for word in _OF_AGENTS:
        word.model_rebuild()


def _store(environment: Environment, clients: Clients, now: Now) -> DynamoStore:
    return DynamoStore(Table(clients.dynamodb, environment.table), look_at, now)


def _engine(
    environment: Environment,
    clients: Clients,
    now: Now,
    store: DynamoStore,
    runner: "InProcessRunner | None",
    end: Callable[[int], object] = os._exit,
) -> Engine:
    observation = Observation(environment.stack)
    secrets = SsmSecretStore(clients.ssm, clients.secrets_manager, environment.parameters, environment.secrets_key)
    blobs = S3BlobStore(clients.s3, environment.bucket)
    runs: FlowRunner = runner or _NoRunner()
    ports = Ports(
        store=store,
        clock=SchedulerAlarmClock(
            clients.scheduler, environment.schedule_group, environment.tick_arn, environment.scheduler_role_arn
        ),
        queue=SqsWorkQueue(clients.sqs, environment.run_queue, environment.retry_queue, environment.fire_queue, now),
        runner=runs,
        secrets=secrets,
        blobs=blobs,
        bus=EventBridgeBus(clients.events, environment.bus),
        courier=SnsCourier(clients.sns, environment.topic, HttpCourier(allow_private=environment.allow_private)),
        observe=observation,
        now=now,
        chance=random.random,
        new_id=lambda: uuid.uuid4().hex,
        worker="lambda",
    )
    fires = FireQueue(clients.sqs, environment.fire_queue, now)
    dead_letters = DeadLetters(clients.sqs, environment.dead_letters)
    sweep = Sweep(blobs, store.used_blobs, Table(clients.dynamodb, environment.table), now)
    return Engine(ports, observation, fires, dead_letters, secrets, sweep, runner, end)
