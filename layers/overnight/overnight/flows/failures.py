"""Sorting what went wrong: try again, and when; or not, and how to mend it.

The chain of an exception is walked from the outside in, and the first link that one of these rules knows decides:

    Retry, Permanent        what the flow itself asks for
    sys.exit() and its like                                                            try again
    SyntaxError             the component's code is wrong                              permanent
    ImportError             a package is missing: its name, and how to install it      permanent
    an HTTP status          408, 409, 425, 429, 5xx: try again, honouring Retry-After; other 4xx: permanent
    a missing key           which variable to set, and how                             permanent
    an unfinished flow      no model is chosen, no file is named                       permanent
    no answer               refused, reset, timed out                                  try again
    anything else           try again: most of what fails at night is passing
"""

import re
import traceback as tracebacks
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from overnight.flows.call import TRACEBACK_BYTES, FlowFailure, Usage
from overnight.flows.packages import PROVIDERS, distribution

MESSAGE_CHARACTERS = 2000
"""Longer messages are cut: providers put whole pages into theirs."""

_PASSING_STATUSES = frozenset({408, 409, 425, 429})
_NO_ANSWER = frozenset(
    {"APIConnectionError", "ClientConnectionError", "EndpointConnectionError", "TransportError", "Timeout", "Timeouts"}
)
_KEY_IS_MISSING = re.compile(
    r"api[_ ]?key.{0,80}\b(is required|must be (set|provided)|not (set|found|provided)|missing)|"
    r"\b(missing|did not find|no|set the|provide an?)\b.{0,80}api[_ ]?key",
    re.IGNORECASE | re.DOTALL,
)
_UNFINISHED: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            r"model selection is required|missing a provider|model name is required|no model class|unknown \w+ class",
            re.IGNORECASE,
        ),
        "Choose a model in Langflow, and apply the flow again.",
    ),
    (re.compile(r"No files to process"), "Name the files by a tweak of the component's path: absolute paths."),
    (re.compile(r"Langflow's application services"), "Replace the component: here is no Langflow server."),
)
"""What lfx's components say when the canvas is not finished, or asks for what only Langflow's server has."""

_INSTALL_HINT = re.compile(
    r"(?:pip3? install|pip install -U|pip or conda to install|poetry add|uv add) +[`'\"]?([A-Za-z0-9_.\[\]-]+)"
)
_KEY_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_(?:API_?KEY|TOKEN|SECRET|KEY)\b")


class Retry(Exception):
    """Raised by a flow to be tried again, `after_seconds` from now or when its retry policy says."""

    def __init__(
        self, message: str = "The flow asked to be tried again.", *, after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds


class Permanent(Exception):
    """Raised by a flow to say that trying again is pointless; the message says why."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to try again, when (seconds from now), and what to say."""

    retryable: bool
    message: str
    after_seconds: float | None = None


Rule = Callable[[BaseException, str], Verdict | None]


def failure_of(
    error: BaseException,
    *,
    component: str | None = None,
    label: str | None = None,
    in_component: bool = True,
    usage: Usage | None = None,
) -> FlowFailure:
    """Sort an exception that a flow raised.

    `component` is the id of the node that raised it, `label` how the message names it. Where the flow is the user's own
    code (`in_component=False`), a status or a text never makes a failure permanent: its author has Permanent.
    """
    if isinstance(error, FlowFailure):
        return error
    root = _root(error)
    for link in chain(root):
        for rule in _RULES:
            verdict = rule(link, _text(link))
            if verdict is not None and (verdict.retryable or in_component or rule not in _COMPONENT_RULES):
                return _failure(verdict, link, root=root, component=component, label=label, usage=usage)
    verdict = Verdict(retryable=True, message=_text(root))
    return _failure(verdict, root, root=root, component=component, label=label, usage=usage)


def permanent(error_type: str, message: str, *, component: str | None = None) -> FlowFailure:
    """A failure found before the flow ran; the message says how to mend it."""
    return FlowFailure(error_type, message, retryable=False, component=component)


def chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and what caused it, from the outside in."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def how_to_set(variable: str) -> str:
    """The command and the line that give a flow a variable."""
    secret = re.sub(r"_?(API_?KEY|TOKEN|SECRET|KEY)$", "", variable).lower().replace("_", "-") or variable.lower()
    return f'overnight secrets set {secret}, and in the agent: variables: {{{variable}: "secret:{secret}"}}'


def retry_after_seconds(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """The delay a response asks for, by Retry-After (RFC 9110, seconds or a date) or `retry-after-ms`."""
    milliseconds = headers.get("retry-after-ms")
    if milliseconds is not None and _is_number(milliseconds):
        return float(milliseconds) / 1000
    value = headers.get("retry-after") or headers.get("Retry-After")
    if value is None:
        return None
    if _is_number(value):
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())


def redacted(failure: FlowFailure, secrets: Mapping[str, str]) -> FlowFailure:
    """The same failure without the values of variables: providers and components quote them in their errors."""
    for name, value in secrets.items():
        if len(value) >= _SHORTEST_SECRET:
            failure.message = failure.message.replace(value, f"<{name}>")
            failure.traceback = failure.traceback.replace(value, f"<{name}>")
    failure.args = (failure.message,)
    return failure


_SHORTEST_SECRET = 6


def _asked_for(error: BaseException, text: str) -> Verdict | None:
    match error:
        case Retry():
            return Verdict(retryable=True, message=text, after_seconds=error.after_seconds)
        case Permanent():
            return Verdict(retryable=False, message=text)
        case _:
            return None


def _ended(error: BaseException, text: str) -> Verdict | None:
    del text
    if isinstance(error, Exception):
        return None
    return Verdict(retryable=True, message="It ended the run, as sys.exit() does, instead of returning or raising.")


def _wrong_code(error: BaseException, text: str) -> Verdict | None:
    if not isinstance(error, SyntaxError):
        return None
    return Verdict(
        retryable=False, message=f"The code has a syntax error: {text}. Correct it and apply the flow again."
    )


def _missing_package(error: BaseException, text: str) -> Verdict | None:
    if not isinstance(error, ImportError):
        return None
    hint = _INSTALL_HINT.search(text)
    module = error.name or ""
    said = _sentence(text)
    if module.partition(".")[0] == "langflow":
        message = f"It needs Langflow's own server, which is not here: replace the component. ({said})"
    elif hint is not None or (isinstance(error, ModuleNotFoundError) and module):
        package = hint[1].rstrip(".") if hint is not None else distribution(module)
        message = f"The package {package} is missing: pip install {package} in the engine's environment. ({said})"
    elif module:
        message = f"{said} The version of {distribution(module)} in the engine's environment does not fit the flow."
    else:
        message = f"{said} Install what is missing in the engine's environment."
    return Verdict(retryable=False, message=message)


def _status(error: BaseException, text: str) -> Verdict | None:
    status, headers = _answer(error)
    if status is None or status < 400:  # noqa: PLR2004 - HTTP
        return None
    after = retry_after_seconds(headers, now=datetime.now(UTC))
    if status in _PASSING_STATUSES or status >= 500:  # noqa: PLR2004 - HTTP
        return Verdict(retryable=True, message=text, after_seconds=after)
    match status:
        case 401 | 403:
            mend = f"The key was refused. To set another: {_how_to_set_key(error, text)}"
        case 404:
            mend = "There is no such model or address: correct the component's fields"
        case _:
            mend = "The same request would be refused again"
    return Verdict(retryable=False, message=f"{_sentence(text)} {mend}.")


def _missing_key(error: BaseException, text: str) -> Verdict | None:
    if not _KEY_IS_MISSING.search(text) or _answer(error)[0] is not None:
        return None
    variables = _KEY_VARIABLE.findall(text)
    mend = how_to_set(variables[-1]) if variables else "overnight secrets set, and a line under the agent's variables"
    return Verdict(retryable=False, message=f"{_sentence(text)} To set it: {mend}.")


def _unfinished(error: BaseException, text: str) -> Verdict | None:
    if not isinstance(error, ValueError | RuntimeError):
        return None
    mend = next((mend for said, mend in _UNFINISHED if said.search(text)), None)
    return None if mend is None else Verdict(retryable=False, message=f"{_sentence(text)} {mend}")


def _no_answer(error: BaseException, text: str) -> Verdict | None:
    names = {kind.__name__ for kind in type(error).__mro__}
    if not isinstance(error, ConnectionError | TimeoutError) and not names & _NO_ANSWER:
        return None
    return Verdict(retryable=True, message=f"No answer: {text}")


_COMPONENT_RULES = (_status, _missing_key, _unfinished)
_RULES: tuple[Rule, ...] = (_asked_for, _ended, _wrong_code, _missing_package, *_COMPONENT_RULES, _no_answer)


def _answer(error: BaseException) -> tuple[int | None, Mapping[str, str]]:
    """The status and headers of the response an exception carries, as those of openai, httpx, requests and boto do."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        metadata = response.get("ResponseMetadata")
        if isinstance(metadata, Mapping):
            return _int(metadata.get("HTTPStatusCode")), metadata.get("HTTPHeaders") or {}
        return None, {}
    status = _int(getattr(error, "status_code", None)) or _int(getattr(response, "status_code", None))
    headers = getattr(response, "headers", None)
    return status, headers if isinstance(headers, Mapping) else {}


def _how_to_set_key(error: BaseException, text: str) -> str:
    vendor = type(error).__module__.partition(".")[0].removeprefix("langchain_").partition("_")[0]
    known = [p.variable for p in PROVIDERS.values() if p.variable and p.variable.lower().startswith(f"{vendor}_")]
    variables = _KEY_VARIABLE.findall(text) or known
    return how_to_set(variables[0]) if variables else "overnight secrets set, and a line under the agent's variables"


def _failure(
    verdict: Verdict,
    link: BaseException,
    *,
    root: BaseException,
    component: str | None,
    label: str | None,
    usage: Usage | None,
) -> FlowFailure:
    message = f"{label}: {verdict.message}" if label else verdict.message
    return FlowFailure(
        type(link).__name__,
        message if len(message) <= MESSAGE_CHARACTERS else message[: MESSAGE_CHARACTERS - 1] + "…",
        retryable=verdict.retryable,
        retry_after_seconds=verdict.after_seconds,
        traceback=_tail("".join(tracebacks.format_exception(root))),
        component=component,
        usage=usage,
    )


def _root(error: BaseException) -> BaseException:
    """What the flow raised: lfx wraps what a component raises once."""
    return next((link for link in chain(error) if type(link).__name__ != "ComponentBuildError"), error)


def _text(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, KeyError):
        return f"KeyError: {text}"
    return text or type(error).__name__


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _tail(text: str) -> str:
    return text if len(text) <= TRACEBACK_BYTES else text[-TRACEBACK_BYTES:]


def _int(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d{1,9}(\.\d+)?", text.strip()) is not None
