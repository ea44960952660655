"""One attempt of a flow, inside a worker: langflow, python or langflow_api.

`run` executes a Call; `preload` gets lfx ready ahead of need. `overnight.flows.inspect` reads a flow without lfx.
"""

from overnight.flows.attempt import run
from overnight.flows.call import (
    JSON,
    Allowed,
    Call,
    CallInput,
    FiringContext,
    Flow,
    FlowFailure,
    LangflowApiFlow,
    LangflowFlow,
    PythonFlow,
    Result,
    Usage,
)
from overnight.flows.document import FlowDocumentError, digest, validate
from overnight.flows.failures import Permanent, Retry
from overnight.flows.ready import preload, prepare

__all__ = [
    "JSON",
    "Allowed",
    "Call",
    "CallInput",
    "FiringContext",
    "Flow",
    "FlowDocumentError",
    "FlowFailure",
    "LangflowApiFlow",
    "LangflowFlow",
    "Permanent",
    "PythonFlow",
    "Result",
    "Retry",
    "Usage",
    "digest",
    "preload",
    "prepare",
    "run",
    "validate",
]
