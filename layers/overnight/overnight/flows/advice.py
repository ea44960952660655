"""Advice on a flow: what in it does not work unattended, and what to use in its place."""

import re

__all__ = ["on_approval", "on_trigger"]

_INSTEAD = {
    "Slack": "let Slack's Events API post to a trigger of the agent: {name: slack, webhook: {signature: slack}}",
    "Microsoft|Outlook|Teams|OneDrive|SharePoint": (
        "let a Power Automate flow post to a trigger of the agent: {name: microsoft, webhook: {signature: token}}"
    ),
    "Google|Gmail|Drive": (
        "let an Apps Script or a Pub/Sub push subscription post to a trigger of the agent: "
        "{name: google, webhook: {signature: token}}"
    ),
    "": "give the agent a schedule, webhook or event trigger of its own",
}


def on_trigger(label: str, kind: str) -> str:
    """For a trigger node of a type that nothing fires here."""
    instead = next(instead for pattern, instead in _INSTEAD.items() if re.search(pattern, kind))
    return f"{label} is fired by nothing here; {instead}"


def on_approval(label: str) -> str:
    """For a node that waits for a person."""
    return (
        f"{label} waits for a person's approval, which an unattended run cannot get, so every run will fail; "
        "remove it from the flow"
    )
