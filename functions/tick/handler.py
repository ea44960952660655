"""EventBridge Scheduler, and the fire queue → fire.

Scheduler calls for the minutes in which a schedule may have ticks; the calendar says which are there. What is to be
fired later, to the second, comes back over the fire queue; so does a batch of events, when it is to be closed.
"""

from overnight.aws.coldstart import imported

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.parser import parse
from aws_lambda_powertools.utilities.typing import LambdaContext

from overnight.aws import wiring
from overnight.aws.messages import Alarm, held

ENGINE = wiring.open_engine(ahead=True)
FIRES = BatchProcessor(EventType.SQS)
imported()


@ENGINE.observation.handler()
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse | None:
    """Ring for one minute of one schedule, or carry out what the fire queue held back."""
    if "Records" in event:
        return process_partial_response(event, fire, FIRES, context)
    alarm = parse(event, Alarm)
    ENGINE.observation.logger.set_correlation_id(f"{alarm.agent_id}/{alarm.trigger}/{alarm.scheduled.isoformat()}")
    ENGINE.ring(alarm)
    return None


def fire(record: SQSRecord) -> None:
    """One tick whose time has come, or a batch of events that is to be closed."""
    ENGINE.observation.logger.set_correlation_id(record.message_id)
    ENGINE.fire(held.validate_json(record.body))
