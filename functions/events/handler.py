"""The events queue, which the bus feeds, too → fan out, fire."""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from overnight.aws import wiring
from overnight.aws.messages import event_of_queue

ENGINE = wiring.open_engine()
EVENTS = BatchProcessor(EventType.SQS)


@ENGINE.observation.handler()
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Take a batch of events; those that fail come again, alone."""
    return process_partial_response(event, take, EVENTS, context)


def take(record: SQSRecord) -> None:
    """One event, to every agent that subscribes to it."""
    ENGINE.observation.logger.set_correlation_id(record.message_id)
    ENGINE.take_event(event_of_queue(record.json_body, record.message_id, ENGINE.ports.now()))
