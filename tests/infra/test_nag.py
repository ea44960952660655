"""AWS's own rules, against the template: cdk-nag's AwsSolutions, and CloudFormation's schemas."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("variant", ["stack", "switched"])
def test_cdk_nag_finds_nothing_that_has_no_reason(variant, request):
    found = request.getfixturevalue(variant).found
    assert not found, "\n".join(found)


@pytest.mark.parametrize("variant", ["stack", pytest.param("switched", marks=pytest.mark.slow)])
def test_cfn_lint_finds_nothing(variant, request):
    template = request.getfixturevalue(variant).path
    # W3005: CDK writes dependencies that follow from references, too.
    linter = Path(sys.executable).with_name("cfn-lint")
    command = [str(linter), "--ignore-checks", "W3005", "--", str(template)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0
