"""The run queue and the retry queue → run one attempt."""

from overnight.aws.coldstart import imported

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.parser import parse
from aws_lambda_powertools.utilities.typing import LambdaContext

from overnight.aws import wiring
from overnight.executions import Message

ENGINE = wiring.open_runner()
MESSAGES = BatchProcessor(EventType.SQS)
imported()


@ENGINE.observation.handler()
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Carry out a batch of one message."""
    return process_partial_response(event, run, MESSAGES, context)


def run(record: SQSRecord, lambda_context: LambdaContext) -> None:
    """One attempt, within what Lambda leaves of its time."""
    message = parse(record.json_body, Message)
    ENGINE.observation.logger.set_correlation_id(message.execution_id)
    ENGINE.run(message, lambda_context)
