"""docs/api.md, from the OpenAPI document that every engine serves at /openapi.json."""

from collections.abc import Iterator
from typing import Any, cast

from aws_lambda_powertools.event_handler import HttpResolverLocal
from tools.docs.schemas import Schemas, cell, table

from overnight.api.app import mount
from overnight.api.openapi import ANY, WITH_BODY, WITH_PATH, WITH_TOKEN, document
from overnight.ports import Ports

__all__ = ["page"]

_HEAD = """\
# The HTTP API

This page is generated from the OpenAPI document (`make docs`). A running engine serves that document at
`/openapi.json`, a page to try it at `/docs`, and Prometheus metrics at `/metrics`.

{description}
An engine that was started with `OVERNIGHT_API_TOKEN` wants it in every request but `GET /health` and the deliveries of
[webhooks](webhooks.md), as `Authorization: Bearer <token>`. A browser may send it as the password of Basic
authentication, under any user name.

{{agent}} in a path is the agent's id or its name.

```sh
curl -X POST http://127.0.0.1:8321/api/v1/background_agents/report/trigger \\
  -H 'Content-Type: application/json' -H 'Idempotency-Key: order-42' -d '{{"input_value": "Monday"}}'
```

Every route may refuse a request with one of these; what else a route answers stands with it.

| status | when |
|---|---|
{refusals}
"""


def page() -> str:
    """The page."""
    resolver = mount(HttpResolverLocal(enable_validation=True), cast(Ports, None))  # noqa: TC006 - no route is called
    return _page(document(resolver, token=True))


def _page(said: dict[str, Any]) -> str:
    named = said["components"]["schemas"]
    shown = {name: schema for name, schema in sorted(named.items()) if "properties" in schema}
    schemas = Schemas(named, {name: f"#{name.lower()}" for name in shown})
    common = sorted((ANY | WITH_PATH | WITH_TOKEN | WITH_BODY).items())
    head = _HEAD.format(
        description=said["info"]["description"].partition("\n\n")[2],
        refusals="\n".join(f"| {status} | {cell(text)} |" for status, (_, text) in common),
    )
    lines = [head.rstrip()]
    for tag in said["tags"]:
        lines += ["", f"## {tag['name'].capitalize()}", "", tag["description"]]
        for path, operations in said["paths"].items():
            for method, operation in operations.items():
                if tag["name"] in operation["tags"]:
                    lines += _operation(method.upper(), path, operation, schemas)
    lines += ["", "## What is sent and answered"]
    for name, schema in shown.items():
        lines += ["", f"### {name}", "", cell(schema.get("description", ""))]
        lines += table(("field", "type", "default", "meaning"), schemas.rows(schema))
    return "\n".join(lines) + "\n"


def _operation(method: str, path: str, operation: dict[str, Any], schemas: Schemas) -> Iterator[str]:
    text = operation.get("description") or ""
    yield from ("", f"### {method} {path}", "")
    yield f"{operation['summary']}." + (f" {cell(text)}" if text and text.rstrip(".") != operation["summary"] else "")
    yield from table(("parameter", "in", "type", "meaning"), (_parameter(p, schemas) for p in _own(operation)))
    for content in operation.get("requestBody", {}).get("content", {}).values():
        body = content["schema"]
        yield from ("", f"Body: {schemas.kind(body)}. {cell(body.get('description', ''))}".rstrip())
    yield ""
    for status, answer in operation["responses"].items():
        if "$ref" not in answer:
            yield f"- **{status}** {_answer(answer, schemas)}"


def _own(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The parameters that say something which the page's head does not."""
    return (p for p in operation.get("parameters", ()) if not (p["in"] == "path" and p["name"] == "agent"))


def _parameter(parameter: dict[str, Any], schemas: Schemas) -> tuple[str, ...]:
    schema = parameter["schema"]
    default = f" `{schema['default']}` if not given." if schema.get("default") else ""
    meaning = schemas.meaning(schema | {"description": parameter["description"]})
    return f"`{parameter['name']}`", parameter["in"], schemas.kind(schema), meaning + default


def _answer(answer: dict[str, Any], schemas: Schemas) -> str:
    kinds = [
        schemas.kind(content["schema"])
        for media_type, content in answer.get("content", {}).items()
        if media_type != "application/problem+json"
    ]
    headers = ", ".join(f"`{name}`" for name in answer.get("headers", ()))
    said = [cell(answer["description"]), f"{kinds[0]}." if kinds else "", f"Headers: {headers}." if headers else ""]
    return " ".join(filter(None, said))
