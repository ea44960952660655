"""Bundles as CDK takes them: zips made without Docker, or an image."""

import hashlib
import shutil
import tempfile
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.bundling import Bundle

__all__ = ["code", "image"]

DOCKERFILE = Path(__file__).with_name("Dockerfile")


def code(scope: Construct, bundle: Bundle) -> lambda_.Code:
    """The bundle as a zip. It is not made where CDK needs none: to destroy the stack, or to test its template.

    CDK's own bundling would take what an interrupted run left behind for a bundle; so it is made before.
    """
    if cdk.Stack.of(scope).bundling_required:
        return lambda_.Code.from_asset(str(bundle.made()), asset_hash=bundle.digest)
    # Under another hash, or CDK would find this in cdk.out later, and deploy it.
    return lambda_.Code.from_asset(
        str(bundle.lock.parent), asset_hash=hashlib.sha256(f"not made: {bundle.digest}".encode()).hexdigest()
    )


def image(bundle: Bundle) -> lambda_.DockerImageCode:
    """The bundle as a container image, which `cdk deploy` builds and pushes; nothing of it is left away."""
    context = Path(tempfile.mkdtemp(prefix="overnight-"))  # CDK copies it
    bundle.stage(context)
    shutil.copyfile(DOCKERFILE, context / "Dockerfile")
    platform = ecr_assets.Platform.LINUX_ARM64 if bundle.architecture == "arm64" else ecr_assets.Platform.LINUX_AMD64
    return lambda_.DockerImageCode.from_image_asset(str(context), platform=platform)
