"""CloudFormation as far as the stack needs it: order, create, update, roll back, destroy, retain; custom resources.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-update-behaviors.html
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any, Protocol, runtime_checkable

from tests.aws.harness.account import REGION
from tests.aws.harness.template import NO_VALUE, Assembly, references, resolve

__all__ = ["Cloud", "Failed", "Kept", "Kind", "Made", "RolledBack"]

Properties = Mapping[str, Any]


class Failed(Exception):
    """A resource could not be created, updated or deleted; `ref` is what half of it may be there as."""

    def __init__(self, reason: str, ref: str | None = None) -> None:
        self.ref = ref
        super().__init__(reason)


class RolledBack(Exception):
    """A deployment failed; everything is as it was before."""


@dataclass
class Made:
    """What came of a resource: what `Ref` gives, and what `Fn::GetAtt` gives."""

    ref: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Kind(Protocol):
    """How resources of a type are made; `logical` is the id in the template."""

    def create(self, logical: str, properties: Properties) -> Made:
        """Make it. Raises Failed."""

    def update(self, logical: str, made: Made, properties: Properties, before: Properties) -> Made:
        """Change it; another `ref` means that it was replaced, and the old one is deleted later. Raises Failed."""

    def delete(self, logical: str, made: Made, properties: Properties) -> None:
        """Delete it. Raises Failed."""


@runtime_checkable
class Importable(Protocol):
    """Resources with names of their own, which an earlier stack may have left."""

    def take_up(self, properties: Properties) -> Made | None:
        """The resource of that name, if it is there."""


@dataclass
class Kept:
    """A resource that is there."""

    kind: str
    made: Made
    properties: Properties
    retained: bool
    needs: frozenset[str]


class Cloud:
    """The resources of one stack.

    Args:
        account_id: the account.
        kinds: how the resources of each type are made.
    """

    def __init__(self, account_id: str, kinds: Mapping[str, Kind]) -> None:
        self._account_id = account_id
        self.kinds = kinds
        self.name = ""
        self.there: dict[str, Kept] = {}
        """What is there, by logical id, in the order in which it was made."""
        self.outputs: dict[str, Any] = {}
        self.stayed: list[tuple[str, str]] = []
        """Type and name of what the last `destroy` left."""

    def deploy(self, assembly: Assembly, *, import_existing: bool = False) -> list[str]:
        """Make the stack what the template says; the ids of what changed. Raises RolledBack.

        With `import_existing`, what has a name of its own and is there already is taken up.
        """
        self.name = assembly.name
        before = dict(self.there)
        undo: list[str] = []
        replaced: list[tuple[str, Kept]] = []
        for logical in _order(assembly):
            try:
                changed = self._make(logical, assembly, replaced, import_existing=import_existing)
            except Failed as failed:
                if logical not in before and failed.ref is not None:
                    resource = assembly.resources[logical]
                    properties = self._resolved(resource.get("Properties", {}))
                    self.kinds[resource["Type"]].delete(logical, Made(failed.ref), properties)
                self._roll_back([*undo, logical], before)
                raise RolledBack(f"{logical}: {failed}") from failed
            if changed:
                undo.append(logical)
        gone = [logical for logical in before if logical not in assembly.resources]
        self._clean_up(replaced, gone)
        self.outputs = {
            name: self._resolved(output["Value"]) for name, output in assembly.template.get("Outputs", {}).items()
        }
        return [*undo, *gone]

    def destroy(self) -> None:
        """Delete the stack, all but what is to be retained."""
        self.stayed = []
        for logical, kept in reversed(self._sorted()):
            if kept.retained:
                self.stayed.append((kept.kind, kept.made.ref))
            else:
                self.kinds[kept.kind].delete(logical, kept.made, kept.properties)
        self.there.clear()
        self.outputs.clear()

    def get_paginator(self, operation: str) -> "_Pages":
        """As a client of CloudFormation: what it says of the stack that was destroyed."""
        match operation:
            case "list_stacks":
                gone = {"StackName": self.name, "StackId": "1", "DeletionTime": 1}
                return _Pages({"StackSummaries": [gone]})
            case "list_stack_resources":
                stayed = [
                    {"ResourceType": kind, "PhysicalResourceId": ref, "ResourceStatus": "DELETE_SKIPPED"}
                    for kind, ref in self.stayed
                ]
                return _Pages({"StackResourceSummaries": stayed})
        raise NotImplementedError(operation)

    def of(self, kind: str) -> dict[str, Kept]:
        """All resources of a type, by logical id."""
        return {logical: kept for logical, kept in self.there.items() if kept.kind == kind}

    def one(self, kind: str, part: str = "") -> Kept:
        """The only resource of a type whose logical id has that part."""
        (found,) = (kept for logical, kept in self.of(kind).items() if part in logical)
        return found

    # Deploying

    def _make(
        self, logical: str, assembly: Assembly, replaced: list[tuple[str, Kept]], *, import_existing: bool
    ) -> bool:
        resource = assembly.resources[logical]
        kind = self.kinds.get(resource["Type"])
        if kind is None:
            raise NotImplementedError(f"the harness does not know {resource['Type']}")
        properties = self._resolved(resource.get("Properties", {}))
        kept = self.there.get(logical)
        if kept is not None and kept.properties == properties:
            kept.needs = _needs(resource)
            return False
        if kept is None:
            taken_up = kind.take_up(properties) if import_existing and isinstance(kind, Importable) else None
            made = taken_up or kind.create(logical, properties)
        else:
            made = kind.update(logical, kept.made, properties, kept.properties)
            if made.ref != kept.made.ref:
                replaced.append((logical, kept))
        retained = resource.get("DeletionPolicy", "Delete") != "Delete"
        self.there[logical] = Kept(resource["Type"], made, properties, retained, _needs(resource))
        return True

    def _clean_up(self, replaced: Iterable[tuple[str, Kept]], gone: Iterable[str]) -> None:
        for logical, kept in replaced:
            self.kinds[kept.kind].delete(logical, kept.made, kept.properties)
        leaving = set(gone)
        for logical, kept in reversed(self._sorted()):
            if logical in leaving:
                del self.there[logical]
                if not kept.retained:
                    self.kinds[kept.kind].delete(logical, kept.made, kept.properties)

    def _roll_back(self, touched: Sequence[str], before: Mapping[str, Kept]) -> None:
        """Update back what was updated, delete what is new; the resource that failed is among them."""
        for logical in touched:
            old, new = before.get(logical), self.there.get(logical)
            if old is not None:
                kind = self.kinds[old.kind]
                now = new or old
                old.made = kind.update(logical, now.made, old.properties, now.properties)
                self.there[logical] = old
        for logical in reversed(touched):
            new = self.there.pop(logical) if logical not in before and logical in self.there else None
            if new is not None and not new.retained:
                self.kinds[new.kind].delete(logical, new.made, new.properties)

    # What the template refers to

    def _resolved(self, value: Any) -> Any:
        return resolve(value, self._look_up)

    def _look_up(self, name: str, attribute: str | None) -> Any:
        if name.startswith("AWS::"):
            return self._pseudo[name]
        kept = self.there[name]
        if attribute is None:
            return kept.made.ref
        if attribute not in kept.made.attributes:
            raise NotImplementedError(f"the harness does not know the attribute {attribute} of {kept.kind}")
        return kept.made.attributes[attribute]

    @property
    def _pseudo(self) -> dict[str, Any]:
        return {
            "AWS::AccountId": self._account_id,
            "AWS::Region": REGION,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": self.name,
            "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{self._account_id}:stack/{self.name}/1",
            "AWS::NoValue": NO_VALUE,
        }

    def _sorted(self) -> list[tuple[str, Kept]]:
        """What is there, what is needed before what needs it."""
        graph = {logical: kept.needs & self.there.keys() for logical, kept in self.there.items()}
        return [(logical, self.there[logical]) for logical in TopologicalSorter(graph).static_order()]


class _Pages:
    """A paginator that has one page."""

    def __init__(self, page: Mapping[str, Any]) -> None:
        self._page = page

    def paginate(self, **_: Any) -> list[Mapping[str, Any]]:
        """The page."""
        return [self._page]


def _order(assembly: Assembly) -> list[str]:
    graph = {logical: _needs(resource) & assembly.resources.keys() for logical, resource in assembly.resources.items()}
    return list(TopologicalSorter(graph).static_order())


def _needs(resource: Mapping[str, Any]) -> frozenset[str]:
    depends = resource.get("DependsOn", [])
    return frozenset(references(resource.get("Properties", {}))) | frozenset(
        [depends] if isinstance(depends, str) else depends
    )
