"""The CDK app: `cdk synth`, `cdk deploy` and so on start it. It says what is wrong in one line, and exits 1."""

import os
import sys

import aws_cdk as cdk

from infra.bundling import CannotBundle
from infra.settings import InvalidContext, Settings
from infra.stack import OvernightStack

__all__ = ["main"]


def main() -> None:
    """Synthesise the stack that the context describes."""
    app = cdk.App()
    try:
        settings = Settings.read(app.node.get_all_context())
        region = settings.home or os.environ.get("CDK_DEFAULT_REGION")
        environment = cdk.Environment(account=os.environ.get("CDK_DEFAULT_ACCOUNT"), region=region)
        OvernightStack(app, settings, env=environment)
        app.synth()
    except (InvalidContext, CannotBundle) as wrong:
        sys.exit(f"overnight: {wrong}")


if __name__ == "__main__":
    main()
