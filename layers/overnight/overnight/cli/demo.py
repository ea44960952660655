"""The demo."""

from overnight.cli.noun import noun

__all__ = ["app"]

app = noun()
