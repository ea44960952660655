# ruff: noqa: PLC0415 - httpx and boto3 take a while to import, and `--help` needs none of it
"""The engine that a command talks to: at a URL, or in a stack of the user's AWS account."""

import os
from contextvars import ContextVar
from typing import TYPE_CHECKING

from overnight.cli.failure import Failure, Misuse
from overnight.cli.options import URL

if TYPE_CHECKING:
    from overnight.client import Client

__all__ = ["choose", "connect"]

_stack: ContextVar[str | None] = ContextVar("stack", default=None)


def choose(stack: str | None) -> None:
    """Let `connect` go to this stack; None: to a URL."""
    _stack.set(stack)


def connect(url: str) -> "Client":
    """A client of the engine at the URL, with the token of OVERNIGHT_API_TOKEN; or of the stack that was chosen.

    Raises NoStack, and Misuse where a URL was given, too.
    """
    from overnight.client import Client

    stack = _stack.get()
    if stack is None:
        return Client(url, os.environ.get("OVERNIGHT_API_TOKEN") or None)
    if url not in {URL, os.environ.get("OVERNIGHT_URL")}:
        raise Misuse("--stack and --url say two places; give one of them")
    try:
        from overnight.aws.stack import find
    except ModuleNotFoundError as error:
        raise Failure(f"--stack needs {error.name}: pip install 'overnight[aws]'") from error
    deployed = find(stack)
    return Client(deployed.api_url, auth=deployed.auth, front_door=deployed.front_door)
