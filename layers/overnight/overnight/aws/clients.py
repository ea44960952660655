"""The clients of AWS, each made when it is first needed, and once."""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient

__all__ = ["Clients"]

CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 5},  # throttling, and lost answers, with jitter between
    connect_timeout=2,
    read_timeout=8,  # light functions have 20 s
)


class Clients:
    """The clients of one process; each field gives its client."""

    def __init__(self, make: Callable[..., Any] = boto3.client) -> None:
        def client(service: str) -> Callable[[], Any]:
            return cache(lambda: make(service, config=CONFIG))

        self.dynamodb: Callable[[], DynamoDBClient] = client("dynamodb")
        self.events: Callable[[], EventBridgeClient] = client("events")
        self.s3: Callable[[], S3Client] = client("s3")
        self.scheduler: Callable[[], EventBridgeSchedulerClient] = client("scheduler")
        self.secrets_manager: Callable[[], SecretsManagerClient] = client("secretsmanager")
        self.sns: Callable[[], SNSClient] = client("sns")
        self.sqs: Callable[[], SQSClient] = client("sqs")
        self.ssm: Callable[[], SSMClient] = client("ssm")
