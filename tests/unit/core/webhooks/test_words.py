"""What may be said of a webhook in an agent's document."""

import json

import pytest
from pydantic import TypeAdapter, ValidationError

from overnight.triggers import Trigger
from overnight.webhooks import SCHEMA_BYTES, Webhook, hook_id

TRIGGER = TypeAdapter(Trigger)


def test_the_same_trigger_of_the_same_agent_has_the_same_address():
    assert hook_id("a" * 32, "in") == hook_id("a" * 32, "in")
    assert len({hook_id("a" * 32, "in"), hook_id("a" * 32, "out"), hook_id("b" * 32, "in")}) == 3


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"signature": "none", "secret": "secret:x"}, "secret: means nothing with signature none"),
        ({"secret": "s3cret"}, "should match pattern"),
        ({"previous_secret": "secret:old"}, "previous_secret: needs secret beside it"),
        ({"signature": "github", "query": "key"}, "query: means nothing with signature github"),
        ({"signature": "github", "id_header": "X-Id"}, "id_header: means nothing with signature github"),
        ({"signature": "token", "query": "key", "header": "X-Key"}, "query: give either this or header"),
        ({"headers": ["Authorization"]}, "headers: authorization may carry a secret"),
        ({"signature": "token", "header": "X-Key", "headers": ["x-key"]}, "headers: x-key may carry a secret"),
        ({"headers": ["not a header"]}, "should match pattern"),
        ({"schema": {"type": "objekt"}}, "is no JSON Schema, at type: 'objekt' is not valid"),
        ({"schema": {"properties": {"a": 1}}}, "is no JSON Schema, at properties/a: 1 is not of type"),
        ({"schema": {"$ref": "https://example.com/x.json"}}, "only references within the schema"),
        ({"schema": {"$ref": "#/$defs/none"}}, "refers to '#/$defs/none', which is not in it"),
        ({"schema": {"description": "x" * SCHEMA_BYTES}}, "may have at most 16,384 bytes"),
        ({"schema": "x"}, "valid dictionary"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, problem):
    with pytest.raises(ValidationError) as caught:
        TRIGGER.validate_python({"name": "in", "webhook": fields})
    assert problem in str(caught.value)


def test_a_webhook_survives_being_written_and_read():
    said = {
        "signature": "hmac",
        "secret": "secret:shopify",
        "header": "X-Shopify-Hmac-SHA256",
        "encoding": "base64",
        "id_header": "X-Shopify-Webhook-Id",
        "headers": ["X-Shopify-Topic"],
        "schema": {"type": "object"},
    }
    webhook = Webhook.model_validate(said)
    written = json.loads(webhook.model_dump_json(exclude_unset=True))
    assert written == {**said, "headers": ["x-shopify-topic"]}
    assert Webhook.model_validate(written) == webhook
    assert "schema" in Webhook.model_json_schema()["properties"]
