"""The module of Python agents on the harness: what they do, the test says."""

from tests.aws.harness.stage import play

__all__ = ["run"]


def run(context):
    return play(context)
