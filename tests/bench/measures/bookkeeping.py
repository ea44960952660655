"""What a million executions cost beside their flows, worked out from the counts that the tests hold the engine to."""

from infra import costs

FLOWS = "Flows"


def measure() -> dict[str, dict[str, float]]:
    """By what is paid for."""
    dollars = {line.what: line.dollars for line in costs.million() if line.what != FLOWS}
    return {what: {"$": price} for what, price in (dollars | {"Together": sum(dollars.values())}).items()}
