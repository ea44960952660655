"""Examples that the providers publish, each with where it is from."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from overnight.core.webhooks.schemes import Delivery
from overnight.webhooks import Webhook


@dataclass(frozen=True)
class Published:
    webhook: Webhook
    secret: str
    body: bytes
    headers: dict[str, str]
    at: int = 1_700_000_000
    """When it was sent, Unix seconds."""
    signature: str = ""
    """The header that carries the signature."""
    timestamp: str | None = None
    """The header that carries the timestamp."""
    query: dict[str, list[str]] = field(default_factory=dict)

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    @property
    def delivery(self) -> Delivery:
        return self.changed()

    def changed(self, *, body: bytes | None = None, **headers: str | None) -> Delivery:
        """The delivery with another body, or other headers (None takes one away)."""
        told = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        kept = {name: value for name, value in told.items() if value is not None}
        return Delivery(kept, self.body if body is None else body, self.query)


def _webhook(**fields: object) -> Webhook:
    return Webhook.model_validate(fields)


PUBLISHED = {
    # https://docs.svix.com/receiving/verifying-payloads/how-manual, whose scheme became Standard Webhooks
    "standard-webhooks": Published(
        _webhook(),
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        b'{"test": 2432232314}',
        {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        1_614_265_330,
        "webhook-signature",
        "webhook-timestamp",
    ),
    # https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation
    "github": Published(
        _webhook(signature="github"),
        "It's a Secret to Everybody",
        b"Hello, World!",
        {
            "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
            "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        },
        signature="x-hub-signature-256",
    ),
    # https://docs.slack.dev/authentication/verifying-requests-from-slack#validating-a-request
    "slack": Published(
        _webhook(signature="slack"),
        "8f742231b10e8888abcd99yyyzzz85a5",
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
        {
            "x-slack-request-timestamp": "1531420618",
            "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        },
        1_531_420_618,
        "x-slack-signature",
        "x-slack-request-timestamp",
    ),
    # Made with Stripe's own library, because Stripe publishes no signature together with its body
    "stripe": Published(
        _webhook(signature="stripe"),
        "whsec_test_secret",
        b'{\n  "id": "evt_test_webhook",\n  "object": "event"\n}',
        {
            "stripe-signature": "t=1492774577,v1=c2f890decbc5ede7c5060bb9a6d31e0626a4342bacb9aeae2adb1bcea72f9812,"
            "v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"
        },
        1_492_774_577,
        "stripe-signature",
    ),
    # What Langflow 1.13 sends
    "langflow": Published(
        _webhook(signature="langflow"),
        "whsec_test_0123456789",
        b'{"order": 42}',
        {
            "x-langflow-signature": "v1=a3b7da54196c8d09faf24bb64a2a69e542e9a8d2af466a08d27b4c8b8bae022a",
            "x-langflow-timestamp": "1700000000",
        },
        1_700_000_000,
        "x-langflow-signature",
        "x-langflow-timestamp",
    ),
}
