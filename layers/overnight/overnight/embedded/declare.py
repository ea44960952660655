"""An agent declared in Python: `Agent(name="report", flow=report, schedule={"cron": "0 8 * * *"})`."""

import importlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from overnight.errors import Invalid

__all__ = ["Agent", "target_of"]

Flow: TypeAlias = "Callable[..., Any] | str | os.PathLike[str] | Mapping[str, Any]"
Schedule: TypeAlias = Mapping[str, Any] | str | timedelta

_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class Agent:
    """An agent: one flow, its triggers, its policies.

    `flow` is a function (or the name of one, `package.module:callable`), the path of a Langflow flow's JSON, or what a
    document says. A function is imported by worker processes, so it must stand at the top of a module or script.
    `schedule` is short for one trigger: a document, a cron expression in UTC, or how often. `input` is a document, or
    the input value alone. Without `schedule` and `triggers`, a Langflow flow's own trigger nodes are the triggers;
    `triggers=[]` has none. The other fields are those of the agent document; what is left out has its default, but for
    `enabled`: an agent declared in Python runs.

    Raises:
        Invalid: the flow is none of these, or no worker could import it.
    """

    def __init__(
        self,
        name: str,
        flow: Flow,
        *,
        description: str | None = None,
        enabled: bool = True,
        schedule: Schedule | None = None,
        triggers: Iterable[Mapping[str, Any]] | None = None,
        input: Mapping[str, Any] | str | None = None,  # noqa: A002 - the document's own word
        variables: Mapping[str, str] | None = None,
        retries: Mapping[str, Any] | None = None,
        concurrency: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
        start_deadline_seconds: float | None = None,
        pause_after_failures: int | None = None,
        notify: Mapping[str, Any] | None = None,
        retention_days: int | None = None,
    ) -> None:
        self.name = name
        self.package: str | None = None
        """The top-level package or module that the flow's function is in, if it is one."""
        said = {
            "name": name,
            "flow": self._flow(flow),
            "description": description,
            "enabled": enabled,
            "schedule": None if schedule is None else _schedule(schedule),
            "triggers": None if triggers is None else list(triggers),
            "input": {"input_value": input} if isinstance(input, str) else input,
            "variables": variables,
            "retries": retries,
            "concurrency": concurrency,
            "timeout_seconds": timeout_seconds,
            "start_deadline_seconds": start_deadline_seconds,
            "pause_after_failures": pause_after_failures,
            "notify": notify,
            "retention_days": retention_days,
        }
        self._document = {field: value for field, value in said.items() if value is not None}

    def document(self) -> dict[str, Any]:
        """The agent document, as the API takes it."""
        return dict(self._document)

    def __repr__(self) -> str:
        """By its name."""
        return f"Agent({self.name!r})"

    def _flow(self, flow: Flow) -> Mapping[str, Any]:
        if isinstance(flow, Mapping):
            return flow
        if isinstance(flow, str) and not flow.endswith(".json") and _TARGET.fullmatch(flow):
            return self._python(flow)
        if isinstance(flow, str | os.PathLike):
            return {"langflow": _read(Path(flow))}
        return self._python(target_of(flow))

    def _python(self, target: str) -> Mapping[str, Any]:
        self.package = target.partition(":")[0].partition(".")[0]
        return {"python": target}


def target_of(function: Callable[..., Any]) -> str:
    """How a worker finds a function: `module:name`.

    Raises:
        Invalid: a lambda, a closure, a method, or not what its module has under its name.
    """
    name = getattr(function, "__qualname__", None)
    module_name = getattr(function, "__module__", None)
    if not isinstance(name, str) or not isinstance(module_name, str):
        kind = type(function).__name__
        raise _refused(f"a {kind} object has no name of its own; give the flow as 'package.module:name'")
    if "<lambda>" in name:
        raise _refused("a lambda can't be imported by a worker; write a function at the top of the module")
    if "." in name:
        what = "is made inside a function" if "<locals>" in name else "belongs to a class"
        raise _refused(f"{name} {what}, so a worker can't import it; move it to the top of the module")
    module = sys.modules.get(module_name) or importlib.import_module(module_name)
    if getattr(module, name, function) is not function:
        raise _refused(f"{module_name} has another {name!r} than this one, and a worker would run that one")
    return f"{_script_module(module, name) if module_name == '__main__' else module_name}:{name}"


def _script_module(main: ModuleType, name: str) -> str:
    """As what workers import the script that was started: the name of its file, or of its module (`python -m`)."""
    if main.__spec__ is not None:
        return main.__spec__.name
    if not getattr(main, "__file__", None):
        raise _refused(f"{name} was typed into an interpreter; write it to a file, so that a worker can import it")
    script = Path(str(main.__file__))
    if script.suffix != ".py" or not script.stem.isidentifier():
        raise _refused(f"{script.name} can't be imported: a module's name is letters, digits and _, and ends in .py")
    return script.stem


def _schedule(schedule: Schedule) -> Mapping[str, Any]:
    if isinstance(schedule, str):
        return {"cron": schedule}
    if isinstance(schedule, timedelta):
        if schedule.microseconds:
            raise Invalid.field("schedule", "an interval is a whole number of seconds")
        return {"interval": {"seconds": int(schedule.total_seconds())}}
    return schedule


def _read(path: Path) -> dict[str, Any]:
    try:
        flow = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise _refused(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:
        raise _refused(f"{path}: not a flow's JSON: {error}") from error
    if not isinstance(flow, dict):
        raise _refused(f"{path}: a flow is a JSON object")
    return flow


def _refused(message: str) -> Invalid:
    return Invalid.field("flow", message)
