"""A flow on a Langflow server, over HTTP.

`POST {url}/api/v1/run/{flow}?stream=false` (docs.langflow.org/api-flows-run). Variables go as the headers by which
Langflow takes global variables, `X-LANGFLOW-GLOBAL-VAR-<NAME>`.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from urllib.parse import quote

import httpx

from overnight.flows.call import JSON, Allowed, Call, FlowFailure, LangflowApiFlow, Result, Usage
from overnight.flows.failures import permanent, retry_after_seconds
from overnight.outbound import OutboundRefusedError, client

MAX_RESPONSE_BYTES = 16 * 1024 * 1024

_PASSING_STATUSES = frozenset({408, 425, 429})
_SHOWN = 500


class _TooLongError(Exception):
    """The response is longer than a result may be."""


def run(call: Call, flow: LangflowApiFlow, allowed: Allowed) -> Result:
    """Run one attempt to its end. Raises FlowFailure."""
    url = f"{flow.url.rstrip('/')}/api/v1/run/{quote(flow.flow, safe='')}"
    try:
        with client(allow_private=allowed.private_addresses, timeout_seconds=flow.timeout_seconds) as http:
            status, headers, body = _post(http, url, call, flow)
    except OutboundRefusedError as error:
        raise permanent("OutboundRefused", f"The flow's url is refused: {error}") from error
    except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeEncodeError) as error:
        raise permanent(type(error).__name__, f"The request to {flow.url} cannot be made: {error}") from error
    except httpx.HTTPError as error:
        message = f"No answer from the Langflow server at {flow.url}: {error or type(error).__name__}"
        raise FlowFailure(type(error).__name__, message, retryable=True) from error
    except _TooLongError as error:
        message = f"The flow's result is longer than {MAX_RESPONSE_BYTES} bytes: let the flow give less."
        raise permanent("ResultTooLong", message) from error
    if status != httpx.codes.OK:
        raise _refusal(status, headers, body, flow)
    return _result(body, flow)


def _post(http: httpx.Client, url: str, call: Call, flow: LangflowApiFlow) -> tuple[int, Mapping[str, str], bytes]:
    headers = {f"X-LANGFLOW-GLOBAL-VAR-{name}": value for name, value in call.variables.items()}
    if flow.api_key:
        headers["x-api-key"] = flow.api_key
    body = {
        "input_value": call.input.input_value or "",
        "input_type": call.input.input_type,
        "output_type": call.input.output_type,
        "tweaks": call.input.tweaks,
        "session_id": call.input.session_id,
    }
    content = json.dumps(body).encode()
    headers["content-type"] = "application/json"
    with http.stream("POST", url, params={"stream": "false"}, content=content, headers=headers) as response:
        received = bytearray()
        for chunk in response.iter_bytes():
            received += chunk
            if len(received) > MAX_RESPONSE_BYTES:
                raise _TooLongError
        return response.status_code, response.headers, bytes(received)


def _refusal(status: int, headers: Mapping[str, str], body: bytes, flow: LangflowApiFlow) -> FlowFailure:
    said = _detail(body)
    if status in _PASSING_STATUSES or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return FlowFailure(
            f"HTTP{status}",
            f"The Langflow server at {flow.url} answered {status}. {said}",
            retryable=True,
            retry_after_seconds=retry_after_seconds(headers, now=datetime.now(UTC)),
        )
    match status:
        case 401 | 403:
            mend = "Set the server's key: overnight secrets set langflow, and in the flow: api_key: secret:langflow."
        case 404:
            mend = f"It has no flow {flow.flow!r}: correct the flow's id or endpoint name, or the url."
        case 422 | 400:
            mend = "It refuses the input: correct the agent's input and tweaks."
        case _ if httpx.codes.is_redirect(status):
            mend = (
                f"Redirects are not followed: put the address it names, {headers.get('location')}, in the flow's url."
            )
        case _:
            mend = "The same request would be refused again."
    return permanent(f"HTTP{status}", f"The Langflow server at {flow.url} answered {status}. {mend} {said}".strip())


def _detail(body: bytes) -> str:
    text = body.decode(errors="replace")
    try:
        document = json.loads(text)
    except ValueError:
        return ""  # a page for a browser
    detail = document.get("detail", document) if isinstance(document, dict) else document
    said = detail if isinstance(detail, str) else json.dumps(detail)
    return f"It said: {said[:_SHOWN]}"


def _result(body: bytes, flow: LangflowApiFlow) -> Result:
    try:
        document = json.loads(body)
    except ValueError as error:
        mend = f"{flow.url} answered with something else than JSON: is it the address of a Langflow server?"
        raise permanent("NotLangflow", mend) from error
    outputs: dict[str, JSON] = {}
    texts: list[str] = []
    usages: list[Usage] = []
    for component, output in _components(document):
        message = _message(output)
        text = _text(output, message)
        if text is not None:
            texts.append(text)
        content = text if text is not None else output.get("results")
        outputs[component] = {
            "type": "message" if text is not None else "data",
            "status": "completed",
            "content": content,
        }
        usages += _usage(message)
    total = _sum(usages) if usages else None
    return Result(text=texts[-1] if texts else None, outputs=outputs, usage=total)


def _components(document: JSON) -> Iterator[tuple[str, Mapping[str, JSON]]]:
    """Every component that gave something: `outputs[].outputs[]` of Langflow's RunResponse."""
    for run_output in _objects(document, "outputs"):
        for output in _objects(run_output, "outputs"):
            component = output.get("component_id")
            yield component if isinstance(component, str) else "output", output


def _objects(document: JSON, key: str) -> Iterator[Mapping[str, JSON]]:
    values = document.get(key) if isinstance(document, Mapping) else None
    if isinstance(values, list):
        yield from (value for value in values if isinstance(value, Mapping))


def _message(output: Mapping[str, JSON]) -> Mapping[str, JSON]:
    results = output.get("results")
    message = results.get("message") if isinstance(results, Mapping) else None
    return message if isinstance(message, Mapping) else {}


def _text(output: Mapping[str, JSON], message: Mapping[str, JSON]) -> str | None:
    text = message.get("text")
    if isinstance(text, str):
        return text
    said = [m.get("message") for m in _objects(output, "messages")]
    return next((text for text in reversed(said) if isinstance(text, str)), None)


def _usage(message: Mapping[str, JSON]) -> list[Usage]:
    properties = message.get("properties")
    usage = properties.get("usage") if isinstance(properties, Mapping) else None
    if not isinstance(usage, Mapping):
        return []
    return [Usage(*(_count(usage, name) for name in ("input_tokens", "output_tokens", "total_tokens")))]


def _count(usage: Mapping[str, JSON], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) else 0


def _sum(usages: list[Usage]) -> Usage:
    return Usage(
        sum(usage.input_tokens for usage in usages),
        sum(usage.output_tokens for usage in usages),
        sum(usage.total_tokens for usage in usages),
    )
