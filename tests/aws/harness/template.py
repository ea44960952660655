"""The template as `cdk synth` writes it, with its assets, and the values that CloudFormation would put into it."""

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import infra  # noqa: F401 - says in which Node CDK runs, before CDK is imported

import aws_cdk as cdk  # isort: skip
from infra.settings import Settings
from infra.stack import OvernightStack

__all__ = ["Assembly", "Resource", "references", "resolve", "synthesise"]

ROOT = Path(__file__).parents[3]
UNBUNDLED = {"aws:cdk:bundling-stacks": []}

Resource = dict[str, Any]
"""A resource as the template has it: `Type`, `Properties`, `DependsOn`, `DeletionPolicy`."""


@dataclass(frozen=True)
class Assembly:
    """A synthesised stack: its name, its template, and the files that would be uploaded with it."""

    name: str
    template: Mapping[str, Any]
    folder: Path

    @property
    def resources(self) -> Mapping[str, Resource]:
        """By logical id."""
        resources: Mapping[str, Resource] = self.template["Resources"]
        return resources

    def files(self) -> Iterator[tuple[str, Path]]:
        """Assets that are uploaded as they are, by the key under which they are."""
        assets = json.loads((self.folder / f"{self.name}.assets.json").read_text(encoding="utf-8"))
        for asset in assets["files"].values():
            if asset["source"]["packaging"] == "file":
                for destination in asset["destinations"].values():
                    yield destination["objectKey"], self.folder / asset["source"]["path"]


@cache
def _folder() -> Path:
    kept = tempfile.TemporaryDirectory(prefix="overnight-synth-")
    _folder.kept = kept  # type: ignore[attr-defined]  # until the process ends
    return Path(kept.name)


@cache
def _flags() -> Mapping[str, Any]:
    context: Mapping[str, Any] = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]
    return context


def synthesise(**context: Any) -> Assembly:
    """The stack in that context, without bundles; the same context is synthesised once only."""
    return _synthesise(json.dumps(context, sort_keys=True, default=str))


@cache
def _synthesise(context: str) -> Assembly:
    settings = Settings.read(json.loads(context))
    folder = Path(tempfile.mkdtemp(dir=_folder()))
    app = cdk.App(context={**UNBUNDLED, **_flags()}, outdir=str(folder))
    OvernightStack(app, settings, env=cdk.Environment(region=settings.home))
    app.synth()
    template = json.loads((folder / f"{settings.name}.template.json").read_text(encoding="utf-8"))
    return Assembly(settings.name, template, folder)


# Intrinsic functions

Lookup = Callable[[str, str | None], Any]
"""The value of a resource or pseudo parameter: by `Ref` (no attribute), or an attribute of it."""

_PLACEHOLDER = re.compile(r"\$\{(!?)([^}]+)\}")


def resolve(value: Any, lookup: Lookup) -> Any:
    """The value with every intrinsic function replaced. Raises NotImplementedError for one that is not known here."""
    if isinstance(value, list):
        resolved = [resolve(each, lookup) for each in value]
        return [each for each in resolved if each is not NO_VALUE]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((name, argument),) = value.items()
        if name == "Ref":
            return lookup(argument, None)
        if name.startswith("Fn::"):
            return _call(name, argument, lookup)
    resolved_fields = {key: resolve(each, lookup) for key, each in value.items()}
    return {key: each for key, each in resolved_fields.items() if each is not NO_VALUE}


NO_VALUE = object()
"""What `AWS::NoValue` is: the property is as if it were not there."""


def _call(name: str, argument: Any, lookup: Lookup) -> Any:
    match name:
        case "Fn::GetAtt":
            resource, attribute = argument if isinstance(argument, list) else argument.split(".", 1)
            return lookup(resource, attribute)
        case "Fn::Join":
            separator, parts = argument
            return separator.join(map(str, resolve(parts, lookup)))
        case "Fn::Sub":
            text, given = argument if isinstance(argument, list) else (argument, {})
            return _substitute(text, resolve(given, lookup), lookup)
        case "Fn::Select":
            number, values = argument
            return resolve(values, lookup)[int(number)]
        case "Fn::Split":
            separator, text = argument
            return resolve(text, lookup).split(separator)
    raise NotImplementedError(f"the template uses {name}, which the harness does not know")


def _substitute(text: str, given: Mapping[str, Any], lookup: Lookup) -> str:
    def value(found: re.Match[str]) -> str:
        literal, name = found.groups()
        if literal:
            return f"${{{name}}}"
        if name in given:
            return str(given[name])
        resource, _, attribute = name.partition(".")
        return str(lookup(resource, attribute or None))

    return _PLACEHOLDER.sub(value, text)


def references(value: Any) -> Iterator[str]:
    """Every name that a value refers to: resources, and pseudo parameters."""

    def note(name: str, _: str | None) -> str:
        names.append(name)
        return ""

    names: list[str] = []
    _walk(value, note)
    yield from names


def _walk(value: Any, note: Lookup) -> None:
    if isinstance(value, list):
        for each in value:
            _walk(each, note)
    elif isinstance(value, dict):
        for name, each in value.items():
            if name == "Ref":
                note(each, None)
            elif name == "Fn::GetAtt":
                note(each[0] if isinstance(each, list) else each.split(".", 1)[0], None)
            elif name == "Fn::Sub":
                _substitute(each[0] if isinstance(each, list) else each, {}, note)
                _walk(each, note)
            else:
                _walk(each, note)
