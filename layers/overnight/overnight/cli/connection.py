# ruff: noqa: PLC0415 - httpx takes a while to import, and `--help` needs none of it
"""The engine that a command talks to."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overnight.client import Client

__all__ = ["connect"]


def connect(url: str, *, timeout_seconds: float = 30.0) -> "Client":
    """A client of the engine at the URL, with the token of OVERNIGHT_API_TOKEN."""
    from overnight.client import Client

    return Client(url, os.environ.get("OVERNIGHT_API_TOKEN") or None, timeout_seconds=timeout_seconds)
