"""The JSON Schema of agents.yaml, for editors."""

from overnight.cli.noun import examples, noun
from overnight.cli.terminal import print_json

__all__ = ["app"]

app = noun()


@app.command(epilog=examples("overnight schema > agents.schema.json"))
def schema() -> None:
    """Print the JSON Schema of agents.yaml."""
    from overnight.api.schemas import schema as of_agents_file  # noqa: PLC0415 - `--help` needs none of it

    print_json(of_agents_file())
