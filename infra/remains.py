"""What stays behind a destroyed stack, with what removes it: `make destroy` ends with this list.

Takes the arguments that `cdk destroy` took, for the stack's name, the region and the profile.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3

from infra.settings import Settings

__all__ = ["main", "remains"]

REMOVE = {
    "AWS::DynamoDB::GlobalTable": (
        "aws dynamodb update-table --table-name {0} --no-deletion-protection-enabled && "
        "aws dynamodb delete-table --table-name {0}"
    ),
    "AWS::S3::Bucket": (
        "python -c \"import boto3; boto3.resource('s3').Bucket('{0}').object_versions.delete()\" && aws s3 rb s3://{0}"
    ),
}
"""How what is retained can be removed."""


def main() -> None:
    """List it on standard output."""
    settings, session = _asked(sys.argv[1:])
    clients = {service: session.client(service) for service in ("cloudformation", "ssm")}
    lines = list(remains(settings.name, clients))
    if lines:
        print("Of the stack these stay, until you remove them:", *lines, sep="\n  ")
    print("CDK's own bootstrap stack, CDKToolkit, and what was uploaded to its bucket, stay for other stacks.")


def remains(name: str, clients: Mapping[str, Any]) -> Iterator[str]:
    """A line for each thing that a destroyed stack left in the account."""
    for kind, id_ in _skipped(name, clients["cloudformation"]):
        how = f", removed by: {REMOVE[kind].format(id_)}" if kind in REMOVE else ""
        yield f"{kind} {id_}{how}"
    path = f"/overnight/{name}"
    pages = clients["ssm"].get_paginator("get_parameters_by_path").paginate(Path=path, Recursive=True)
    for page in pages:
        for parameter in page["Parameters"]:
            kept = parameter["Name"]
            yield f"AWS::SSM::Parameter {kept}, removed by: aws ssm delete-parameter --name {kept}"


def _skipped(name: str, cloudformation: Any) -> Iterator[tuple[str, str]]:
    """Type and id of each resource that the newest deletion of a stack of that name left alone."""
    pages = cloudformation.get_paginator("list_stacks").paginate(StackStatusFilter=["DELETE_COMPLETE"])
    gone = [stack for page in pages for stack in page["StackSummaries"] if stack["StackName"] == name]
    if not gone:
        return
    stack_id = max(gone, key=lambda stack: stack["DeletionTime"])["StackId"]
    for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack_id):
        for resource in page["StackResourceSummaries"]:
            if resource["ResourceStatus"] == "DELETE_SKIPPED":
                yield resource["ResourceType"], resource["PhysicalResourceId"]


def _asked(arguments: list[str]) -> tuple[Settings, boto3.Session]:
    parser = argparse.ArgumentParser()
    parser.add_argument("-c", "--context", action="append", default=[])
    parser.add_argument("--profile")
    asked, _ = parser.parse_known_args(arguments)
    context = json.loads(Path("cdk.json").read_text(encoding="utf-8"))["context"]
    context |= dict(pair.partition("=")[::2] for pair in asked.context)
    settings = Settings.read(context)
    return settings, boto3.Session(profile_name=asked.profile, region_name=settings.region)


if __name__ == "__main__":
    main()
