"""Flows: what a Langflow export says about itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from overnight.cli.failure import Failure
from overnight.cli.noun import examples, noun
from overnight.cli.options import Json
from overnight.cli.terminal import print_json, print_sheet
from overnight.cli.values import text_of

if TYPE_CHECKING:
    from overnight.flows.inspect import FlowReport, NodeName, VariableReport

__all__ = ["app"]

app = noun()


@app.callback()
def flows() -> None:
    """Look into a flow's JSON."""


@app.command(
    epilog=examples("overnight flows inspect flows/hello.json", "overnight flows inspect flows/hello.json --json")
)
def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A flow's JSON, as Langflow exports it.")],
    json: Json = False,
) -> None:
    """Show a flow's triggers, packages and variables.

    It is read, not executed, and Langflow need not be installed.
    """
    from dataclasses import asdict  # noqa: PLC0415

    from overnight.flows.inspect import inspect as report_of  # noqa: PLC0415 - `--help` needs none of it

    try:
        report = report_of(text_of(file))
    except ValueError as error:
        raise Failure(f"{file}: {error}") from error
    if json:
        print_json(asdict(report))
    else:
        _print(report)


def _print(report: "FlowReport") -> None:
    print_sheet(
        [
            ("name", report.name),
            ("digest", report.digest),
            ("triggers", "\n".join(f"{_node(each.node)}: {_trigger(each.document)}" for each in report.triggers)),
            ("inputs", _nodes(report.inputs)),
            ("outputs", _nodes(report.outputs)),
            ("packages", ", ".join(report.packages)),
            ("packages, if used", ", ".join(report.packages_on_use)),
            ("variables", "\n".join(map(_variable, report.variables))),
            ("empty secrets", "\n".join(map(_variable, report.secrets))),
            ("waits for a person", _nodes(report.approvals)),
            ("not supported", _nodes(report.unsupported)),
            ("advice", "\n".join(report.advice)),
        ]
    )


def _node(node: "NodeName") -> str:
    return f"{node.display_name or node.type} ({node.id})"


def _nodes(nodes: "tuple[NodeName, ...]") -> str:
    return "\n".join(map(_node, nodes))


def _variable(variable: "VariableReport") -> str:
    read = f"{variable.field} of {_node(variable.node)}"
    return f"{variable.name}, read by {read}" if variable.name else read


def _trigger(document: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in document.items() if name != "name")
