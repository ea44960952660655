"""The embedded engine: API, alarm clock, watchdog and workers in one process."""

import os

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from overnight.cli.noun import examples, noun
from overnight.cli.terminal import warn

if TYPE_CHECKING:
    from overnight.embedded.serve import Serving

__all__ = ["app"]

app = noun()


@app.command(
    epilog=examples(
        "overnight serve",
        "overnight serve --data /var/lib/overnight --folder /srv/agents",
        "OVERNIGHT_API_TOKEN=… overnight serve --host 0.0.0.0 --port 80",
    )
)
def serve(
    data: Annotated[Path, typer.Option(metavar="DIR", help="The folder of everything it keeps.")] = Path(".overnight"),
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Where to listen; other than loopback only with OVERNIGHT_API_TOKEN set.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65_535, help="0 takes any that is free.")] = 8321,
    database: Annotated[
        str | None,
        typer.Option(metavar="URL", envvar="OVERNIGHT_DATABASE_URL", help="A database other than SQLite in the folder."),
    ] = None,
    folders: Annotated[
        list[Path] | None,
        typer.Option("--folder", metavar="DIR", help="Python agents lie below it; the working folder if not given."),
    ] = None,
    packages: Annotated[
        list[str] | None, typer.Option("--package", metavar="NAME", help="An installed package with Python agents.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=1_000, help="How many attempts run at once; 2 a processor.")
    ] = None,
    drain: Annotated[
        float,
        typer.Option("--drain-seconds", metavar="SECONDS", min=0, help="How long attempts may go on after Ctrl-C."),
    ] = 30.0,
    log_level: Annotated[
        str, typer.Option(metavar="LEVEL", help="debug, info, warning or error; lifecycle events are info.")
    ] = "info",
) -> None:
    """Start the engine, with its API, in this terminal.

    The first Ctrl-C (or SIGTERM) lets what runs end, a second one hurries; what is cut off goes on at the next start.
    """
    from overnight.embedded.observe import log_to_stderr  # noqa: PLC0415 - `--help` needs none of it
    from overnight.embedded.serve import serve as run  # noqa: PLC0415
    from overnight.embedded.wiring import Settings  # noqa: PLC0415

    chosen: dict[str, Any] = {"folders": folders or None, "packages": packages or None, "workers": workers}
    given = {name: value for name, value in chosen.items() if value is not None}
    log_to_stderr(log_level.upper())
    run(
        Settings(data=data, database=database, **given),
        host=host,
        port=port,
        token=os.environ.get("OVERNIGHT_API_TOKEN") or None,
        drain_seconds=drain,
        ready=lambda serving: _tell(serving, data),
    )


def _tell(serving: "Serving", data: Path) -> None:
    warn(f"overnight serves at {serving.url}, with its data in {data}; Ctrl-C ends it")
