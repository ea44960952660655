"""Getting lfx ready ahead of need: importing it takes seconds, and so does the first flow of a process.

`prepare` makes this process able to run Langflow flows; `preload` also does, before any flow needs it, what lfx and a
model provider do on first use. Both may be called again, and in the process from which workers are forked: neither
leaves a thread or a connection behind.
"""

import gc
import importlib
import importlib.util
import os
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

DEFAULT_PROVIDERS = ("langchain_openai",)
"""Imported by `preload` where installed: the provider that most flows use takes a second by itself."""

_ENVIRONMENT = {
    "DO_NOT_TRACK": "true",
    "LANGFLOW_DO_NOT_TRACK": "true",
    "LANGFLOW_LOG_LEVEL": "CRITICAL",  # what goes wrong is in the attempt's failure; lfx would print it as well
    "LANGFLOW_RESTRICT_LOCAL_FILE_ACCESS": "false",  # components that read files take absolute paths only without it
}


def prepare() -> ModuleType:
    """Import what runs Langflow flows, `overnight.flows.langflow`, in an environment that suits it.

    Sets LANGFLOW_CONFIG_DIR to a temporary folder, and more, unless set. Raises ImportError where lfx is missing.
    """
    os.environ.setdefault("LANGFLOW_CONFIG_DIR", _config_folder())
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside lfx and LangChain: nothing a reader of our log can mend
        return importlib.import_module("overnight.flows.langflow")


def preload(providers: Iterable[str] = DEFAULT_PROVIDERS) -> tuple[str, ...]:
    """Do ahead of need what makes the first flow slow; gives the providers that were there to be imported.

    What is in memory afterwards is kept from the garbage collector, so that forked workers go on sharing it. Not to be
    called from a running event loop. Raises ImportError where lfx is missing.
    """
    langflow = prepare()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        langflow.warm_up()
        found = tuple(name for name in providers if importlib.util.find_spec(name) is not None)
        for name in found:
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    return found


def _config_folder() -> str:
    folder = Path(tempfile.gettempdir()) / f"overnight-langflow-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return str(folder)
