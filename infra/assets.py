"""Bundles as CDK takes them."""

from pathlib import Path
from typing import Any

import aws_cdk as cdk
import jsii
from aws_cdk import aws_lambda as lambda_

from infra.bundling import Bundle

__all__ = ["code"]


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
    """The bundle, made when it is needed."""
    return lambda_.Code.from_asset(
        str(bundle.lock.parent),
        asset_hash=bundle.digest,
        asset_hash_type=cdk.AssetHashType.CUSTOM,
        bundling=cdk.BundlingOptions(
            image=cdk.DockerImage.from_registry("never-asked-for"),
            local=_Local(bundle),  # type: ignore[arg-type]  # jsii knows it by its decorator
        ),
    )
