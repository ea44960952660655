"""What is printed fits where it is printed."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

EXECUTIONS = "/api/v1/executions"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let a person see the output, in so many columns."""

    def of(columns: int, *, colours: bool = False) -> None:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.delenv("NO_COLOR", raising=False)
        if not colours:
            monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    return of


LONG = "an-agent-with-a-name-as-long-as-names-may-be-and-longer-than-that"[:64]


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_tables_fit_the_terminal(columns, terminal, overnight, engine, wire) -> None:
    waiting = wire.execution(id=wire.OTHER, agent=LONG, trigger=LONG, status="skipped", reason="queue_full")
    engine.on(f"GET {EXECUTIONS}", wire.page(wire.execution(), waiting))
    engine.on("GET /api/v1/background_agents", wire.page(wire.agent(), wire.agent(LONG, status="STOPPED")))
    terminal(columns)

    for noun in ("executions", "agents"):
        lines = overnight(noun, "list").out.splitlines()
        assert len(lines) == 3
        assert all(len(line) <= columns for line in lines), lines
    out = overnight("executions", "list").out
    assert "skipped (queue_full)" in out
    assert ("TRIGGER" in out) == (columns >= 100)


def test_an_id_is_short_on_a_terminal_and_whole_in_a_pipe(terminal, overnight, engine, wire) -> None:
    engine.on(f"GET {EXECUTIONS}", wire.page(wire.execution(agent=LONG)))
    piped = overnight("executions", "list").out
    terminal(80)
    seen = overnight("executions", "list").out

    assert wire.ID in piped
    assert LONG in piped
    assert wire.ID not in seen
    assert wire.ID[:10] in seen


def test_colours_are_for_terminals(terminal, overnight, engine, wire) -> None:
    engine.on(f"GET {EXECUTIONS}", wire.page(wire.execution()))
    piped = overnight("executions", "list").out
    terminal(80, colours=True)
    coloured = overnight("executions", "list").out
    terminal(80)
    no_color = overnight("executions", "list").out

    assert "\x1b[" in coloured
    assert "\x1b[" not in piped + no_color


def test_what_a_user_named_is_no_markup(overnight, engine, wire) -> None:
    odd = wire.agent(description="[bold]not markup[/bold] :smile:")
    engine.on("GET /api/v1/background_agents/hello", odd)

    assert "[bold]not markup[/bold] :smile:" in overnight("agents", "show", "hello").out


def run(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "overnight.cli", *arguments]


@pytest.mark.parametrize("count", ["1", "10000"])
def test_a_closed_pipe_is_quiet(count) -> None:
    nobody_reads, pipe = os.pipe()
    os.close(nobody_reads)
    command = run("schedules", "preview", "--cron", "* * * * *", "--count", count, "--json")
    ran = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, check=False)
    os.close(pipe)

    assert (ran.returncode, ran.stderr) == (1, b"")


def test_completion_knows_the_commands() -> None:
    environment = {"_OVERNIGHT_COMPLETE": "complete_bash", "COMP_WORDS": "overnight agents tr", "COMP_CWORD": "2"}
    ran = subprocess.run(run(), env=environment, capture_output=True, text=True, check=False)

    assert ran.stdout.split() == ["trigger"]
