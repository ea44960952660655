"""What AWS answers when something goes wrong, in our words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from overnight.errors import Unavailable

__all__ = ["code_of", "unavailable"]


def code_of(error: ClientError) -> str:
    """The code of an error, such as `ResourceNotFoundException`."""
    response: Any = error.response
    return str(response.get("Error", {}).get("Code", ""))


@contextmanager
def unavailable(service: str) -> Iterator[None]:
    """Whatever is not dealt with within is Unavailable, with AWS's own code and message."""
    try:
        yield
    except ClientError as error:
        raise Unavailable(f"{service}: {error}") from error
    except BotoCoreError as error:
        raise Unavailable(f"{service} does not answer: {error}") from error
