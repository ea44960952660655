"""Words are built when they are first used, whichever thread that is."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema

from overnight.words import Word


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
