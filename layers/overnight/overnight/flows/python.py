"""A Python agent, named as `package.module:callable`.

The callable may be sync or async. It is given the run's Context if it has a required parameter, or one named `context`;
otherwise it is called without arguments. A LangGraph graph, or anything else with `ainvoke` or `invoke`, is given the
input as its state: an `input_value` that is a JSON object, else `{"messages": [<input_value, said by the user>]}`, else
the payload of the firing.

What it returns: text is the result's text; a dict is its outputs, and its "text", if that is text, the text; None
is nothing; anything else with a form in JSON becomes `{"result": …}`. A Result is taken as it is.

While it runs, the agent's variables are in `os.environ` as well, where the clients of model providers look for them.
"""

import importlib
import importlib.util
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Literal

from overnight.flows.call import JSON, Allowed, Call, CallInput, FiringContext, FlowFailure, PythonFlow, Result
from overnight.flows.failures import failure_of, permanent
from overnight.flows.loop import run_in_loop
from overnight.flows.outputs import NotJsonError, as_json

_TARGET = re.compile(r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)")


@dataclass(frozen=True, slots=True)
class Context:
    """What a callable is told of its run. `attempt` counts from 1; times are UTC."""

    execution_id: str
    agent: str
    attempt: int
    session_id: str
    input: CallInput
    firing: FiringContext
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def input_value(self) -> str | None:
        """What is said to the agent."""
        return self.input.input_value


def run(call: Call, flow: PythonFlow, allowed: Allowed) -> Result:
    """Run one attempt to its end on this thread. Raises FlowFailure."""
    with _environment(call.variables):
        target = load(flow.target, allowed)
        try:
            returned = _called(target, call, flow.target, allowed)
            if inspect.isawaitable(returned):
                returned = run_in_loop(_awaited(returned))
        except FlowFailure:
            raise
        except BaseException as error:
            raise failure_of(error, in_component=False) from error
        return _result(returned, flow.target)


@lru_cache(maxsize=256)
def load(target: str, allowed: Allowed) -> Any:
    """The object that `package.module:callable` names, if its package is allowed, which is decided before any import.

    It is remembered, as Python does its module: what changes on disk is seen by processes that start afterwards.
    Raises FlowFailure: not of that form, not allowed, not there, or broken.
    """
    match = _TARGET.fullmatch(target)
    if match is None:
        message = f"{target!r} does not name a callable: write package.module:callable, for example reports.daily:run."
        raise permanent("InvalidTarget", message)
    for folder in reversed(allowed.folders):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    _check_allowed(match["module"], allowed)
    module = _imported(match["module"])
    try:
        return getattr(module, match["name"])
    except AttributeError as error:
        message = f"Module {match['module']} has no {match['name']!r}: correct the agent's flow, or add the function."
        raise permanent("MissingCallable", message) from error


def _check_allowed(module: str, allowed: Allowed) -> None:
    top = module.partition(".")[0]
    spec = _spec_of(top)
    if spec is None:
        message = (
            f"There is no module {top!r} {_where(allowed)}: correct the agent's flow, "
            "or name the folder that it lies in (`overnight serve --project DIR`)."
        )
        raise permanent("ModuleNotFoundError", message)
    if top not in allowed.packages and not _lies_below(spec, allowed.folders):
        message = (
            f"Module {top!r} may not be run: it lies at {spec.origin or 'no file'}, and is not allowed. "
            f"Put it {_where(allowed)}, or allow its package (`overnight serve --package {top}`)."
        )
        raise permanent("NotAllowed", message)


def _spec_of(top: str) -> ModuleSpec | None:
    """Where a top-level module would come from; asking executes nothing of it."""
    importlib.invalidate_caches()
    try:
        return importlib.util.find_spec(top)
    except ValueError:  # a module that is loaded and has no spec, such as __main__
        return None


def _lies_below(spec: ModuleSpec, folders: tuple[str, ...]) -> bool:
    if spec.submodule_search_locations is not None:
        places = list(spec.submodule_search_locations)
    else:
        places = [spec.origin] if spec.has_location and spec.origin else []
    roots = [Path(folder).resolve() for folder in folders]
    return bool(places) and all(any(Path(place).resolve().is_relative_to(r) for r in roots) for place in places)


def _where(allowed: Allowed) -> str:
    return f"below {' or '.join(allowed.folders)}" if allowed.folders else "below an allowed folder (there is none)"


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except BaseException as error:
        failure = failure_of(error, in_component=False)
        failure.retryable = isinstance(error, OSError | MemoryError)
        if (
            isinstance(error, ModuleNotFoundError)
            and error.name is not None
            and f"{name}.".startswith(f"{error.name}.")
        ):
            failure.message = f"There is no module {error.name!r}: correct the agent's flow, or add the file."
        else:
            failure.message = f"Module {name} cannot be imported: {failure.message}"
        raise failure from error


def _called(target: Any, call: Call, name: str, allowed: Allowed) -> Any:
    context = Context(
        execution_id=call.execution_id,
        agent=call.agent,
        attempt=call.attempt,
        session_id=call.input.session_id,
        input=call.input,
        firing=call.firing,
        variables=dict(call.variables),
    )
    if (invoke := _invocation(target)) is not None:
        return invoke(_state(call), config=_config(call))
    if not callable(target):
        raise permanent(
            "NotCallable", f"{type(target).__name__} is neither callable nor a graph with invoke or ainvoke."
        )
    match _takes_context(name, allowed):
        case "positional":
            return target(context)
        case "keyword":
            return target(context=context)
        case "nothing":
            return target()


def _invocation(target: Any) -> Callable[..., Any] | None:
    if inspect.isroutine(target) or inspect.isclass(target):
        return None
    return getattr(target, "ainvoke", None) or getattr(target, "invoke", None)


@lru_cache(maxsize=256)
def _takes_context(target: str, allowed: Allowed) -> Literal["positional", "keyword", "nothing"]:
    """How the callable that is loaded so wants the run's context."""
    try:
        parameters = list(inspect.signature(load(target, allowed)).parameters.values())
    except (TypeError, ValueError):  # a builtin without a signature
        return "nothing"
    required = [p for p in parameters if p.default is p.empty and p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD}]
    if len(required) > 1:
        names = ", ".join(p.name for p in required)
        message = f"The callable requires {names}; it is given the run's context alone: let it take one parameter."
        raise permanent("WrongSignature", message)
    taken = required[0] if required else next((p for p in parameters if p.name == "context"), None)
    if taken is None:
        return "nothing"
    return "keyword" if taken.kind is taken.KEYWORD_ONLY else "positional"


def _state(call: Call) -> JSON:
    value = call.input.input_value
    if value is None:
        return call.firing.payload if isinstance(call.firing.payload, Mapping) else {}
    try:
        state = json.loads(value)
    except ValueError:
        state = None
    return state if isinstance(state, dict) else {"messages": [{"role": "user", "content": value}]}


def _config(call: Call) -> dict[str, JSON]:
    metadata: dict[str, JSON] = {"execution_id": call.execution_id, "agent": call.agent, "attempt": call.attempt}
    return {"configurable": {"thread_id": call.input.session_id or call.execution_id}, "metadata": metadata}


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def _result(returned: Any, target: str) -> Result:
    try:
        match returned:
            case Result():
                as_json(returned.outputs)
                return returned
            case None:
                return Result()
            case str():
                return Result(text=str.__str__(returned))
            case Mapping():
                return _outputs_of(as_json(returned))
            case _:
                return Result(outputs={"result": as_json(returned)})
    except NotJsonError as error:
        message = f"{target} returned what cannot be kept: {error}. Return text, or what JSON can express."
        raise permanent("NotJson", message) from error


def _outputs_of(outputs: JSON) -> Result:
    if not isinstance(outputs, Mapping):  # pragma: no cover - a mapping's JSON is a mapping
        raise TypeError(outputs)
    return Result(text=_text_of(outputs), outputs=outputs)


def _text_of(outputs: Mapping[str, JSON]) -> str | None:
    """The "text" of a dict, or the content of the last of its "messages", which is how a LangGraph graph answers."""
    text = outputs.get("text")
    messages = outputs.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(text, str) and isinstance(last, Mapping):
        text = last.get("content")
    return text if isinstance(text, str) else None


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


__all__ = ["Context", "FlowFailure", "load", "run"]
