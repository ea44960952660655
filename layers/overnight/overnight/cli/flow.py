"""A flow as users name it: a Langflow export's path, or `package.module:callable`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overnight.cli.failure import Failure
from overnight.cli.values import json_file

__all__ = ["PythonTarget", "flow_document", "python_target"]

_CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def flow_document(flow: str, folder: Path) -> dict[str, Any]:
    """What an agent document says for the flow; a path is relative to the folder, and its JSON is read.

    Raises:
        Failure: it is neither, or the file can't be read.
    """
    if not flow.endswith(".json") and _CALLABLE.fullmatch(flow):
        return {"python": flow}
    path = folder / flow
    if not flow.endswith(".json") and not path.is_file():
        raise Failure(f"{flow!r} is neither the path of a flow's JSON file nor package.module:callable")
    document = json_file(path)
    if not isinstance(document, dict):
        raise Failure(f"{path}: a flow is a JSON object")
    return {"langflow": document}


@dataclass(frozen=True, slots=True)
class PythonTarget:
    """A callable, and the folder that its module is looked for in."""

    name: str
    folder: Path


def python_target(text: str) -> PythonTarget | None:
    """`package.module:callable` from the working folder, or `path/to/script.py:callable`; None if it is neither."""
    place, colon, name = text.rpartition(":")
    if colon and place.endswith(".py") and name.isidentifier():
        script = Path(place)
        if not script.is_file():
            raise Failure(f"{place}: no such file")
        if not script.stem.isidentifier():
            raise Failure(f"{place}: {script.stem!r} can't be imported; a module's name is letters, digits and _")
        return PythonTarget(f"{script.stem}:{name}", script.resolve().parent)
    return PythonTarget(text, Path.cwd()) if _CALLABLE.fullmatch(text) and not text.endswith(".json") else None
