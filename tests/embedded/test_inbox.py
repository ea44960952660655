"""The inbox: files become events, each once; what can't be accepted is put aside and blocks nothing."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.fuse import Crash, fuse
from tests.support.world import World

from overnight.embedded.inbox import LIMIT_BYTES, Inbox, prepare
from overnight.errors import Invalid, Unavailable


class Folder:
    """An inbox, and what is put into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.world = World()
        self.world.agent(triggers=[{"name": "on", "event": {"name": "x"}}], concurrency={"on_overlap": "allow"})
        prepare(path)
        self.inbox = Inbox(self.world.ports, path)

    def put(self, name: str, content: Any, *, age: float = 60) -> Path:
        """A file that was written so long ago."""
        path = self.path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        at = self.world.now.timestamp() - age
        os.utime(path, (at, at))
        return path

    def look(self) -> list[Any]:
        """Look once; the data of all events so far, in their order."""
        self.inbox.look()
        self.world.drain()
        return sorted(ran.payload["data"] for ran in self.world.flows.ran if ran.payload)  # type: ignore[index,call-overload]

    def names(self, folder: str = ".") -> list[str]:
        return sorted(path.name for path in (self.path / folder).iterdir() if path.is_file())

    def reason(self, name: str) -> str:
        return (self.path / "failed" / f"{name}.reason.txt").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path / "inbox")
    yield made
    made.world.close()


def test_a_file_is_an_event_or_a_list_of_events(folder: Folder):
    folder.put("1.json", {"name": "x", "id": "e", "data": 1})
    folder.put("2.json", [{"name": "x", "data": 2}, {"name": "other"}, {"name": "x", "data": 3}])
    assert folder.look() == [1, 2, 3]
    assert folder.names() == []
    assert folder.names("done") == ["1.json", "2.json"]


def test_envelopes_are_unwrapped(folder: Folder):
    inner = {"name": "x", "data": 1}
    folder.put("a.json", {"Type": "Notification", "TopicArn": "t", "MessageId": "m", "Message": json.dumps(inner)})
    assert folder.look() == [1]


def test_what_is_no_event_is_put_aside_with_the_reason_and_holds_up_nothing(folder: Folder):
    folder.put("1.json", "{no json")
    folder.put("2.json", {"hello": "world"})
    folder.put("3.json", {"name": "not a name"})
    folder.put("4.json", {"name": "x", "data": "good"})
    (folder.path / "5.json").symlink_to(folder.path / "4.json")
    (folder.path / "6.json").mkdir()
    os.mkfifo(folder.path / "7.json")
    assert folder.look() == ["good"]
    failed = ["1.json", "2.json", "3.json"]
    assert folder.names("failed") == sorted([*failed, *(f"{name}.reason.txt" for name in failed)])
    assert "not JSON" in folder.reason("1.json")
    assert "is no event" in folder.reason("2.json")
    assert "name" in folder.reason("3.json")


def test_of_a_list_that_is_partly_good_the_rest_is_put_aside(folder: Folder):
    listed = [{"name": "x", "data": 1}, {"name": ""}, {"name": "x", "data": 2}, 7]
    folder.put("a.json", listed)
    assert folder.look() == [1, 2]
    assert json.loads((folder.path / "done/a.json").read_text()) == listed
    assert json.loads((folder.path / "failed/a.json").read_text()) == [listed[1], listed[3]]
    assert folder.reason("a.json").splitlines()[-1] == "the other 2 were accepted"


def test_a_file_that_is_too_large_is_put_aside_unread(folder: Folder):
    folder.put("a.json", " " * (LIMIT_BYTES + 1))
    assert folder.look() == []
    assert f"{LIMIT_BYTES:,}" in folder.reason("a.json")


def test_a_file_that_is_being_written_is_given_time(folder: Folder):
    folder.put("a.json", '{"name": "x", ', age=1)
    assert folder.look() == []
    assert folder.names() == ["a.json"]
    folder.put("a.json", {"name": "x", "data": 1}, age=0)
    folder.world.advance(6)
    assert folder.look() == [1]


def test_other_names_are_left_alone(folder: Folder):
    for name in ("a.json.part", ".hidden.json", "notes.txt"):
        folder.put(name, {"name": "x"})
    assert folder.look() == []
    assert len(folder.names()) == 3


def test_a_full_line_delays_a_file_and_no_other(folder: Folder):
    triggers = [{"name": "on", "event": {"name": "y"}}]
    folder.world.agent("narrow", triggers=triggers, concurrency={"queue_limit": 1})
    folder.world.hold("narrow")
    for _ in range(2):
        folder.world.trigger("narrow")
        folder.world.drain()
    folder.put("1.json", {"name": "y", "data": 0})
    folder.put("2.json", {"name": "x", "data": 1})
    folder.look()
    assert folder.names() == ["1.json"]
    assert folder.names("failed") == []
    for _ in range(2):
        folder.world.finish(next(iter(folder.world.under)))
        folder.world.drain()
    folder.look()
    assert folder.names() == ["1.json"], "not at once again"
    folder.world.advance(6)
    folder.look()
    assert folder.names("done") == ["1.json", "2.json"]


def test_a_store_that_does_not_answer_delays_every_file(folder: Folder, monkeypatch: pytest.MonkeyPatch):
    folder.put("a.json", {"name": "x", "data": 1})

    def down(_: object) -> None:
        raise Unavailable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(folder.world.store, "event", down)
        folder.look()
    assert folder.names() == ["a.json"]
    folder.world.advance(6)
    assert folder.look() == [1]


@pytest.mark.parametrize("writes", range(1, 8))
def test_a_crash_sends_no_event_twice(folder: Folder, writes: int):
    folder.put("a.json", [{"name": "x", "data": 1}, {"name": "x", "data": 2}])
    folder.world.watch_writes(fuse(writes))
    try:
        Inbox(folder.world.ports, folder.path).look()
    except Crash:
        assert folder.names() == ["a.json"]
    folder.world.restart()
    Inbox(folder.world.ports, folder.path).look()
    folder.world.live(minutes=2)
    assert sorted(given.payload["data"] for given in folder.world.flows.ran) == [1, 2]  # type: ignore[index,call-overload,arg-type,type-var]
    assert folder.names("done") == ["a.json"]


def test_the_same_content_again_is_another_event_unless_it_says_its_id(folder: Folder):
    for age in (60, 50):
        folder.put("a.json", {"name": "x", "data": "anew"}, age=age)
        folder.put("b.json", {"name": "x", "id": "e", "data": "once"}, age=age)
        folder.look()
    assert folder.look() == ["anew", "anew", "once"]
    assert len(folder.names("done")) == 4


def test_many_files_are_dealt_with_bit_by_bit(folder: Folder):
    for n in range(150):
        folder.put(f"{n:03}.json", {"name": "x", "data": n})
    assert folder.look() == list(range(100))
    assert folder.look() == list(range(150))


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Invalid, match="inbox"):
        prepare(tmp_path / "file/inbox")
