"""The command tree: every command has help with examples, and starts quickly."""

import re
import shlex
import subprocess
import sys

import pytest
import typer

from overnight.cli.main import app
from overnight.cli.reference import Described, commands

COMMANDS = list(commands())
IDS = [command.path for command in COMMANDS]
HEAVY = (
    "httpx",
    "lfx",
    "sqlalchemy",
    "boto3",
    "uvicorn",
    "pydantic",
    "rich",
    "yaml",
    "aws_lambda_powertools",
)


@pytest.mark.parametrize("command", COMMANDS, ids=IDS)
def test_help_renders(command: Described, overnight) -> None:
    ran = overnight(*command.path.split()[1:], "--help")

    assert ran.code == 0
    assert ran.out.startswith(f"Usage: {command.path} ")
    assert not re.search(r"--\S+ <\w+>", ran.out), "an option without a metavar"
    assert all(len(line) <= 80 for line in ran.out.splitlines() if not line.startswith("    overnight"))


@pytest.mark.parametrize("command", COMMANDS, ids=IDS)
def test_its_first_sentence_fits_the_list_of_commands(command: Described, overnight) -> None:
    parent = command.path.split()[1:-1]

    assert not any(line.endswith("...") for line in overnight(*parent, "--help").out.splitlines()[1:])


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.is_group], ids=lambda c: c.path)
def test_its_examples_are_commands_that_there_are(command: Described) -> None:
    assert command.examples
    tree = typer.main.get_command(app)
    for example in command.examples:
        for part in example.split("&&"):
            words = shlex.split(
                part.split("<")[0].split(" > ")[0].split("|")[-1 if "| overnight" in part else 0], comments=True
            )
            if words[0] != "overnight":
                continue
            context, rest = tree.make_context("overnight", words[1:], resilient_parsing=True), words[1:]
            node = tree
            while hasattr(node, "commands"):
                node = node.commands[rest.pop(0)]
            node.make_context(node.name, rest, parent=context)  # raises where an option is unknown


def test_nothing_said_prints_the_help(overnight) -> None:
    for arguments in ([], ["agents"], ["executions"]):
        ran = overnight(*arguments)
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.startswith("Usage: overnight")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["agentz"], "No such command 'agentz'. Did you mean 'agents'?; see `overnight --help`"),
        (["agents", "list", "--foo"], "No such option: --foo; see `overnight agents list --help`"),
        (["agents", "show"], "Missing argument 'NAME'; see `overnight agents show --help`"),
        (["executions", "list", "--limit", "1000"], "--limit"),
        (["executions", "redrive"], "give the id of an execution, or choose with --agent, --since, --until"),
        (["agents", "trigger", "x", "--payload", "{"], "--payload: not JSON"),
        (["executions", "list", "--since", "yesterday"], "--since: 'yesterday' is no time"),
        (["schedules", "preview"], "give exactly one of --cron, --interval, --date"),
        (["schedules", "preview", "--cron", "* * * * *", "--date", "2026-12-24T18:00:00Z"], "give exactly one of"),
        (["run", "x:y", "--var", "KEY"], "--var: 'KEY' is not NAME=VALUE"),
    ],
)
def test_a_misuse_is_one_line_and_exit_2(arguments: list[str], told: str, overnight) -> None:
    ran = overnight(*arguments)

    assert ran.code == 2
    assert told in ran.error
    assert ran.out == ""


def test_the_version(overnight) -> None:
    assert overnight("--version").out == overnight("version").out
    assert overnight("version").out.startswith("overnight 0.")


def test_help_takes_nothing_heavy_along() -> None:
    code = (
        "import sys; from overnight.cli import main; code = main(['--help']); "
        f"print(sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stderr.strip() == "[]"


def test_importing_overnight_takes_nothing_along() -> None:
    code = "import sys, overnight; print([m for m in sys.modules if m.startswith('overnight.')])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "[]"
