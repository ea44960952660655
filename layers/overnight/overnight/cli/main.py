"""`overnight`: all the nouns together, and how errors end a command."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from overnight.cli import (
    agents,
    apply,
    connection,
    demo,
    events,
    executions,
    flows,
    project,
    run,
    schedules,
    schema,
    secrets,
    serve,
    verify,
    version,
    webhooks,
)
from overnight.cli.failure import Failure, Findings, Misuse
from overnight.cli.noun import examples, noun
from overnight.errors import OvernightError

__all__ = ["app", "main"]

INTERRUPTED = 130
"""What a shell expects of a command that Ctrl-C ended."""
_HERE = frozenset({"demo", "init", "run", "serve"})
"""Commands that talk to no engine elsewhere."""

app = noun(add_completion=True)

app.add_typer(agents.app, name="agents", help="List, create, start, pause, trigger agents.")
app.add_typer(executions.app, name="executions", help="See what ran and why, cancel it, run it again.")
app.add_typer(schedules.app, name="schedules", help="When agents run next; preview a schedule without a server.")
app.add_typer(events.app, name="events", help="Send events to the agents that subscribe to them.")
app.add_typer(webhooks.app, name="webhooks", help="Where senders post to, with what secret; send a test delivery.")
app.add_typer(secrets.app, name="secrets", help="Keep the values that `secret:name` refers to.")
app.add_typer(flows.app, name="flows", help="Look into a flow's JSON.")
for module in (apply, verify, run, project, serve, demo, schema, version):
    app.add_typer(module.app)


def _version(wanted: bool) -> None:
    if wanted:
        version.version()
        raise typer.Exit


@app.callback(
    epilog=examples(
        "overnight init hello && cd hello && overnight serve",
        "overnight apply -f agents.yaml",
        "overnight agents trigger hello --wait",
        "overnight executions list --status failed --since 1d",
        "overnight --stack overnight agents list   # of the engine that `make deploy` put there",
    )
)
def overnight(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback has done it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    stack: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Talk to the engine of this stack in your AWS account, as your AWS profile says."
        ),
    ] = None,
) -> None:
    """Keeps AI agents working when nobody is watching."""
    if stack and context.invoked_subcommand in _HERE:
        raise Misuse(f"{context.invoked_subcommand} works on this machine, and has no use for --stack")
    connection.choose(stack)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code: 0, 1 for an error or a finding, 2 for a misuse, 130 when interrupted."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return 1
    except SystemExit as exit_:  # Typer's way out of a broken pipe, and of shell completion
        return exit_.code if isinstance(exit_.code, int) else 1
    return code


def _run(arguments: Sequence[str] | None) -> int:
    command = typer.main.get_command(app)
    try:
        code = command.main(arguments, prog_name="overnight", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Findings:
        return 1
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get("OVERNIGHT_DEBUG") and not isinstance(error, OvernightError | typer.TyperException):
            raise
        return _tell(error)
    return code if isinstance(code, int) else 0


def _tell(error: Exception) -> int:
    """One line for each thing that is wrong, and the exit code."""
    match error:
        case Failure():
            lines, code = error.lines, error.exit_code
        case OvernightError():
            lines, code = (str(error),), 1
        case typer.TyperException():
            usage = getattr(getattr(error, "ctx", None), "command_path", "overnight")
            lines, code = (f"{error.format_message().rstrip('.')}; see `{usage} --help`",), error.exit_code
        case _:
            lines = (f"unexpected {type(error).__name__}: {error}; with OVERNIGHT_DEBUG=1 it says where",)
            code = 1
    sys.stdout.flush()
    for line in lines:
        sys.stderr.write(f"error: {' '.join(line.split())}\n")
    return code


def _drop_output() -> None:
    """Let what is still buffered go nowhere, or the interpreter would complain about it at its end."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 - a descriptor is what is wanted
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
