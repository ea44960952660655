"""One attempt of a flow, inside a worker: langflow, python or langflow_api."""

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

__all__ = [
    "JSON",
    "Allowed",
    "Call",
    "CallInput",
    "FiringContext",
    "Flow",
    "FlowFailure",
    "LangflowApiFlow",
    "LangflowFlow",
    "PythonFlow",
    "Result",
    "Usage",
]
