"""The program itself, as a person can type it here."""

import os
import shlex
import shutil
import sys
from pathlib import Path

__all__ = ["program"]

NAME = "overnight"


def program(folder: Path = Path()) -> str:
    """What starts this command line from within a folder: its name where PATH leads to it, else where it lies."""
    own = _own()
    if own is None:
        return f"{shlex.quote(sys.executable)} -m overnight.cli"
    found = shutil.which(NAME)
    if found is not None and Path(found).resolve() == own.resolve():
        return NAME
    near = os.path.relpath(own, folder)
    return shlex.quote(min(str(own), near, key=len))


def _own() -> Path | None:
    """The script that was started; else the one beside the interpreter."""
    started = Path(sys.argv[0])
    for script in (started, Path(sys.executable).with_name(NAME)):
        if script.name == NAME and script.is_file():
            return script.absolute()
    return None
