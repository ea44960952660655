"""A noun of the command line: a group of commands that prints its help when it is given none."""

from typing import Any

import typer
from typer.core import TyperGroup

__all__ = ["Noun", "examples", "noun"]

# Plain help: it starts in half the time that rendered panels take.
_STYLE: dict[str, Any] = {
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"], "max_content_width": 100},
}


class Noun(TyperGroup):
    """A group of commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Print the help where nothing is said."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            raise typer.Exit
        return super().parse_args(ctx, args)


def noun(*, add_completion: bool = False) -> typer.Typer:
    """A new group; its help is given where it is added."""
    return typer.Typer(cls=Noun, add_completion=add_completion, **_STYLE)


def examples(*lines: str) -> str:
    """The end of a command's help: `overnight …` lines, each with an optional `# why`."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
