"""How OpenAPI is told of the bodies that say what an agent is; `documents.accept` validates them."""

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

__all__ = ["AsAgent", "AsNamedAgent", "AsPatchOfAgent"]


class AsAgent:
    """Let a parameter that takes any object be documented as an agent document."""

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The document's schema."""
        from overnight.api.schemas import AgentRequest  # noqa: PLC0415 - whoever asks for no schema needs none of it

        return handler(AgentRequest.__pydantic_core_schema__)


class AsNamedAgent(AsAgent):
    """The same, where the path says its name."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The document's schema with the name left to the path."""
        whole = handler.resolve_ref_schema(super().__get_pydantic_json_schema__(core_schema, handler))
        return whole | {"required": [name for name in whole["required"] if name != "name"]}


class AsPatchOfAgent(AsAgent):
    """The same for a merge patch (RFC 7396) of it: every field may be left out, or null for its default."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The document's schema with nothing required."""
        whole = handler.resolve_ref_schema(super().__get_pydantic_json_schema__(core_schema, handler))
        return {
            "type": "object",
            "description": "The fields to change (RFC 7396): null puts back the default.",
            "properties": {name: _nullable(field) for name, field in whole["properties"].items()},
            "additionalProperties": False,
        }


def _nullable(field: JsonSchemaValue) -> JsonSchemaValue:
    value = {key: part for key, part in field.items() if key != "default"}
    return {"anyOf": [value, {"type": "null"}]}
