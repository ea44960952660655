"""A stack that is deployed, with the harness's own flows; and the rule that no function does what its role forbids."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.aws.harness.stack import Stack


@pytest.fixture
def stacks() -> Iterator[Callable[..., Stack]]:
    """Makes stacks, not deployed yet, in accounts of their own."""
    made: list[Stack] = []

    def make(**context: Any) -> Stack:
        made.append(Stack(**context))
        return made[-1]

    yield make
    for each in made:
        each.close()
    refused = [what for each in made for what in each.world.refused]
    assert not refused, refused


@pytest.fixture
def stack(stacks) -> Stack:
    """A stack with the defaults."""
    made: Stack = stacks()
    made.deploy()
    return made
