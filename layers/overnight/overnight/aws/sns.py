"""Notifications to the stack's topic on SNS, for agents that name `sns`; all others go where their URL says.

Who subscribes by e-mail gets a few lines of text, everybody else the notification's JSON; the attributes `agent` and
`type` are there to filter by (https://docs.aws.amazon.com/sns/latest/dg/sns-message-filtering.html).
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from overnight.aws.answers import unavailable
from overnight.errors import Invalid
from overnight.policies import TOPIC
from overnight.ports import Courier

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_sns import SNSClient

__all__ = ["SnsCourier"]

SUBJECT_CHARACTERS = 100


class SnsCourier:
    """Posts to the topic what is for it.

    Args:
        connect: gives the client.
        topic: the ARN.
        others: posts what is for a URL.
    """

    def __init__(self, connect: "Callable[[], SNSClient]", topic: str | None, others: Courier) -> None:
        self._connect = connect
        self._topic = topic
        self._others = others

    def check(self, url: str) -> None:
        """Raises Invalid where there is no topic, and for what the others can't post to."""
        if url != TOPIC:
            self._others.check(url)
        elif self._topic is None:
            raise Invalid.field("notify.url", "this function has no topic: its environment lacks OVERNIGHT_TOPIC")

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer; 200 once SNS has it. Raises Unavailable, and Invalid where there is no topic."""
        if url != TOPIC:
            return self._others.post(url, body, headers)
        self.check(url)
        told = json.loads(body)
        kind, data = told["type"].rpartition(".")[2], told["data"]
        with unavailable("SNS"):
            self._connect().publish(
                TopicArn=str(self._topic),
                Subject=f"{data['agent']} {kind}"[:SUBJECT_CHARACTERS],
                MessageStructure="json",
                Message=json.dumps({"default": body.decode(), "email": _text(kind, data)}),
                MessageAttributes={
                    "agent": {"DataType": "String", "StringValue": data["agent"]},
                    "type": {"DataType": "String", "StringValue": told["type"]},
                },
            )
        return HTTPStatus.OK


def _text(kind: str, data: Mapping[str, Any]) -> str:
    """What a person reads."""
    error = data.get("error")
    lines = [
        f"The agent {data['agent']} {kind}" + (f" at attempt {data['attempts']}." if error else "."),
        f"{error['type']}: {error['message']}" if error else None,
        f"trigger: {data['trigger']}" if data.get("trigger") else None,
        f"overnight executions show {data['execution_id']}",
    ]
    return "\n".join(filter(None, lines))
