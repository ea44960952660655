"""The embedded engine: API, alarm clock, watchdog and workers in one process."""

import typer

from overnight.cli.noun import noun

__all__ = ["app"]

app = noun()
