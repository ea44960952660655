"""The events queue, which the bus feeds, too → fan out, fire."""

from overnight.aws.coldstart import imported

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from overnight.aws import wiring

ENGINE = wiring.open_engine(ahead=True)
EVENTS = BatchProcessor(EventType.SQS)
imported()


@ENGINE.observation.handler()
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Take a batch of messages; those that fail come again, alone."""
    return process_partial_response(event, take, EVENTS, context)


def take(record: SQSRecord) -> None:
    """One message: its events, to every agent that subscribes to them."""
    ENGINE.observation.logger.set_correlation_id(record.message_id)
    ENGINE.take(record.body, record.message_id)
