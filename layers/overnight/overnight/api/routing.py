"""Powertools' router, which has no types of its own."""

from aws_lambda_powertools.event_handler.api_gateway import Router

__all__ = ["Router", "new_router"]


def new_router() -> Router:
    """A router without routes."""
    return Router()  # type: ignore[no-untyped-call]
