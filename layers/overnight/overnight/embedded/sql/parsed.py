"""Words that were written or read lately, parsed: what a row says is mostly what it was given here last."""

from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Parsed"]

W = TypeVar("W")


class Parsed(Generic[W]):
    """So many words, by id, with the JSON that each is in its row: another JSON is parsed.

    Args:
        parse: makes the word of its JSON.
        most: how many are kept.
    """

    def __init__(self, parse: Callable[[str], W], most: int) -> None:
        self._parse = parse
        self._most = most
        self._words: dict[str, tuple[str, W]] = {}

    def of(self, id_: str, body: str) -> W:
        """The word of the row of that id, whose JSON is this."""
        kept = self._words.get(id_)
        if kept is not None and kept[0] == body:
            return kept[1]
        word = self._parse(body)
        self.keep(id_, body, word)
        return word

    def keep(self, id_: str, body: str, word: W) -> None:
        """Keep what is written."""
        self._words[id_] = body, word
        while len(self._words) > self._most:
            self._words.pop(next(iter(self._words)), None)

    def drop(self, id_: str) -> None:
        """Forget one."""
        self._words.pop(id_, None)
