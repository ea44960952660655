"""The embedded engine: API, alarm clock, watchdog and workers in one process."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from overnight.cli.noun import examples, noun

__all__ = ["app"]

app = noun()

DATA = Path(".overnight")


@app.command(
    epilog=examples(
        "overnight serve",
        "overnight serve --data /var/lib/overnight --port 8080",
        "OVERNIGHT_API_TOKEN=… overnight serve --host 0.0.0.0",
    )
)
def serve(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="The folder of everything it keeps.")] = DATA,
    host: Annotated[
        str,
        typer.Option("--host", metavar="HOST", help="Where to listen; other than loopback needs OVERNIGHT_API_TOKEN."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65_535, help="0 is any that is free.")
    ] = 8321,
    project: Annotated[
        list[Path] | None,
        typer.Option("--project", metavar="DIR", help="Folder of Python agents; may be given again. [default: .]"),
    ] = None,
    package: Annotated[
        list[str] | None,
        typer.Option("--package", metavar="NAME", help="Installed package that agents may run; may be given again."),
    ] = None,
    inbox: Annotated[
        Path | None,
        typer.Option("--inbox", metavar="DIR", help="A folder of JSON files, each an event or a list of events."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", min=1, max=256, help="Attempts at once. [default: 2 a core, at least 4]"
        ),
    ] = None,
    drain_seconds: Annotated[
        float,
        typer.Option("--drain-seconds", metavar="SECONDS", min=0, help="What running attempts get when it is stopped."),
    ] = 30.0,
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="URL",
            envvar="OVERNIGHT_DATABASE",
            help="PostgreSQL, which several engines may share: postgresql+psycopg://… [default: SQLite in DIR]",
        ),
    ] = None,
    private: Annotated[
        bool | None,
        typer.Option(
            "--private/--no-private",
            help="Whether Langflow servers and receivers of notifications may have private addresses. "
            "[default: Langflow servers may, receivers may not]",
            show_default=False,
        ),
    ] = None,
    log_level: Annotated[
        str, typer.Option("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR.")
    ] = "INFO",
) -> None:
    """Keep agents working, until it is stopped.

    SIGTERM or Ctrl-C drains: running attempts get --drain-seconds, the rest is put back and goes on at the next start.
    A second one hurries. The log is JSON lines on standard error.
    """
    from overnight.embedded.observe import log_to_stderr  # noqa: PLC0415 - the engine takes a while to import
    from overnight.embedded.serve import serve as serve_engine  # noqa: PLC0415
    from overnight.embedded.wiring import Settings, open_engine  # noqa: PLC0415

    log_to_stderr(log_level.upper())
    settings = Settings(
        data=data,
        database=database,
        folders=tuple(project or (Path.cwd(),)),
        packages=tuple(package or ()),
        workers=workers or max(4, 2 * (os.cpu_count() or 1)),
        private=private,
        inbox=inbox,
    )
    serve_engine(
        open_engine(settings),
        host=host,
        port=port,
        token=os.environ.get("OVERNIGHT_API_TOKEN") or None,
        drain_seconds=drain_seconds,
        ready=_say_ready,
    )


def _say_ready(url: str) -> None:
    """For people, and in the log for programs."""
    logging.getLogger("overnight").info("engine.serving", extra={"facts": {"url": url}})
    if sys.stderr.isatty():
        sys.stderr.write(f"Overnight serves at {url}  (API: {url}/docs, stop: Ctrl-C)\n")
        sys.stderr.flush()
