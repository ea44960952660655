"""Running a flow once, here and now, without a server."""

import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from overnight.cli.failure import Failure, Findings
from overnight.cli.noun import examples, noun
from overnight.cli.options import Json
from overnight.cli.terminal import print_json, say, warn
from overnight.cli.values import json_value, named, text_of

if TYPE_CHECKING:
    from overnight.flows.call import Flow, FlowFailure, Result

__all__ = ["app"]

app = noun()


@app.command(
    epilog=examples(
        'overnight run flows/hello.json --input "Good morning"',
        "overnight run chat.json --input Hello --var OPENAI_API_KEY=env:OPENAI_API_KEY",
        'overnight run chat.json --tweaks \'{"OpenAIModel-Ab1cD": {"temperature": 0}}\'',
        'overnight run reports.daily:run --input "Report on Monday" --json',
    )
)
def run(
    flow: Annotated[str, typer.Argument(metavar="FLOW", help="A flow's JSON file, or package.module:callable.")],
    input_value: Annotated[str | None, typer.Option("--input", metavar="TEXT", help="What it is given.")] = None,
    tweaks: Annotated[str | None, typer.Option(metavar="JSON", help="Fields of its components, or @file.")] = None,
    payload: Annotated[str | None, typer.Option(metavar="JSON", help="What fired it, or @file.")] = None,
    variables: Annotated[
        list[str] | None,
        typer.Option("--var", metavar="NAME=VALUE", help="A variable; NAME=env:X takes it from the environment."),
    ] = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="The chat session it belongs to.")] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="It is ended after so long.")] = 600.0,
    json: Json = False,
) -> None:
    """Run a flow once, without a server.

    Its text goes to standard output, what it prints itself to standard error.
    """
    from overnight.cli.attempt import attempt  # noqa: PLC0415 - `--help` needs none of it
    from overnight.flows.call import Allowed, Call, CallInput, FiringContext, FlowFailure, PythonFlow  # noqa: PLC0415

    chosen, folder = _flow(flow)
    execution_id = uuid.uuid4().hex
    call = Call(
        execution_id=execution_id,
        agent_id="run",
        agent="run",
        attempt=1,
        flow=chosen,
        input=CallInput(
            input_value=input_value,
            tweaks=json_value(tweaks, "--tweaks") or {},
            session_id=session or execution_id,
        ),
        variables=_values(variables or []),
        firing=FiringContext(payload=json_value(payload, "--payload")),
    )
    packages = (chosen.target.partition(":")[0].partition(".")[0],) if isinstance(chosen, PythonFlow) else ()
    allowed = Allowed(folders=(str(folder),), packages=packages, private_addresses=True)
    try:
        result = attempt(call, allowed, timeout)
    except FlowFailure as failure:
        _print_failure(failure, json=json)
        raise Findings from failure
    _print_result(result, json=json)


def _flow(text: str) -> tuple["Flow", Path]:
    """The flow, and the folder that its modules are looked for in."""
    from overnight.cli.flow import python_target  # noqa: PLC0415
    from overnight.flows.call import LangflowFlow, PythonFlow  # noqa: PLC0415

    if target := python_target(text):
        return PythonFlow(target.name), target.folder
    if not text.endswith(".json") and not Path(text).is_file():
        raise Failure(f"{text!r} is neither the path of a flow's JSON file nor package.module:callable")
    return LangflowFlow(text_of(Path(text))), Path.cwd()


def _values(pairs: list[str]) -> dict[str, str]:
    values = named(pairs, "--var")
    for name, value in values.items():
        reference, colon, key = value.partition(":")
        if colon and reference == "env":
            if key not in os.environ:
                raise Failure(f"--var {name}: the environment has no {key}")
            values[name] = os.environ[key]
        elif colon and reference == "secret":
            raise Failure(f"--var {name}: secrets are kept by an engine; without one, use env: or the value itself")
    return values


def _print_result(result: "Result", *, json: bool) -> None:
    from dataclasses import asdict  # noqa: PLC0415

    if json:
        print_json(asdict(result))
    elif result.text is not None:
        say(result.text)
    elif result.outputs:
        print_json(result.outputs)


def _print_failure(failure: "FlowFailure", *, json: bool) -> None:
    if json:
        told: dict[str, Any] = {
            "type": failure.error_type,
            "message": failure.message,
            "retryable": failure.retryable,
            "component": failure.component,
            "traceback": failure.traceback,
        }
        print_json({"failure": told})
        return
    warn(f"error: {' '.join(str(failure).split())}")
