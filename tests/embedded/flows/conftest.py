"""Real flows in a real lfx. It is imported once, which takes seconds, and then serves every test here."""

import gc
import warnings
from pathlib import Path

import pytest
from tests.support.openai_server import OpenAIServer

from overnight.flows import preload

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Model clients that lfx makes are never closed, only collected; lfx and LangChain use what is deprecated."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"))


@pytest.fixture(scope="session")
def _lfx():
    preload()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _clean(_lfx):
    """Collect what model clients leave open here: elsewhere its warning would be another test's error."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture(scope="session")
def _openai():
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def openai(_openai):
    """A model behind a loopback server, with nothing scripted."""
    _openai.script()
    return _openai
