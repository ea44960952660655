"""docs/agents.md, from the JSON Schema of agents.yaml, which `overnight schema` prints."""

from pathlib import Path
from typing import Any

from tools.docs.schemas import Schemas, table

from overnight.api.schemas import schema

__all__ = ["page"]

_HEADINGS = ("field", "type", "default", "meaning")
_SECTIONS = {
    "DeclaredAgent": "The agent",
    "PythonFlow": "flow: python",
    "LangflowUpload": "flow: langflow",
    "LangflowApi": "flow: langflow_api",
    "Input": "input",
    "Retries": "retries",
    "Concurrency": "concurrency",
    "Notify": "notify",
    "CronTrigger": "cron",
    "IntervalTrigger": "interval",
    "Every": "The length of an interval",
    "DateTrigger": "date",
    "Exclude": "exclude",
    "ExcludedRange": "exclude: ranges",
    "EventTrigger": "event",
    "Event": "The event",
    "WebhookTrigger": "webhook",
    "Webhook": "The webhook",
}
"""Each schema that gets a table, and its heading; the text of the page says where."""


def page() -> str:
    """The page: the text beside this module, with a table of fields for each `{{Schema}}`."""
    said = schema()
    named = said["$defs"]
    links = {name: f"#{_anchor(heading)}" for name, heading in _SECTIONS.items()}
    links |= {"LangflowApiFlow": links["LangflowApi"], "ShortCron": links["CronTrigger"]}
    links |= {"ShortInterval": links["IntervalTrigger"], "ShortDate": links["DateTrigger"]}
    schemas = Schemas(named, links)
    text = Path(__file__).with_name("agents.md").read_text(encoding="utf-8")
    for name, heading in _SECTIONS.items():
        text = text.replace(f"{{{{{name}}}}}", f"### {heading}\n\n{_section(named[name], schemas)}")
    return text


def _section(schema: dict[str, Any], schemas: Schemas) -> str:
    return "\n".join([schema.get("description", ""), *table(_HEADINGS, schemas.rows(schema))])


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    return "".join(c for c in heading.lower().replace(" ", "-") if c.isalnum() or c in "-_")
