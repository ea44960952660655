"""Files that are on disk when the call returns, and of which a crash leaves all or nothing."""

import os
import tempfile
from pathlib import Path

__all__ = ["replace", "sync", "written"]


def written(folder: Path, content: bytes) -> Path:
    """A new file in the folder with that content, on disk, for its owner only; to be given its name afterwards."""
    descriptor, name = tempfile.mkstemp(prefix=".unfinished-", dir=folder)
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def replace(path: Path, content: bytes) -> None:
    """Make that the content of the file, whether it exists or not."""
    written(path.parent, content).replace(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Make a change of names in the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
