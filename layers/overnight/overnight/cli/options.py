"""Options that many commands share, spelled once."""

from typing import Annotated, TypeAlias

import typer

__all__ = ["URL", "Agent", "Cursor", "Json", "Limit", "Since", "Until", "Url", "Yes"]

URL = "http://127.0.0.1:8321"

Url: TypeAlias = Annotated[
    str,
    typer.Option(
        "--url",
        metavar="URL",
        envvar="OVERNIGHT_URL",
        help="Where the engine answers; its token is OVERNIGHT_API_TOKEN.",
    ),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
Agent: TypeAlias = Annotated[str | None, typer.Option("--agent", "-a", metavar="NAME", help="Only of this agent.")]
Since: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="From this time on: RFC 3339, a date, or how long ago, such as 2h or 7d."),
]
Until: TypeAlias = Annotated[str | None, typer.Option(metavar="TIME", help="Before this time, written likewise.")]
Limit: TypeAlias = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=200, help="How many at most.")]
Cursor: TypeAlias = Annotated[str | None, typer.Option(metavar="CURSOR", help="Go on where a page ended.")]
