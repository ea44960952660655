"""The version."""

from overnight.cli.noun import examples, noun
from overnight.cli.terminal import say

__all__ = ["app", "version"]

app = noun()


@app.command(epilog=examples("overnight version"))
def version() -> None:
    """Print the version."""
    from importlib.metadata import version as installed  # noqa: PLC0415 - it takes a while to import

    say(f"overnight {installed('overnight')}")
