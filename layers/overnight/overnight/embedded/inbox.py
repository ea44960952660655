"""The inbox: a folder of JSON files, each an event or a list of events, in any of the known envelopes.

    new.json ──> accepted ──> done/new.json
        │  └──> refused for now: stays, and is tried again
        └─────> not to be accepted ──> failed/new.json, with failed/new.json.reason.txt beside

Write a file under another name (or elsewhere on the same disk) and rename it: what does not end in `.json` is left
alone. One that can't be read yet is given a few seconds, in case it is still being written. Of a list, `failed/` gets
the events that can't be accepted; the others were, and the list goes to `done/`.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import JsonValue

from overnight.core import events
from overnight.core.envelopes import parse, unwrap
from overnight.embedded.files import replace, sync
from overnight.errors import Invalid, OvernightError
from overnight.ports import Ports

__all__ = ["LIMIT_BYTES", "Inbox", "prepare"]

LIMIT_BYTES = 10 * 1024 * 1024
"""How large a file may be."""

UNFINISHED = timedelta(seconds=5)
"""How long a file that is no JSON may be one that is still being written."""

AGAIN = timedelta(seconds=5)
"""When a file is looked at again that could not be dealt with."""

FILES_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class _Found:
    """A file as it was found: its name, when it was written (ns), its size in bytes."""

    path: Path
    written_ns: int
    size: int

    def id_of(self, content: bytes) -> str:
        """The id of what it says, if that has none: the same after a crash, another for a file that comes again."""
        seed = f"{self.path.name}\n{self.written_ns}\n".encode() + content
        return f"file:{hashlib.sha256(seed).hexdigest()[:32]}"


def prepare(folder: Path) -> None:
    """Make the folder, with `done` and `failed` in it. Raises Invalid (`inbox`)."""
    try:
        for each in (folder, folder / "done", folder / "failed"):
            each.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Invalid.field("inbox", f"{folder}: {error.strerror}") from error


class Inbox:
    """Sends the events that it finds in a folder."""

    def __init__(self, ports: Ports, folder: Path) -> None:
        """Of a folder that `prepare` has made ready."""
        self._ports = ports
        self._folder = folder
        self._done = folder / "done"
        self._failed = folder / "failed"
        self._later: dict[Path, datetime] = {}

    def look(self) -> int:
        """Deal with the files that are there, by name; how many were. One that can't be holds up no other."""
        now = self._ports.now()
        self._later = {path: at for path, at in self._later.items() if at > now}
        looked = 0
        for found in self._files():
            if looked == FILES_AT_ONCE:
                break
            if found.path in self._later:
                continue
            looked += 1
            try:
                dealt_with = self._deal_with(found, now)
            except (OSError, OvernightError) as error:
                self._ports.observe("inbox.delayed", file=found.path.name, error=f"{type(error).__name__}: {error}")
                dealt_with = False
            if not dealt_with:
                self._later[found.path] = now + AGAIN
        return looked

    def _files(self) -> Iterator[_Found]:
        with os.scandir(self._folder) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith(".json") and entry.name[0] != ".")
        for name in names:
            path = self._folder / name
            with suppress(FileNotFoundError):
                about = path.lstat()
                if stat.S_ISREG(about.st_mode):
                    yield _Found(path, about.st_mtime_ns, about.st_size)

    def _deal_with(self, found: _Found, now: datetime) -> bool:
        """Send a file's events and move it; False to look at it later. Raises LineFull, Unavailable, OSError."""
        if found.size > LIMIT_BYTES:
            self._fail(found, None, [f"it has more than {LIMIT_BYTES:,} bytes"])
            return True
        try:
            content = found.path.read_bytes()
        except FileNotFoundError:
            return True
        try:
            message = parse(content)
        except Invalid as error:
            if _is_recent(found, now):
                return False
            self._fail(found, None, [str(error)])
            return True
        listed = message if isinstance(message, list) else [message]
        poison: list[JsonValue] = []
        why: list[str] = []
        for number, each in enumerate(listed):
            try:
                for event in unwrap(each, f"{found.id_of(content)}:{number}", now):
                    events.accept(self._ports, event)
            except (Invalid, ValueError) as error:
                poison.append(each)
                why.append(f"{number}: {error}" if isinstance(message, list) else str(error))
        if len(poison) == len(listed) and poison:
            self._fail(found, None, why)
        else:
            if poison:
                self._fail(found, poison, [*why, f"the other {len(listed) - len(poison)} were accepted"])
            self._move(found, self._done)
            self._ports.observe("inbox.accepted", file=found.path.name, events=len(listed) - len(poison))
        return True

    def _fail(self, found: _Found, instead: list[JsonValue] | None, why: list[str]) -> None:
        """Put a file aside, or the part of it that failed, with the reason beside, which is there first."""
        name = _free(self._failed, found)
        replace(self._failed / f"{name}.reason.txt", ("\n".join(why) + "\n").encode("utf-8", "replace"))
        if instead is None:
            self._move(found, self._failed)
        else:
            replace(self._failed / name, json.dumps(instead, ensure_ascii=False, indent=2).encode())
        self._ports.observe("inbox.failed", file=found.path.name, error="; ".join(why)[:1_000])

    def _move(self, found: _Found, folder: Path) -> None:
        found.path.replace(folder / _free(folder, found))
        sync(folder)
        sync(self._folder)


def _free(folder: Path, found: _Found) -> str:
    """The file's name; with the time of writing in it, where another file has that already."""
    if not (folder / found.path.name).exists():
        return found.path.name
    return f"{found.path.stem}.{found.written_ns}{found.path.suffix}"


def _is_recent(found: _Found, now: datetime) -> bool:
    return now.timestamp() - found.written_ns / 1e9 < UNFINISHED.total_seconds()
