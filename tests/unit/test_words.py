"""What all words have in common: they are built when they are first used, and frozen."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema

from overnight.agents import Slot
from overnight.executions import Firing, FiringKind, Held
from overnight.words import Word

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Slow:
    """A field whose schema takes until a second thread has come, or has been kept out."""

    def __init__(self) -> None:
        self.built = 0
        self.two = threading.Event()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        self.built += 1
        if self.built > 1:
            self.two.set()
        self.two.wait(0.2)
        return handler(source)


def test_a_word_that_two_threads_use_first_is_built_once():
    slow = Slow()

    class Name(Word):
        name: Annotated[str, slow]

    assert slow.built == 0, "nothing is built before it is used"
    with ThreadPoolExecutor(2) as threads:
        words = list(threads.map(lambda name: Name(name=name), "ab"))
    assert [word.name for word in words] == ["a", "b"]
    assert slow.built == 1


def test_a_word_is_copied_as_pydantic_copies_it():
    tick = Firing(agent_id="a", kind=FiringKind.SCHEDULE, dedupe_key="tick:t:1", payload=Held(value={"sizes": [1]}))
    for update in (None, {}, {"count": 2, "trigger": "t"}):
        copy, same = tick.model_copy(update=update), BaseModel.model_copy(tick, update=update)
        assert (copy, copy.model_fields_set, repr(copy)) == (same, same.model_fields_set, repr(same))
        assert copy.model_dump_json(exclude_unset=True) == same.model_dump_json(exclude_unset=True)
    assert tick.count == 1
    assert tick.model_fields_set == {"agent_id", "kind", "dedupe_key", "payload"}
    assert hash(Slot(attempt=1, since=NOON, look_at=NOON).model_copy()) == hash(
        Slot(attempt=1, since=NOON, look_at=NOON)
    )
    deep = tick.model_copy(deep=True)
    assert deep == tick
    assert deep.payload is not tick.payload
