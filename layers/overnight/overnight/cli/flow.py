"""A flow as users name it: a Langflow export's path, or `package.module:callable`."""

import re

from pathlib import Path
from typing import Any

from overnight.cli.failure import Failure
from overnight.cli.values import json_file

__all__ = ["flow_document"]

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
