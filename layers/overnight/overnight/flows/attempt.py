"""One attempt of a flow, whatever its kind, inside a worker."""

from overnight.flows.call import Allowed, Call, FlowFailure, LangflowApiFlow, LangflowFlow, PythonFlow, Result
from overnight.flows.failures import failure_of, permanent, redacted
from overnight.flows.ready import prepare


def run(call: Call, allowed: Allowed) -> Result:
    """Run one attempt to its end, in this process and thread.

    Raises FlowFailure and nothing else, whatever the flow does: `sys.exit()` in a component ends the attempt, not the
    worker. The values of `call.variables` are in no failure.
    """
    try:
        return _run(call, allowed)
    except FlowFailure as failure:
        raise redacted(failure, call.variables) from None
    except BaseException as error:  # noqa: BLE001 - a flow may raise anything, and the worker goes on
        raise redacted(failure_of(error), call.variables) from None


def _run(call: Call, allowed: Allowed) -> Result:
    match call.flow:
        case LangflowFlow() as flow:
            _prepare_langflow()
            from overnight.flows import langflow  # noqa: PLC0415 - imports lfx, which takes seconds

            return langflow.run(call, flow)
        case PythonFlow() as flow:
            from overnight.flows import python  # noqa: PLC0415 - only what this kind of flow needs

            return python.run(call, flow, allowed)
        case LangflowApiFlow() as flow:
            from overnight.flows import langflow_api  # noqa: PLC0415 - imports httpx

            return langflow_api.run(call, flow, allowed)


def _prepare_langflow() -> None:
    try:
        prepare()
    except ImportError as error:
        message = f"Langflow flows need lfx: pip install 'overnight[langflow]' in the engine's environment. ({error})"
        raise permanent(type(error).__name__, message) from error
