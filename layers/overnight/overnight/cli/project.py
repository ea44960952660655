"""A new project: a flow, a Python agent, a file of agents, and the commands to try next."""

import shlex
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from overnight.cli.failure import Failure
from overnight.cli.noun import examples, noun
from overnight.cli.program import program
from overnight.cli.terminal import say

__all__ = ["app"]

app = noun()

STARTER = "starter"
"""The folder beside this module that holds the project's files."""
RENAMED = {"gitignore": ".gitignore"}
"""What would have an effect inside this repository is kept under another name."""

OURS = frozenset({"__init__.py", "__pycache__"})


@app.command(epilog=examples("overnight init", "overnight init nightly"))
def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where; the working folder if not given.", show_default=False)
    ] = Path(),
) -> None:
    """Make a project: a flow, a Python agent, an agents.yaml.

    Files that exist are never touched.
    """
    contents = {RENAMED.get(path.name, str(path)): content for path, content in _starter()}
    if taken := sorted(name for name in contents if (folder / name).exists()):
        raise Failure(f"{folder} has {', '.join(taken)} already; nothing was written")
    for name, content in contents.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise Failure(f"{path}: {(error.strerror or str(error)).lower()}") from error
        say(f"wrote {path}")
    enter = [] if folder == Path() else [f"cd {shlex.quote(str(folder))}"]
    overnight = program(folder)
    steps = [
        *enter,
        f"{overnight} serve                           # and in another terminal:",
        f"{overnight} apply -f agents.yaml",
        f"{overnight} agents trigger report --wait",
        f"{overnight} executions list",
    ]
    say("\nNext:\n" + "\n".join(f"  {step}" for step in steps))


def _starter() -> list[tuple[Path, bytes]]:
    root = files("overnight.cli") / STARTER
    found: list[tuple[Path, bytes]] = []
    folders = [(Path(), root)]
    while folders:
        at, folder = folders.pop()
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if entry.name in OURS:
                continue
            if entry.is_dir():
                folders.append((at / entry.name, entry))
            else:
                found.append((at / entry.name, entry.read_bytes()))
    return found
