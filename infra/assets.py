"""Bundles as CDK takes them: zips made without Docker, or an image."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import jsii
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_lambda as lambda_

from infra.bundling import Bundle

__all__ = ["code", "image"]

DOCKERFILE = Path(__file__).with_name("Dockerfile")


@jsii.implements(cdk.ILocalBundling)
class _Local:
    """Makes a bundle when CDK asks for it, which it does not where an asset of that hash is there."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def try_bundle(self, output_dir: str, *_: Any, **__: Any) -> bool:
        """Whether it was made; there is no other way to make it."""
        self._bundle.make(Path(output_dir))
        return True


def code(bundle: Bundle) -> lambda_.Code:
    """The bundle as a zip, made when it is needed."""
    return lambda_.Code.from_asset(
        str(bundle.lock.parent),
        asset_hash=bundle.digest,
        asset_hash_type=cdk.AssetHashType.CUSTOM,
        bundling=cdk.BundlingOptions(
            image=cdk.DockerImage.from_registry("never-asked-for"),
            local=_Local(bundle),  # type: ignore[arg-type]  # jsii knows it by its decorator
        ),
    )


def image(bundle: Bundle) -> lambda_.DockerImageCode:
    """The bundle as a container image, which `cdk deploy` builds and pushes; nothing of it is left away."""
    context = Path(tempfile.mkdtemp(prefix="overnight-"))  # CDK copies it
    bundle.stage(context)
    shutil.copyfile(DOCKERFILE, context / "Dockerfile")
    platform = ecr_assets.Platform.LINUX_ARM64 if bundle.architecture == "arm64" else ecr_assets.Platform.LINUX_AMD64
    return lambda_.DockerImageCode.from_image_asset(str(context), platform=platform)
