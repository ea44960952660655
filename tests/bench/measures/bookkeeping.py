"""What a million executions cost beside their flows, worked out from the counts that the tests hold the engine to."""

from infra import costs

FLOWS = "Flows"


def measure() -> dict[str, float]:
    lines = [line for line in costs.million() if line.what != FLOWS]
    return {f"{line.what} ($)": line.dollars for line in lines} | {"together ($)": sum(line.dollars for line in lines)}
